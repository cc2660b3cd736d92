"""Networks as people define them in plain torch.nn, each in a style of its own, with sizes from the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neocog.interop import from_torch
from neocog.torch_engine import build


class LeNet(nn.Module):
    """The tutorial's form: functional calls, a flattening that names the size. Sizes of LeCun et al., 1998."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), (2, 2))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def alexnet_one() -> nn.Sequential:
    """Krizhevsky, arXiv 1404.5997, with an adaptive pooling that changes nothing, and dropout before FC."""
    sizes = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
    parts: list[nn.Module] = []
    for k, (inputs, outputs, size, stride, padding) in enumerate(sizes):
        parts += [nn.Conv2d(inputs, outputs, size, stride, padding), nn.ReLU(inplace=True)]
        parts += [nn.MaxPool2d(3, 2)] if k in (0, 1, 4) else []
    parts += [nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten(), nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(inplace=True)]
    parts += [nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 1000)]
    return nn.Sequential(*parts)


class VGG16(nn.Module):
    """Simonyan and Zisserman, ICLR 2015, configuration D: features and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        features: list[nn.Module] = []
        inputs = 3
        for count, outputs in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
            for _ in range(count):
                features += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(True)]
                inputs = outputs
            features.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        classifier: list[nn.Module] = []
        for wide in (512 * 49, 4096):
            classifier += [nn.Linear(wide, 4096), nn.ReLU(True), nn.Dropout(0.5)]
        self.classifier = nn.Sequential(*classifier, nn.Linear(4096, 1000))

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class Basic(nn.Module):
    """He et al., CVPR 2016, figure 5 left."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """He et al., CVPR 2016, figure 5 right, with the stride in the 3x3 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.downsample = projection(inputs, wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Option B: a 1x1 convolution where the shape changes."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """He et al., CVPR 2016, table 1."""

    def __init__(self, block: type[Basic] | type[Bottleneck], counts: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks: list[nn.Module] = []
        inputs = 64
        for stage, count in enumerate(counts):
            for k in range(count):
                blocks.append(block(inputs, 64 * 2**stage, 2 if stage and not k else 1))
                inputs = 64 * 2**stage * block.expansion
        self.blocks = nn.ModuleList(blocks)
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu_(self.bn1(self.conv1(x))))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean(dim=(-2, -1)))


class PreActivation(nn.Module):
    """He et al., ECCV 2016, for CIFAR-10, 6n + 2 layers: in-place ReLU and shortcuts of option A."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        widths = [16] * n + [32] * n + [64] * n
        pairs = list(zip([16, *widths], widths, strict=False))
        self.norms1 = nn.ModuleList(nn.BatchNorm2d(a) for a, _ in pairs)
        self.convs1 = nn.ModuleList(nn.Conv2d(a, b, 3, 1 + (a < b), 1, bias=False) for a, b in pairs)
        self.norms2 = nn.ModuleList(nn.BatchNorm2d(b) for _, b in pairs)
        self.convs2 = nn.ModuleList(nn.Conv2d(b, b, 3, 1, 1, bias=False) for _, b in pairs)
        self.norm, self.head = nn.BatchNorm2d(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        blocks = zip(self.norms1, self.convs1, self.norms2, self.convs2, strict=True)
        for k, (norm1, conv1, norm2, conv2) in enumerate(blocks):
            before = F.relu(norm1(x), inplace=True)
            shortcut = x if k else before  # the first pair of BN and ReLU is shared by both branches
            if conv1.stride == (2, 2):
                shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, conv1.out_channels - x.shape[1]))
            x = conv2(F.relu(norm2(conv1(before)), inplace=True)) + shortcut
        return self.head(F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1).flatten(1))


