"""Every layer's footprint against what autograd really keeps, on every example of its file."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from tokens import layer_of, shapes_of
from torch import Tensor, nn

from neocog.layer import Example, Pass, Shape
from neocog.layers import LAYERS
from neocog.torch_engine.faster import faster

IMAGES = 2
EXAMPLES = [example for layer in LAYERS for example in layer.examples]
CASES = [
    *((example, torch.float32) for example in EXAMPLES),
    *((example, torch.bfloat16) for example in EXAMPLES if layer_of(example.token).op != "RBF"),  # its codes are cast
]


class Kept(NamedTuple):
    """What a forward pass left for the backward pass, by the memory that it lies in."""

    input: bool
    output: bool
    extra: int


def name(value: Any) -> str | None:
    return value.token if isinstance(value, Example) else str(value).removeprefix("torch.")


def stored_as_the_engine_does(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def memory_of(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def volumes(inputs: tuple[Shape, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    drawn = (torch.rand(IMAGES, x.channels, *x.spatial).add(0.1).to(dtype) for x in inputs)
    return [stored_as_the_engine_does(x).requires_grad_() for x in drawn]


def kept_by(module: nn.Module, xs: list[Tensor]) -> tuple[Tensor, Kept]:
    """The module's output, and what it saved; a parameter or buffer takes no memory of its own."""
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[memory_of(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = module(*xs)
    own = {memory_of(tensor) for tensor in (*module.parameters(), *module.buffers())}
    inputs = {memory_of(x) for x in xs}
    others = {place: size for place, size in saved.items() if place not in {*own, *inputs, memory_of(y)}}
    return y, Kept(not inputs.isdisjoint(saved), memory_of(y) in saved, sum(others.values()))


@pytest.mark.parametrize(("example", "dtype"), CASES, ids=name)
def test_autograd_keeps_what_the_footprint_says(example: Example, dtype: torch.dtype) -> None:
    layer = layer_of(example.token)
    inputs = shapes_of(example.inputs) or (layer.output_shape(),)
    read = inputs if example.inputs else ()
    footprint = layer.footprint(Pass(IMAGES, dtype.itemsize), *read)
    module = faster(layer.module(*read).train(), layer, read, "float32")
    xs = volumes(inputs, dtype)
    with torch.autocast("cpu", enabled=dtype is torch.bfloat16):
        y, kept = kept_by(module, xs)
    view = any(memory_of(y) == memory_of(x) for x in xs)
    assert (view, kept.extra) == (footprint.view, footprint.extra)
    if not view:
        assert kept == Kept(footprint.keeps_input, footprint.keeps_output, footprint.extra)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.inputs], ids=name)
def test_a_gradient_is_the_outputs_own_where_the_footprint_says(example: Example) -> None:
    layer, inputs = layer_of(example.token), shapes_of(example.inputs)
    footprint = layer.footprint(Pass(IMAGES), *inputs)
    xs = volumes(inputs)
    y = layer.module(*inputs).train()(*xs)
    dy = stored_as_the_engine_does(torch.rand(y.shape))
    shared = {memory_of(dx) == memory_of(dy) for dx in torch.autograd.grad(y, xs, dy)}
    assert shared == {footprint.shares_gradient or footprint.view}
