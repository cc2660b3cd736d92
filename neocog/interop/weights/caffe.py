"""The names in the Caffe model zoo's definitions, as converters write them: `conv1_1.weight`, `inception_3a/1x1.bias`.

Networks of the Caffe zoo take blue, green and red from 0 to 255, minus a mean. Their first convolution is turned
round on the way in, so that ours take red, green and blue, and the mean stands in the preprocessing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from string import ascii_lowercase

from .namemap import NameMap, Photographs, Prefix
from .torchvision import AUXILIARY, GOOGLENET, RESNET, VGG


def minus(red: float, green: float, blue: float, crop: float = 0.875) -> Photographs:
    """Values from 0 to 255, minus a mean: on a scale of 0 to 1 that is a deviation of 1/255."""
    return Photographs((red / 255, green / 255, blue / 255), (1 / 255,) * 3, crop)


_BGR = partial(NameMap, layout="caffe", bgr=True)

_ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
_ALEXNET_PHOTOGRAPHS = minus(122.679, 116.669, 104.007, crop=227 / 256)


def _vgg(depth: int) -> NameMap:
    counted = [f"conv{stage}_{k}" for stage, n in enumerate(VGG[depth], start=1) for k in range(1, n + 1)]
    return _BGR(f"vgg{depth}", prefixes=(*counted, "fc6", "fc7", "fc8"), photographs=minus(123.68, 116.779, 103.939))


def _googlenet() -> Iterator[NameMap]:
    """Without the auxiliary classifiers and with them."""
    units = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
    sides = {"4a": "loss1", "4d": "loss2"}
    for network in ("googlenet", "googlenet-aux"):
        prefixes = ["conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"]
        for block in GOOGLENET:
            prefixes += [f"inception_{block}/{unit}" for unit in units]
            if network == "googlenet-aux" and block in sides:
                prefixes += [f"{sides[block]}/{layer}" for layer in ("conv", "fc", "classifier")]
        aside = tuple((f"{side}/", AUXILIARY) for side in sides.values())
        yield _BGR(network, prefixes=(*prefixes, "loss3/classifier"), photographs=minus(123, 117, 104), aside=aside)


def _block_names(stage: int, blocks: int, depth: int) -> Sequence[str]:
    """`2a 2b 2c`; the long stages 3 and 4 of the deep networks count on: `4a 4b1 4b2 ...`."""
    if depth > 50 and stage in (3, 4):
        return [f"{stage}a", *(f"{stage}b{k}" for k in range(1, blocks))]
    return [f"{stage}{letter}" for letter in ascii_lowercase[:blocks]]


def _resnet(depth: int) -> NameMap:
    prefixes: list[Prefix] = ["conv1", ("bn_conv1", "scale_conv1")]
    for stage, blocks in enumerate(RESNET[depth], start=2):
        for k, block in enumerate(_block_names(stage, blocks, depth)):
            for branch in ("2a", "2b", "2c", *(["1"] if k == 0 else [])):
                here = f"{block}_branch{branch}"
                prefixes += [f"res{here}", (f"bn{here}", f"scale{here}")]
    return _BGR(
        f"resnet{depth}-caffe", prefixes=(*prefixes, "fc1000"), photographs=minus(123.15163, 115.90288, 103.06262)
    )


MAPS = (
    _BGR("alexnet-caffe", prefixes=_ALEXNET, photographs=_ALEXNET_PHOTOGRAPHS),
    _BGR("caffenet", prefixes=_ALEXNET, photographs=_ALEXNET_PHOTOGRAPHS),
    _vgg(16),
    _vgg(19),
    *_googlenet(),
    *(_resnet(depth) for depth in (50, 101, 152)),
    NameMap(  # CIFAR-10's files hold red, green and blue, and Caffe takes them as they are
        "nin",
        "caffe",
        ("conv1", "cccp1", "cccp2", "conv2", "cccp3", "cccp4", "conv3", "cccp5", "cccp6"),
        photographs=minus(0, 0, 0, crop=1.0),
        note="the authors trained on whitened images, which a mean and a deviation of each channel do not describe",
    ),
)
