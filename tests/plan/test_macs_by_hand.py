"""MACs of the networks in print, from their papers' tables: side² · kernel area · maps in · maps out, layer by layer.

Shares nothing with the layers: sides are written down, not worked out.
"""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from neocog import zoo

Layer = tuple[int, int, int, int]
"""Side of the output, kernel area, maps in, maps out. A fully connected layer has side 1 and area 1."""


def macs(layers: list[Layer]) -> int:
    return sum(side**2 * area * inputs * outputs for side, area, inputs, outputs in layers)


def classifier(*widths: int) -> list[Layer]:
    return [(1, 1, before, after) for before, after in pairwise(widths)]


def vgg(*counts: int) -> list[Layer]:
    """3x3 convolutions of each of the five stages: table 1 of Simonyan and Zisserman."""
    layers, before = [], 3
    for side, width, count in zip((224, 112, 56, 28, 14), (64, 128, 256, 512, 512), counts, strict=True):
        for _ in range(count):
            layers.append((side, 9, before, width))
            before = width
    return layers + classifier(7 * 7 * 512, 4096, 4096, 1000)


def basic_resnet(*blocks: int) -> Iterator[Layer]:
    """Two 3x3 convolutions in a block: table 1 of He et al., projections where a stage begins (option B)."""
    yield 112, 49, 3, 64
    before = 64
    for side, width, count in zip((56, 28, 14, 7), (64, 128, 256, 512), blocks, strict=True):
        for _ in range(count):
            yield side, 9, before, width
            yield side, 9, width, width
            if before != width:
                yield side, 1, before, width
            before = width
    yield 1, 1, 512, 1000


def bottleneck_resnet(*blocks: int) -> Iterator[Layer]:
    """1x1, 3x3, 1x1 in a block, the 3x3 halving the sides, as in torchvision."""
    yield 112, 49, 3, 64
    before, side_before = 64, 56
    for side, width, count in zip((56, 28, 14, 7), (64, 128, 256, 512), blocks, strict=True):
        for k in range(count):
            yield side_before, 1, before, width
            yield side, 9, width, width
            yield side, 1, width, 4 * width
            if k == 0:
                yield side, 1, before, 4 * width
            before, side_before = 4 * width, side
    yield 1, 1, 2048, 1000


def cifar_resnet(n: int) -> Iterator[Layer]:
    """6n + 2 layers, option A: shortcuts without weights. With pre-activation the convolutions are the same."""
    yield 32, 9, 3, 16
    before = 16
    for side, width in ((32, 16), (16, 32), (8, 64)):
        for _ in range(n):
            yield side, 9, before, width
            yield side, 9, width, width
            before = width
    yield 1, 1, 64, 10


def cifar_bottleneck(n: int) -> Iterator[Layer]:
    """9n + 2 layers, the first 1x1 of a stage halving the sides, a projection beside it."""
    yield 32, 9, 3, 16
    before = 16
    for side, width in ((32, 16), (16, 32), (8, 64)):
        for k in range(n):
            yield side, 1, before, width
            yield side, 9, width, width
            yield side, 1, width, 4 * width
            if k == 0:
                yield side, 1, before, 4 * width
            before = 4 * width
    yield 1, 1, 256, 10


INCEPTIONS = [  # table 1 of Szegedy et al.: side, maps in, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
    (28, 192, 64, 96, 128, 16, 32, 32), (28, 256, 128, 128, 192, 32, 96, 64),
    (14, 480, 192, 96, 208, 16, 48, 64), (14, 512, 160, 112, 224, 24, 64, 64), (14, 512, 128, 128, 256, 24, 64, 64),
    (14, 512, 112, 144, 288, 32, 64, 64), (14, 528, 256, 160, 320, 32, 128, 128),
    (7, 832, 256, 160, 320, 32, 128, 128), (7, 832, 384, 192, 384, 48, 128, 128),
]  # fmt: skip


def googlenet(wide_area: int) -> Iterator[Layer]:
    """Area 25 for the 5x5 convolutions of the paper, 9 for what torchvision has in their place."""
    yield from [(112, 49, 3, 64), (56, 1, 64, 64), (56, 9, 64, 192), (1, 1, 1024, 1000)]
    for side, inputs, one, reduce3, three, reduce5, five, projected in INCEPTIONS:
        yield from [(side, 1, inputs, one), (side, 1, inputs, reduce3), (side, 9, reduce3, three)]
        yield from [(side, 1, inputs, reduce5), (side, wide_area, reduce5, five), (side, 1, inputs, projected)]


