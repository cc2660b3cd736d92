"""timm's names, where they are not torchvision's: FC layers of VGG are convolutions, and Inception-v4 is its own."""

from __future__ import annotations

from dataclasses import replace

from .namemap import SYMMETRIC, NameMap
from .torchvision import INCEPTION_V3, RESNET, VGG, conv_bn, resnet, vgg_features, within


def _vgg(depth: int, norm: bool) -> NameMap:
    hidden = ("pre_logits.fc1", "pre_logits.fc2")
    name = f"vgg{depth}-bn" if norm else f"vgg{depth}"
    return NameMap(name, "timm", (*vgg_features(depth, norm), *hidden, "head.fc"), as_convolutions=hidden)


def _blocks(first: int, last: int) -> str:
    return " ".join(f"features.{k}" for k in range(first, last + 1))


def _inception_v4() -> tuple[str, ...]:
    units = [
        *_blocks(0, 2).split(),
        "features.3.conv",
        *within("features.4", "branch0.0 branch0.1 branch1.0 branch1.1 branch1.2 branch1.3"),
        "features.5.conv",
        *within(_blocks(6, 9), "branch0 branch1.0 branch1.1 branch2.0 branch2.1 branch2.2 branch3.1"),
        *within("features.10", "branch0 branch1.0 branch1.1 branch1.2"),
        *within(
            _blocks(11, 17),
            "branch0 branch1.0 branch1.1 branch1.2 branch2.0 branch2.1 branch2.2 branch2.3 branch2.4 branch3.1",
        ),
        *within("features.18", "branch0.0 branch0.1 branch1.0 branch1.1 branch1.2 branch1.3"),
        *within(
            _blocks(19, 21),
            "branch0 branch1_0 branch1_1a branch1_1b branch2_0 branch2_1 branch2_2 branch2_3a branch2_3b branch3.1",
        ),
    ]
    return (*conv_bn(units), "last_linear")


MAPS = (
    *(_vgg(depth, norm) for norm in (False, True) for depth in VGG),
    *(NameMap(f"resnet{depth}", "timm", resnet(depth)) for depth in RESNET),
    *(replace(one, layout="timm") for one in INCEPTION_V3),
    NameMap("inception-v4", "timm", _inception_v4(), SYMMETRIC),
)