class Inception(nn.Module):
    """Szegedy et al., CVPR 2015, figure 2b."""

    def __init__(self, inputs: int, a: int, b: int, c: int, d: int, e: int, f: int) -> None:
        super().__init__()

        def conv(i: int, o: int, size: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(i, o, size, padding=size // 2), nn.ReLU())

        pool = nn.MaxPool2d(3, 1, 1, ceil_mode=True)
        self.branches = nn.ModuleList(
            [
                conv(inputs, a, 1),
                nn.Sequential(conv(inputs, b, 1), conv(b, c, 3)),
                nn.Sequential(conv(inputs, d, 1), conv(d, e, 5)),
                nn.Sequential(pool, conv(inputs, f, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def googlenet() -> nn.Sequential:
    """Szegedy et al., CVPR 2015, table 1, without the auxiliary classifiers. torch's alpha is n times the paper's."""

    def pool() -> nn.MaxPool2d:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), pool(), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)),
        *(nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 192, 3, padding=1), nn.ReLU()),
        *(nn.LocalResponseNorm(5), pool()),
        *(Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64), pool()),
        *(Inception(480, 192, 96, 208, 16, 48, 64), Inception(512, 160, 112, 224, 24, 64, 64)),
        *(Inception(512, 128, 128, 256, 24, 64, 64), Inception(512, 112, 144, 288, 32, 64, 64)),
        *(Inception(528, 256, 160, 320, 32, 128, 128), pool()),
        *(Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, 1000)),
    )


class DenseLayer(nn.Module):
    """Huang et al., CVPR 2017: reads all that was made so far, listed anew each time."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, volumes: list[Tensor]) -> Tensor:
        x = self.conv1(F.relu(self.norm1(torch.cat(volumes, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    """Huang et al., CVPR 2017, table 1: DenseNet-121 is `(6, 12, 24, 16)` with growth 32."""

    def __init__(self, counts: tuple[int, ...], growth: int) -> None:
        super().__init__()
        width = 2 * growth
        self.stem = nn.Sequential(
            *(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        )
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for stage, count in enumerate(counts):
            self.blocks.append(nn.ModuleList(DenseLayer(width + k * growth, growth) for k in range(count)))
            width += count * growth
            if stage < len(counts) - 1:
                half = nn.Conv2d(width, width // 2, 1, bias=False)
                self.transitions.append(nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), half, nn.AvgPool2d(2, 2)))
                width //= 2
        self.norm, self.classifier = nn.BatchNorm2d(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage, block in enumerate(self.blocks):
            volumes = [x]
            for layer in block:
                volumes.append(layer(volumes))
            x = torch.cat(volumes, 1)
            if stage < len(self.transitions):
                x = self.transitions[stage](x)
        x = F.adaptive_avg_pool2d(F.relu(self.norm(x), inplace=True), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class TextCNN(nn.Module):
    """Kim, EMNLP 2014, on word vectors (N, 300, L): widths 3, 4 and 5 side by side, the largest over time."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(300, 100, width) for width in (3, 4, 5))
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(300, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [F.relu(conv(x)) for conv in self.convs]
        features = [F.max_pool1d(one, one.size(2)).squeeze(2) for one in maps]
        return self.fc(self.dropout(torch.cat(features, 1)))


def all_cnn_c() -> nn.Sequential:
    """Springenberg et al., ICLR 2015 workshop, tables 1 and 2."""
    plan = [(3, 96, 3, 1), (96, 96, 3, 1), (96, 96, 3, 2), (96, 192, 3, 1), (192, 192, 3, 1), (192, 192, 3, 2)]
    plan += [(192, 192, 3, 1), (192, 192, 1, 1), (192, 10, 1, 1)]
    parts: list[nn.Module] = [nn.Dropout(0.2)]
    for inputs, outputs, size, stride in plan:
        parts += [nn.Conv2d(inputs, outputs, size, stride, size // 2), nn.ReLU()]
        parts += [nn.Dropout()] if stride == 2 else []
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Forward(nn.Module):
    """A forward pass written as a function of x and the parts."""

    def __init__(self, forward: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.parts, self.function = nn.ModuleList(parts), forward

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.parts)


def agreement(module: nn.Module, shape: str) -> float:
    """How far the imported network's outputs are from the module's, relative to the largest of them."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and part.running_mean is not None:
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    network, weights = from_torch(module, shape)
    *size, channels = network.input_shape.as_list()
    images = torch.randn(3, channels, *size)
    with torch.no_grad():
        theirs = module.eval()(images.clone())  # an in-place first layer would change them
        ours = build(network, weights=weights).eval()(images)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())
