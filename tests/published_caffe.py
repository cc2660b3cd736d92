"""Networks of the Caffe model zoo, written from their published definitions as functions of a state dict.

Each takes the arrays under Caffe's names and images (N, 3, H, W) of blue, green and red minus their mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, batch_norm, conv2d, linear, local_response_norm, max_pool2d, relu

State = Mapping[str, Tensor]


def conv(w: State, name: str, x: Tensor, **options: int) -> Tensor:
    return conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), **options)


def fc(w: State, name: str, x: Tensor) -> Tensor:
    return linear(x.flatten(1), w[f"{name}.weight"], w[f"{name}.bias"])


def norm(x: Tensor) -> Tensor:
    return local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)


def pool(x: Tensor) -> Tensor:
    return max_pool2d(x, 3, 2, ceil_mode=True)


def alexnet(w: State, x: Tensor, pooled_first: bool = False) -> Tensor:
    """`bvlc_alexnet`, or `bvlc_reference_caffenet` with pooling before normalization."""
    for name, options in (("conv1", {"stride": 4}), ("conv2", {"padding": 2, "groups": 2})):
        x = relu(conv(w, name, x, **options))
        x = norm(pool(x)) if pooled_first else pool(norm(x))
    x = relu(conv(w, "conv3", x, padding=1))
    x = relu(conv(w, "conv4", x, padding=1, groups=2))
    x = pool(relu(conv(w, "conv5", x, padding=1, groups=2)))
    return fc(w, "fc8", relu(fc(w, "fc7", relu(fc(w, "fc6", x)))))


def caffenet(w: State, x: Tensor) -> Tensor:
    return alexnet(w, x, pooled_first=True)


def vgg16(w: State, x: Tensor) -> Tensor:
    for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
        for k in range(1, count + 1):
            x = relu(conv(w, f"conv{stage}_{k}", x, padding=1))
        x = max_pool2d(x, 2, 2, ceil_mode=True)
    return fc(w, "fc8", relu(fc(w, "fc7", relu(fc(w, "fc6", x)))))


def googlenet(w: State, x: Tensor) -> Tensor:
    x = norm(pool(relu(conv(w, "conv1/7x7_s2", x, stride=2, padding=3))))
    x = relu(conv(w, "conv2/3x3_reduce", x))
    x = pool(norm(relu(conv(w, "conv2/3x3", x, padding=1))))
    for name in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]:
        here = f"inception_{name}"
        x = torch.cat(
            [
                relu(conv(w, f"{here}/1x1", x)),
                relu(conv(w, f"{here}/3x3", relu(conv(w, f"{here}/3x3_reduce", x)), padding=1)),
                relu(conv(w, f"{here}/5x5", relu(conv(w, f"{here}/5x5_reduce", x)), padding=2)),
                relu(conv(w, f"{here}/pool_proj", max_pool2d(x, 3, 1, 1))),
            ],
            1,
        )
        x = pool(x) if name in ("3b", "4e") else x
    return fc(w, "loss3/classifier", x.mean((2, 3)))


def nin(w: State, x: Tensor) -> Tensor:
    x = relu(conv(w, "conv1", x, padding=2))
    x = pool(relu(conv(w, "cccp2", relu(conv(w, "cccp1", x)))))
    x = relu(conv(w, "conv2", x, padding=2))
    x = avg_pool2d(relu(conv(w, "cccp4", relu(conv(w, "cccp3", x)))), 3, 2, ceil_mode=True)
    x = relu(conv(w, "conv3", x, padding=1))
    return relu(conv(w, "cccp6", relu(conv(w, "cccp5", x)))).mean((2, 3))


def normalized(w: State, name: str, x: Tensor, **options: int) -> Tensor:
    """A convolution, its BatchNorm and its Scale, all called `<kind><name>`."""
    x = conv(w, name if name == "conv1" else f"res{name}", x, **options)
    name = f"_{name}" if name == "conv1" else name
    statistics = w[f"bn{name}.running_mean"], w[f"bn{name}.running_var"]
    return batch_norm(x, *statistics, w[f"scale{name}.weight"], w[f"scale{name}.bias"], eps=1e-5)


RESNETS = {
    50: ("2a 2b 2c", "3a 3b 3c 3d", "4a 4b 4c 4d 4e 4f", "5a 5b 5c"),
    101: ("2a 2b 2c", "3a 3b1 3b2 3b3", "4a " + " ".join(f"4b{k}" for k in range(1, 23)), "5a 5b 5c"),
    152: (
        "2a 2b 2c",
        "3a " + " ".join(f"3b{k}" for k in range(1, 8)),
        "4a " + " ".join(f"4b{k}" for k in range(1, 36)),
        "5a 5b 5c",
    ),
}


def resnet(w: State, x: Tensor, depth: int) -> Tensor:
    x = pool(relu(normalized(w, "conv1", x, stride=2, padding=3)))
    for stage in RESNETS[depth]:
        for block in stage.split():
            first = block.endswith("a")
            stride = 2 if first and block != "2a" else 1
            y = relu(normalized(w, f"{block}_branch2a", x, stride=stride))
            y = relu(normalized(w, f"{block}_branch2b", y, padding=1))
            y = normalized(w, f"{block}_branch2c", y)
            x = relu(y + (normalized(w, f"{block}_branch1", x, stride=stride) if first else x))
    return fc(w, "fc1000", x.mean((2, 3)))
