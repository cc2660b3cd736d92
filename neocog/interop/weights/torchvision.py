"""torchvision's names: those of the attributes in the definitions of its models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .namemap import SYMMETRIC, NameMap

VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions between two poolings."""
RESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks in each stage; from 50 on they are bottlenecks of three convolutions."""
GOOGLENET = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
"""Inception blocks."""


def vgg_features(depth: int, norm: bool) -> tuple[str, ...]:
    """`features.N` counts every layer: a convolution, its BN where there is one, its RELU, and the poolings."""
    found, at = [], 0
    for convolutions in VGG[depth]:
        for _ in range(convolutions):
            found += [f"features.{at + k}" for k in range(2 if norm else 1)]
            at += 3 if norm else 2
        at += 1
    return tuple(found)


def resnet(depth: int) -> tuple[str, ...]:
    """`layer1.0.conv1` for each stage, block and convolution; a block's own shortcut is its `downsample`."""
    found = ["conv1", "bn1"]
    convolutions = 2 if depth < 50 else 3
    for stage, blocks in enumerate(RESNET[depth], start=1):
        for block in range(blocks):
            here = f"layer{stage}.{block}"
            found += [f"{here}.{kind}{k}" for k in range(1, convolutions + 1) for kind in ("conv", "bn")]
            if block == 0 and (stage > 1 or convolutions == 3):
                found += [f"{here}.downsample.0", f"{here}.downsample.1"]
    return (*found, "fc")


def conv_bn(units: Iterable[str]) -> list[str]:
    """Units of a convolution and its BN."""
    return [f"{unit}.{part}" for unit in units for part in ("conv", "bn")]


def within(blocks: str, units: str) -> list[str]:
    """The units of each block: `within("a b", "x y")` is a.x, a.y, b.x, b.y."""
    return [f"{block}.{unit}" for block in blocks.split() for unit in units.split()]


def _googlenet() -> tuple[str, ...]:
    blocks = " ".join(f"inception{name}" for name in GOOGLENET)
    units = within(blocks, "branch1 branch2.0 branch2.1 branch3.0 branch3.1 branch4.1")
    return (*conv_bn(["conv1", "conv2", "conv3", *units]), "fc")


def inception_v3(auxiliary: bool = False) -> tuple[str, ...]:
    """The units in the order in which they run, with the auxiliary classifier or without."""
    stem = [f"Conv2d_{name}" for name in ["1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3"]]
    doubled = "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3"
    seven = " ".join([f"branch7x7_{k}" for k in range(1, 4)] + [f"branch7x7dbl_{k}" for k in range(1, 6)])
    before = [
        *within("Mixed_5b Mixed_5c Mixed_5d", f"branch1x1 branch5x5_1 branch5x5_2 {doubled} branch_pool"),
        *within("Mixed_6a", f"branch3x3 {doubled}"),
        *within("Mixed_6b Mixed_6c Mixed_6d Mixed_6e", f"branch1x1 {seven} branch_pool"),
    ]
    after = [
        *within("Mixed_7a", "branch3x3_1 branch3x3_2 branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4"),
        *within(
            "Mixed_7b Mixed_7c",
            "branch1x1 branch3x3_1 branch3x3_2a branch3x3_2b "
            "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a branch3x3dbl_3b branch_pool",
        ),
    ]
    side = [*conv_bn(["AuxLogits.conv0", "AuxLogits.conv1"]), "AuxLogits.fc"] if auxiliary else []
    return (*conv_bn([*stem, *before]), *side, *conv_bn(after), "fc")


def _vgg(depth: int, norm: bool) -> NameMap:
    classifier = ("classifier.0", "classifier.3", "classifier.6")
    name = f"vgg{depth}-bn" if norm else f"vgg{depth}"
    return NameMap(name, "torchvision", (*vgg_features(depth, norm), *classifier))


def _counted(features: Sequence[int], classifier: Sequence[int]) -> tuple[str, ...]:
    return (*(f"features.{k}" for k in features), *(f"classifier.{k}" for k in classifier))


AUXILIARY = "an auxiliary classifier, which only helps training"

INCEPTION_V3 = (
    NameMap("inception-v3", "torchvision", inception_v3(), SYMMETRIC, aside=(("AuxLogits.", AUXILIARY),)),
    NameMap("inception-v3-aux", "torchvision", inception_v3(auxiliary=True), SYMMETRIC),
)

MAPS = (
    NameMap("alexnet-one", "torchvision", _counted((0, 3, 6, 8, 10), (1, 4, 6))),
    *(_vgg(depth, norm) for norm in (False, True) for depth in VGG),
    *(NameMap(f"resnet{depth}", "torchvision", resnet(depth)) for depth in RESNET),
    NameMap("googlenet-bn", "torchvision", _googlenet(), SYMMETRIC, aside=(("aux1.", AUXILIARY), ("aux2.", AUXILIARY))),
    *INCEPTION_V3,
)
