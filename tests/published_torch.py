"""Published networks in plain torch.nn, written from the papers with the attribute names that torchvision gave them.

They share nothing with neocog: their state dicts have the keys of the weights that people download, and their scores
are what ours must be. `side` is the size of the volume before the first fully connected layer, 6 or 7 as published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

VGG_STAGES = {
    11: ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    13: ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class AlexNet(nn.Module):
    """Krizhevsky, arXiv 1404.5997: one tower."""

    def __init__(self, side: int = 6, classes: int = 1000) -> None:
        super().__init__()
        convs = [nn.Conv2d(3, 64, 11, 4, 2), nn.Conv2d(64, 192, 5, padding=2), nn.Conv2d(192, 384, 3, padding=1)]
        convs += [nn.Conv2d(384, 256, 3, padding=1), nn.Conv2d(256, 256, 3, padding=1)]
        layers: list[nn.Module] = []
        for k, conv in enumerate(convs):
            layers += [conv, nn.ReLU()]
            if k in (0, 1, 4):
                layers.append(nn.MaxPool2d(3, 2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(256 * side * side, 4096), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, classes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class VGG(nn.Module):
    """Simonyan and Zisserman, 2015, table 1."""

    def __init__(self, depth: int, norm: bool = False, side: int = 7) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in VGG_STAGES[depth]:
            for width in stage:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            *(nn.Linear(512 * side * side, 4096), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Block(nn.Module):
    """He et al., 2016, figure 5: two 3x3 convolutions, or a bottleneck whose 3x3 has the stride."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        sizes = [(1, width, 1), (3, width, stride), (1, outputs, 1)] if bottleneck else [(3, width, stride)]
        if not bottleneck:
            sizes.append((3, outputs, 1))
        self.count, channels = len(sizes), inputs
        for k, (kernel, after, step) in enumerate(sizes, start=1):
            self.add_module(f"conv{k}", nn.Conv2d(channels, after, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{k}", nn.BatchNorm2d(after))
            channels = after
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for k in range(1, self.count + 1):
            y = self.get_submodule(f"bn{k}")(self.get_submodule(f"conv{k}")(y))
            y = relu(y) if k < self.count else y
        return relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    """He et al., 2016, table 1, with projections where the volume changes (option B)."""

    def __init__(self, depth: int, classes: int = 1000) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for stage, count in enumerate(RESNET_BLOCKS[depth]):
            width, blocks = 64 * 2**stage, []
            for k in range(count):
                blocks.append(Block(channels, width, 2 if stage and not k else 1, depth >= 50))
                channels = width * (4 if depth >= 50 else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class Unit(nn.Module):
    """A convolution without bias, its normalization and a rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel, stride: int = 1, padding=0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Szegedy et al., 2015, figure 2b, with 3x3 in place of 5x5."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        a, b, c, d, e, f = widths
        self.branch1 = Unit(inputs, a, 1)
        self.branch2 = nn.Sequential(Unit(inputs, b, 1), Unit(b, c, 3, padding=1))
        self.branch3 = nn.Sequential(Unit(inputs, d, 1), Unit(d, e, 3, padding=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), Unit(inputs, f, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


class Auxiliary(nn.Module):
    """A side classifier of GoogLeNet; only its weights matter here."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = Unit(inputs, 128, 1), nn.Linear(2048, 1024), nn.Linear(1024, 1000)


GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Szegedy et al., 2015, table 1: 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, pooled."""


class GoogLeNet(nn.Module):
    """Szegedy et al., 2015, table 1, normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Unit(3, 64, 7, 2, 3), Unit(64, 64, 1), Unit(64, 192, 3, padding=1)
        channels = 192
        for name, widths in GOOGLENET.items():
            self.add_module(f"inception{name}", Inception(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.aux1, self.aux2 = Auxiliary(512), Auxiliary(528)
        self.fc = nn.Linear(1024, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3(self.conv2(max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = max_pool2d(x, 3, 2, ceil_mode=True)
        for name in GOOGLENET:
            x = self.get_submodule(f"inception{name}")(x)
            if name in ("3b", "4e"):
                size = 3 if name == "3b" else 2
                x = max_pool2d(x, size, 2, ceil_mode=True)
        return self.fc(x.mean((2, 3)))


class Branches(nn.Module):
    """An Inception-v3 block: paths of units, their outputs stacked. A path begins with `mean` or `max` for a pooling.

    A tuple inside a path is a fork: its units read the same volume.
    """

    def __init__(self, inputs: int, paths: Sequence[Sequence], **units: tuple) -> None:
        super().__init__()
        self.paths = [[step if isinstance(step, tuple) else (step,) for step in path] for path in paths]
        for path in self.paths:
            channels = inputs
            for step in path:
                if step[0] not in ("mean", "max"):
                    for name in step:
                        self.add_module(name, Unit(channels, *units[name]))
                    channels = units[step[0]][0]

    def forward(self, x: Tensor) -> Tensor:
        ends = []
        for path in self.paths:
            y = [x]
            for step in path:
                y = [self._step(name, y[0]) for name in step]
            ends += y
        return torch.cat(ends, 1)

    def _step(self, name: str, x: Tensor) -> Tensor:
        if name == "mean":
            return avg_pool2d(x, 3, 1, 1)
        return max_pool2d(x, 3, 2) if name == "max" else self.get_submodule(name)(x)


HIGH, WIDE = ((7, 1), 1, (3, 0)), ((1, 7), 1, (0, 3))
DOUBLE = {"branch3x3dbl_1": (64, 1), "branch3x3dbl_2": (96, 3, 1, 1), "branch3x3dbl_3": (96, 3, 1, 1)}


def block_35(inputs: int, pooled: int) -> Branches:
    """Figure 5: 35x35."""
    return Branches(
        inputs,
        [["branch1x1"], ["branch5x5_1", "branch5x5_2"], list(DOUBLE), ["mean", "branch_pool"]],
        branch1x1=(64, 1),
        branch5x5_1=(48, 1),
        branch5x5_2=(64, 5, 1, 2),
        branch_pool=(pooled, 1),
        **DOUBLE,
    )


def block_17(width: int) -> Branches:
    """Figure 6: 17x17, n = 7."""
    seven = {"branch7x7_1": (width, 1), "branch7x7_2": (width, *WIDE), "branch7x7_3": (192, *HIGH)}
    double = {
        "branch7x7dbl_1": (width, 1),
        "branch7x7dbl_2": (width, *HIGH),
        "branch7x7dbl_3": (width, *WIDE),
        "branch7x7dbl_4": (width, *HIGH),
        "branch7x7dbl_5": (192, *WIDE),
    }
    paths = [["branch1x1"], list(seven), list(double), ["mean", "branch_pool"]]
    return Branches(768, paths, branch1x1=(192, 1), branch_pool=(192, 1), **seven, **double)


def block_8(inputs: int) -> Branches:
    """Figure 7: 8x8, with forks at the ends."""
    units = {
        "branch1x1": (320, 1),
        "branch3x3_1": (384, 1),
        "branch3x3_2a": (384, (1, 3), 1, (0, 1)),
        "branch3x3_2b": (384, (3, 1), 1, (1, 0)),
        "branch3x3dbl_1": (448, 1),
        "branch3x3dbl_2": (384, 3, 1, 1),
        "branch3x3dbl_3a": (384, (1, 3), 1, (0, 1)),
        "branch3x3dbl_3b": (384, (3, 1), 1, (1, 0)),
        "branch_pool": (192, 1),
    }
    fork, double = ("branch3x3_2a", "branch3x3_2b"), ("branch3x3dbl_3a", "branch3x3dbl_3b")
    paths = [
        ["branch1x1"],
        ["branch3x3_1", fork],
        ["branch3x3dbl_1", "branch3x3dbl_2", double],
        ["mean", "branch_pool"],
    ]
    return Branches(inputs, paths, **units)


class InceptionV3(nn.Module):
    """Szegedy et al., 2016, table 1."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Unit(3, 32, 3, 2), Unit(32, 32, 3)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Unit(32, 64, 3, padding=1), Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = block_35(192, 32), block_35(256, 64), block_35(288, 64)
        double = {**DOUBLE, "branch3x3dbl_3": (96, 3, 2)}
        self.Mixed_6a = Branches(288, [["branch3x3"], list(double), ["max"]], branch3x3=(384, 3, 2), **double)
        for name, width in zip("bcde", (128, 160, 160, 192), strict=True):
            self.add_module(f"Mixed_6{name}", block_17(width))
        seven = {"branch7x7x3_1": (192, 1), "branch7x7x3_2": (192, *WIDE), "branch7x7x3_3": (192, *HIGH)}
        seven["branch7x7x3_4"] = (192, 3, 2)
        three = {"branch3x3_1": (192, 1), "branch3x3_2": (320, 3, 2)}
        self.AuxLogits = nn.ModuleDict({"conv0": Unit(768, 128, 1), "conv1": Unit(128, 768, 5)})
        self.AuxLogits["fc"] = nn.Linear(768, 1000)
        self.Mixed_7a = Branches(768, [list(three), list(seven), ["max"]], **three, **seven)
        self.Mixed_7b, self.Mixed_7c = block_8(1280), block_8(2048)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        for name, module in self.named_children():
            if name in ("AuxLogits", "fc"):
                continue
            x = module(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = max_pool2d(x, 3, 2)
        return self.fc(x.mean((2, 3)))


def trained(make: Callable[[], nn.Module], size: int) -> nn.Module:
    """A network as after training: random weights, scales and shifts, and statistics of some noise it was shown."""
    torch.manual_seed(0)
    with torch.device("meta"):  # which spares torch's own initialisation
        module = make()
    module.to_empty(device="cpu")
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.3)
        for part in module.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                bound = (6 / part.weight[0].numel()) ** 0.5  # He et al., 2015
                part.weight.uniform_(-bound, bound)
                if part.bias is not None:
                    part.bias.uniform_(-0.3, 0.3)
        if norms:
            module.train()(torch.randn(4, 3, size, size))
    return module.eval()
