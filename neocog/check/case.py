"""A layer with numbers drawn for it, run in NumPy and in torch; and what comparing two runs gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..layer import Array, Layer, Parameter, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn


class Comparison(NamedTuple):
    """How far two witnesses are apart on one thing, and how far they may be."""

    what: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Within tolerance; an error that is no number is not."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: its worst comparison. `detail` says of what, or that there was nothing to compare."""

    check: str
    error: float
    tolerance: float
    detail: str

    @property
    def ok(self) -> bool:
        """Whether the witnesses agree."""
        return self.error <= self.tolerance

    @classmethod
    def worst(cls, check: str, comparisons: Iterator[Comparison]) -> Finding:
        """The comparison that is furthest beyond its tolerance, or nearest to it."""
        found = list(comparisons)
        if not found:
            return cls(check, 0.0, 0.0, "nothing to compare")
        what, error, tolerance = max(found, key=lambda c: (not c.ok, c.error / (c.tolerance or 1.0)))
        return cls(check, error, tolerance, what)


def mode_name(training: bool) -> str:
    """For messages."""
    return "training" if training else "inference"


def difference(a: Array, b: Array, floor: float = 0.0) -> float:
    """The largest |a - b|, relative to the largest value of either or `floor`; infinite if shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    size = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)), floor)
    if not np.isfinite(size):
        return float("inf")
    return float(np.abs(a - b).max(initial=0.0)) / size if size else 0.0


def spaced(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Values of both signs whose sizes are 2/n, 4/n, ..., 2 in random order.

    No two are equal, so every maximum is unique and max pooling has one gradient; none is zero, so ReLU has
    one; and all stay distinct when a finite difference moves each by less than 1/n.
    """
    n = int(np.prod(shape))
    sizes = (rng.permutation(n) + 1) * (2.0 / n)
    values: Array = np.where(rng.random(n) < 0.5, -sizes, sizes)
    return values.reshape(shape)


def drawn(parameter: Parameter, rng: np.random.Generator) -> Array:
    """Values for a parameter, none left at a start (such as a bias of zero) that would hide a mistake."""
    if isinstance(parameter.value, np.ndarray):
        return np.array(parameter.value, np.float64)  # a fixed code is part of the formula
    start: Array = np.full(parameter.shape, parameter.value, np.float64)
    if not parameter.trainable:
        return start + rng.uniform(0.25, 0.75, parameter.shape)  # a running variance stays positive
    spread = 0.5 if parameter.fan is None else parameter.fan[0] ** -0.5  # keeps outputs about as large as inputs
    return start + spread * rng.standard_normal(parameter.shape)


@dataclass(frozen=True)
class Case:
    """A layer with drawn inputs (N, C, *size) and parameters. `training` runs use one seed, so one dropout mask."""

    layer: Layer
    inputs: tuple[Shape, ...]
    params: dict[str, Array]
    xs: tuple[Array, ...]
    seed: int

    @classmethod
    def draw(cls, layer: Layer, inputs: tuple[Shape, ...], seed: int) -> Case:
        """Two images, or four of a single position: normalising over two numbers always gives +1 and -1."""
        rng = np.random.default_rng(seed)
        volumes = inputs or (layer.output_shape(),)  # INPUT reads nothing but hands on what it is given
        images = 2 if max(x.positions for x in volumes) > 1 else 4
        params = {name: drawn(p, rng) for name, p in layer.parameters(*inputs).items()}
        xs = tuple(spaced((images, x.channels, *x.spatial), rng) for x in volumes)
        return cls(layer, inputs, params, xs, seed)

    def forward(self, training: bool = False, stream: int = 0) -> Array:
        """The reference's output; another `stream` draws other random numbers."""
        rng = np.random.default_rng((self.seed, stream)) if training else None
        return self.layer.forward(self.params, *self.xs, rng=rng)[0]

    def backward(self, dy: Array, training: bool) -> dict[str, Array]:
        """The reference's gradients by the names of `arguments`."""
        rng = np.random.default_rng((self.seed, 0)) if training else None
        _, cache = self.layer.forward(self.params, *self.xs, rng=rng)
        dxs, dparams = self.layer.backward(self.params, cache, dy)
        return dict(zip(self.input_names(), dxs, strict=True)) | dparams

    def input_names(self) -> list[str]:
        """`x`, or `x1`, `x2`, ... where branches are joined."""
        return ["x"] if len(self.xs) == 1 else [f"x{i + 1}" for i in range(len(self.xs))]

    def arguments(self) -> dict[str, Array]:
        """All that there is a gradient for: the inputs `x` (or `x1`, `x2`, ...) and the trainable parameters."""
        declared = self.layer.parameters(*self.inputs)
        trainable = {name: value for name, value in self.params.items() if declared[name].trainable}
        return dict(zip(self.input_names(), self.xs, strict=True)) | trainable

    def moved(self, name: str, step: Array) -> Case:
        """The same case with `step` added to one argument."""
        if name in self.params:
            return replace(self, params=self.params | {name: self.params[name] + step})
        names = self.input_names()
        return replace(self, xs=tuple(x + step if n == name else x for n, x in zip(names, self.xs, strict=True)))

    def repeated(self, times: int) -> Case:
        """The same images several times over, one whole batch after another."""
        return replace(self, xs=tuple(np.concatenate([x] * times) for x in self.xs))

    def is_random(self) -> bool:
        """Whether a training pass depends on the numbers drawn in it: of a few draws, some may be equal by chance."""
        many = self.repeated(-(-1024 // min(x.size for x in self.xs)))
        return not np.array_equal(many.forward(training=True, stream=0), many.forward(training=True, stream=1))

    def modes(self) -> list[bool]:
        """The values of `training` to look at: inference, and training where its output is another one."""
        return [False] if np.array_equal(self.forward(), self.forward(training=True)) else [False, True]


@contextmanager
def torch_seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from `seed` inside, and untouched for whoever runs outside."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def torch_module(case: Case, training: bool) -> nn.Module:
    """The layer's torch module in float64, holding the parameters of the case."""
    import torch

    module = case.layer.module(*case.inputs).double().train(training)
    owned = dict(module.named_parameters()) | dict(module.named_buffers())
    with torch.no_grad():
        for name, value in case.params.items():
            owned[name].copy_(torch.from_numpy(value))
    return module


def torch_inputs(case: Case, requires_grad: bool = False) -> list[Tensor]:
    """The inputs of the case as tensors of their own."""
    import torch

    return [torch.from_numpy(x.copy()).requires_grad_(requires_grad) for x in case.xs]


def torch_forward(case: Case, training: bool) -> Array:
    """Torch's output."""
    import torch

    with torch.no_grad():
        output: Array = torch_module(case, training)(*torch_inputs(case)).numpy()
    return output


def torch_backward(case: Case, dy: Array, training: bool) -> dict[str, Array]:
    """Autograd's gradients by the names of `Case.arguments`; none where torch's output is not shaped like dy."""
    import torch

    module = torch_module(case, training)
    xs = torch_inputs(case, requires_grad=True)
    y = module(*xs)
    if y.shape != dy.shape:
        return {}
    y.backward(torch.from_numpy(dy))
    leaves = dict(zip(case.input_names(), xs, strict=True)) | dict(module.named_parameters())
    return {name: gradient_of(leaves[name]) for name in case.arguments()}


def gradient_of(leaf: Tensor) -> Array:
    """What autograd left at a tensor: zeros where nothing depends on it."""
    gradient: Array = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
    return gradient
