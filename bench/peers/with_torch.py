"""PyTorch: plain modules, as a user would write them, in one of torch's settings."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any

import torch
from serve import (
    LEARNING_RATE,
    MOMENTUM,
    CannotError,
    Nodes,
    Work,
    check_shape,
    images,
    labels,
    refuse_rare_forms,
    serve,
)
from torch import Tensor, nn
from torch.nn import functional as F


class Sum(nn.Module):
    def forward(self, *xs: Tensor) -> Tensor:
        return sum(xs[1:], start=xs[0])


class Concat(nn.Module):
    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, 1)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=tuple(range(2, x.ndim)))


class Shortcut(nn.Module):
    def __init__(self, stride: list[int], channels: int) -> None:
        super().__init__()
        self.picked = (slice(None), slice(None), *(slice(None, None, s) for s in stride))
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[self.picked], (0, 0) * (x.ndim - 2) + (0, self.channels - x.shape[1]))


class Net(nn.Module):
    """The nodes as modules, each with the outputs it reads; an output is let go after its last reader."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__()
        refuse_rare_forms(nodes)
        self.inputs = [node["inputs"] for node in nodes[1:]]
        readers = Counter(i for inputs in self.inputs for i in inputs)
        last = {i: k for k, inputs in enumerate(self.inputs) for i in inputs}
        self.dropped = [[i for i in set(inputs) if last[i] == k] for k, inputs in enumerate(self.inputs)]
        self.layers = nn.ModuleList(
            layer(
                node,
                [nodes[i]["shape"] for i in node["inputs"]],
                in_place=readers[i := node["inputs"][0]] == 1 and nodes[i]["op"] in ("CONV", "BN", "FC", "ADD"),
            )
            for node in nodes[1:]
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = {0: x}
        for k, module in enumerate(self.layers):
            x = module(*(kept[i] for i in self.inputs[k]))
            for i in self.dropped[k]:
                del kept[i]
            kept[k + 1] = x
        return x


def layer(node: dict[str, Any], shapes: list[list[int]], *, in_place: bool) -> nn.Module:
    """The module of a node that reads volumes of these shapes. `in_place`: nothing else needs the first of them."""
    rank = len(node["shape"]) - 1
    channels = shapes[0][0]
    match node["op"]:
        case "CONV":
            conv = (nn.Conv1d, nn.Conv2d)[rank - 1]
            sizes = (channels, node["out_channels"], node["kernel"], node["stride"])
            rest = {name: node[name] for name in ("dilation", "groups", "bias")}
            return padded(node, 0.0, lambda padding: conv(*sizes, padding=padding, **rest))
        case "POOL":
            pool = (nn.MaxPool1d, nn.MaxPool2d)[rank - 1]
            return padded(node, float("-inf"), lambda padding: pool(node["kernel"], node["stride"], padding))
        case "AVGPOOL":
            return (nn.AvgPool1d, nn.AvgPool2d)[rank - 1](node["kernel"], node["stride"])
        case "GAP":
            return Mean()
        case "FC":
            size = torch.Size(shapes[0]).numel()
            return nn.Sequential(nn.Flatten(), nn.Linear(size, node["out_channels"], bias=node["bias"]))
        case "BN":
            norm = (nn.BatchNorm1d, nn.BatchNorm2d)[rank - 1]
            return norm(channels, eps=node["eps"], momentum=node["momentum"], affine=node["affine"])
        case "LRN":
            return nn.LocalResponseNorm(node["size"], node["alpha"] * node["size"], node["beta"], node["k"])
        case "SHORTCUT":
            return Shortcut(node["stride"], node["out_channels"])
        case "DROPOUT":
            return nn.Dropout(node["probability"])
        case "RELU":
            return nn.ReLU(inplace=in_place)
    simple = {
        "TANH": nn.Tanh,
        "SIGMOID": nn.Sigmoid,
        "ADD": Sum,
        "CONCAT": Concat,
        "ID": nn.Identity,
        "FLATTEN": nn.Flatten,
    }
    if node["op"] not in simple:
        raise CannotError(f"no {node['op']}")
    return simple[node["op"]]()


def padded(node: dict[str, Any], value: float, make: Any) -> nn.Module:
    """A module whose padding is its own where that is the same on both sides, and else a module before it."""
    if all(before == after for before, after in node["pads"]):
        return make([before for before, _ in node["pads"]])
    sides = [n for pair in reversed(node["pads"]) for n in pair]
    pad = (nn.ConstantPad1d, nn.ConstantPad2d)[len(node["pads"]) - 1]
    return nn.Sequential(pad(tuple(sides), value), make(0))


def checked(net: Net, nodes: Nodes) -> Net:
    """The network, after one image in which every output was compared with the plan."""
    net.eval()
    hooks = [
        module.register_forward_hook(lambda _, __, y, node=node: check_shape(node, tuple(y.shape[1:])))
        for module, node in zip(net.layers, nodes[1:], strict=True)
    ]
    with torch.inference_mode():
        net(torch.from_numpy(images(nodes, 1)))
    for hook in hooks:
        hook.remove()
    return net


def make(
    nodes: Nodes,
    batch: int,
    training: bool,
    channels_last: bool = False,
    bfloat16: bool = False,
    compiled: bool = False,
    **_: object,
) -> Work:
    net = checked(Net(nodes), nodes).train(training)
    x = torch.from_numpy(images(nodes, batch))
    if channels_last and x.ndim == 4:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in net.parameters())
    model = compile_(net) if compiled else net
    precision = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def predict() -> object:
        with torch.inference_mode(), precision:
            return model(x).float().numpy()

    if not training:
        return Work(parameters, predict)
    targets = torch.from_numpy(labels(nodes, batch))
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM, nesterov=True, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        with precision:
            loss = F.cross_entropy(model(x), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Work(parameters, step)


def compile_(net: Net) -> Any:
    if not any(map(shutil.which, ("g++", "clang++"))):
        raise CannotError("torch.compile needs a C++ compiler")
    torch.compiler.reset()
    return torch.compile(net)


if __name__ == "__main__":
    serve(make, {"torch": torch.__version__})
