"""Branches and joins, however they are written down, become branches that start from one volume and are joined."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_models import Forward, agreement

from neocog import NeocogError, Network
from neocog.interop.wiring import Vertex, as_chain
from neocog.layer import Shape
from neocog.layers.add import Add
from neocog.layers.conv import Conv
from neocog.layers.input import Input
from neocog.layers.relu import ReLU


def convs(count: int, channels: int = 2) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 1) for _ in range(count)]


def sum_in_any_order(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, d: nn.Module) -> Tensor:
    u = a(x)
    return b(u) + d(x) + c(u)


def u_net(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    first = a(x)
    second = b(first.relu())
    return torch.cat([first, torch.cat([second, second.tanh()], 1).sigmoid()], 1)


def dense_newest_first(x: Tensor, a: nn.Module) -> Tensor:
    f = a(x)
    g = torch.cat([f, x], 1).tanh()
    return torch.cat([g, f, x], 1)


def the_same_twice(x: Tensor) -> Tensor:
    return torch.cat([torch.cat([x, x], 1).tanh(), torch.cat([x, x, x], 1).relu()], 1)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Identity(), ""),
        (Forward(sum_in_any_order, *convs(4)), " -> ADD[CONV1-2 -> ADD[CONV1-2 | CONV1-2] | CONV1-2]"),
        (Forward(u_net, *convs(2)), " -> CONV1-2 -> CONCAT[ID | RELU -> CONV1-2 -> CONCAT[ID | TANH] -> SIGMOID]"),
        (Forward(dense_newest_first, *convs(1)), " -> CONCAT[CONV1-2 | ID] -> CONCAT[TANH | ID]"),
        (Forward(the_same_twice), " -> CONCAT[CONCAT[ID | ID] -> TANH | CONCAT[ID | ID | ID] -> RELU]"),
    ],
    ids=["nothing", "sum in any order", "skips inside skips", "dense, newest first", "the same twice"],
)
def test_branches_are_written_as_a_chain(module, text):
    assert str(Network.from_torch(module, "4x4x2")) == f"INPUT[4x4x2]{text}"
    assert agreement(module, "4x4x2") < 1e-5


def ladder(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    u, v = a(x), b(x)
    return torch.cat([u.relu() + v, c(u)], 1)


def test_crossing_branches_are_refused_with_the_volumes_they_start_from():
    with pytest.raises(NeocogError) as caught:
        Network.from_torch(Forward(ladder, *convs(3)), "4x4x2")
    assert "the branches that ADD joins here cross others, which no chain with branches does" in str(caught.value)
    assert "received: branches from INPUT at input and from CONV at parts.0" in str(caught.value)


def test_thousands_of_layers_become_a_chain():
    graph = {0: Vertex(Input(Shape.of("8x8x4")), (), "input")}
    for block in range(2000):
        graph[3 * block + 1] = Vertex(Conv((3,), 4), (3 * block,), f"conv{block}")
        graph[3 * block + 2] = Vertex(ReLU(), (3 * block + 1,), f"relu{block}")
        graph[3 * block + 3] = Vertex(Add(), (3 * block + 2, 3 * block), f"add{block}")
    chain, behind = as_chain(graph)
    assert str(Network(chain)) == "INPUT[8x8x4] -> [ADD[CONV3-4 -> RELU | ID]]*2000"
    assert len(behind) == 1 + 4 * 2000