ALEXNET_TOP = classifier(6 * 6 * 256, 4096, 4096, 1000)

BY_HAND: dict[str, list[Layer]] = {
    "lenet5-relu": [(28, 25, 1, 6), (10, 25, 6, 16), *classifier(400, 120, 84, 10)],
    # C3 has 60 pairs of maps; each sum of S2 and S4 is multiplied once; the output measures 84 distances ten times
    "lenet5": [
        *[(28, 25, 1, 6), (14, 1, 1, 6), (10, 25, 1, 60), (5, 1, 1, 16), (1, 25, 16, 120)],
        *classifier(120, 84, 10),
    ],
    # half of the maps in for each of two groups in layers 2, 4 and 5
    "alexnet": [
        *[(55, 121, 3, 96), (27, 25, 48, 256), (13, 9, 256, 384), (13, 9, 192, 384), (13, 9, 192, 256)],
        *ALEXNET_TOP,
    ],
    "alexnet-ungrouped": [
        *[(55, 121, 3, 96), (27, 25, 96, 256), (13, 9, 256, 384), (13, 9, 384, 384), (13, 9, 384, 256)],
        *ALEXNET_TOP,
    ],
    "alexnet-one": [
        *[(55, 121, 3, 64), (27, 25, 64, 192), (13, 9, 192, 384), (13, 9, 384, 256), (13, 9, 256, 256)],
        *ALEXNET_TOP,
    ],
    "zfnet": [
        *[(110, 49, 3, 96), (26, 25, 96, 256), (13, 9, 256, 384), (13, 9, 384, 384), (13, 9, 384, 256)],
        *ALEXNET_TOP,
    ],
    "nin": [
        *[(32, 25, 3, 192), (32, 1, 192, 160), (32, 1, 160, 96)],
        *[(16, 25, 96, 192), (16, 1, 192, 192), (16, 1, 192, 192)],
        *[(8, 9, 192, 192), (8, 1, 192, 192), (8, 1, 192, 10)],
    ],
    "all-cnn-c": [
        *[(32, 9, 3, 96), (32, 9, 96, 96), (16, 9, 96, 96), (16, 9, 96, 192), (16, 9, 192, 192), (8, 9, 192, 192)],
        *[(8, 9, 192, 192), (8, 1, 192, 192), (8, 1, 192, 10)],
    ],
    **{f"vgg{n}{bn}": vgg(*counts) for bn in ("", "-bn") for n, counts in {
        11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4),
    }.items()},
    "googlenet": [*googlenet(25)],
    # a side branch averages 14x14 to 4x4, then 128 maps by 1x1, 1,024 and 1,000 neurons
    "googlenet-aux": [
        *googlenet(25),
        *[(4, 1, 512, 128), *classifier(4 * 4 * 128, 1024, 1000)],
        *[(4, 1, 528, 128), *classifier(4 * 4 * 128, 1024, 1000)],
    ],
    "googlenet-bn": [*googlenet(9)],
    "resnet18": [*basic_resnet(2, 2, 2, 2)],
    "resnet34": [*basic_resnet(3, 4, 6, 3)],
    "resnet50": [*bottleneck_resnet(3, 4, 6, 3)],
    "resnet101": [*bottleneck_resnet(3, 4, 23, 3)],
    "resnet152": [*bottleneck_resnet(3, 8, 36, 3)],
    **{f"resnet{6 * n + 2}": [*cifar_resnet(n)] for n in (3, 5, 7, 9, 18, 200)},
    "preact-resnet110": [*cifar_resnet(18)],
    "preact-resnet164": [*cifar_bottleneck(18)],
    "preact-resnet1001": [*cifar_bottleneck(111)],
    "pattern-linear": classifier(3072, 10),
    "pattern-conv": [(32, 9, 3, 32), *classifier(32 * 32 * 32, 10)],
    "pattern-two-stage": [(32, 9, 3, 32), (16, 9, 32, 32), *classifier(8 * 8 * 32, 128, 10)],
    "pattern-deep": [
        *[(32, 9, 3, 32), (32, 9, 32, 32), *[(16, 9, 32, 32)] * 2, *[(8, 9, 32, 32)] * 2],
        *classifier(4 * 4 * 32, 128, 128, 10),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_macs_are_those_of_the_published_tables(name):
    assert zoo(name).plan().totals["macs"] == macs(BY_HAND[name])
