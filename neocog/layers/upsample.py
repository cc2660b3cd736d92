r"""Upsampling by a whole factor: values repeated, or interpolated between.

    nearest:   y[n,c,i,j] = x[n, c, floor(i/F), floor(j/F)]
    bilinear:  y[n,c,i,j] = sum over p,q of  a[i,p] * a[j,q] * x[n,c,p,q],   a[i,p] = max(0, 1 - |s(i) - p|)

where s(i) = (i + 1/2)/F - 1/2, kept within 0 and H - 1, is where the centre of output i lies among the inputs. That
is torch's `align_corners=False`. On a 1-D volume `bilinear` is linear.

| letter | meaning                                                | default  |
|--------|--------------------------------------------------------|----------|
| F      | factor; `UPSAMPLE2x3` doubles rows and triples columns | required |
| MODE   | nearest or bilinear                                    | nearest  |

Shapes: x (N, C, H, W) -> y (N, C, F*H, F*W).

Gradient: both are linear, y = A x B' with one matrix for each axis, so dx = A' dy B. For `nearest` that is the sum
of each block of F x F.

Source: Long, Shelhamer and Darrell, "Fully convolutional networks", CVPR 2015, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Pass, Shape, Window, per_axis
from ..spelling import SIZE, Dims, choice, setting

if TYPE_CHECKING:
    from torch import nn

MODE = choice("nearest", "bilinear")


@dataclass(frozen=True)
class Upsample(Layer):
    """Volumes F times as high and wide: `UPSAMPLE2`."""

    op: ClassVar[str] = "UPSAMPLE"
    factor: Dims = setting("F", SIZE, position="head")
    mode: str = setting("MODE", MODE, default="nearest")

    examples = (
        Example("UPSAMPLE2", "3x4x2"),
        Example("UPSAMPLE2x3", "3x2x2"),
        Example("UPSAMPLE2(MODE=bilinear)", "4x3x2"),
        Example("UPSAMPLE3x4(MODE=bilinear)", "3x4x1"),
        Example("UPSAMPLE3", "4x2"),
        Example("UPSAMPLE3(MODE=bilinear)", "4x2"),
    )
    bad_examples = (
        BadExample("UPSAMPLE", says="UPSAMPLE needs F"),
        BadExample("UPSAMPLE2(MODE=cubic)", says="one of nearest, bilinear"),
        BadExample("UPSAMPLE2x3", "4x1", says="spatial axis"),
    )

    def _factors(self, x: Shape) -> Dims:
        return per_axis(self.factor, x.rank, self)

    def output_shape(self, *inputs: Shape) -> Shape:
        """F times the size; channels stay."""
        (x,) = inputs
        return Shape(tuple(n * f for n, f in zip(x.spatial, self._factors(x), strict=True)), x.channels)

    def cost(self, *inputs: Shape) -> Cost:
        """Copies cost nothing; an interpolated value is made of two inputs on each axis."""
        if self.mode == "nearest":
            return Cost()
        taps = 2 ** inputs[0].rank * self.output_shape(*inputs).elements
        return Cost(connections=taps, macs=taps)

    def window(self, *inputs: Shape) -> Window:
        """Outputs lie F to an input; each sees the input it is nearest to, or all less than one input away."""
        factors = self._factors(inputs[0])
        ones = (1,) * len(factors)
        if self.mode == "nearest":
            return Window(factors, ones, tuple(f - 1 for f in factors), ones, upsampling=factors)
        kernel = tuple(2 * f - f % 2 for f in factors)  # the whole numbers less than F from the centre
        padding = tuple((3 * f - 2) // 2 for f in factors)
        return Window(kernel, ones, padding, ones, upsampling=factors)

    def _matrices(self, size: Dims) -> list[Array]:
        """For each axis the weights of the inputs in each output: (F*H, H)."""
        factors = per_axis(self.factor, len(size), self)
        matrix = _repeating if self.mode == "nearest" else _interpolating
        return [matrix(n, f) for n, f in zip(size, factors, strict=True)]

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, *(F * size))."""
        (x,) = xs
        matrices = self._matrices(x.shape[2:])
        return _along_axes(matrices, x), matrices

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The transposed matrices."""
        return (_along_axes([matrix.T for matrix in cache], dy),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps nothing."""
        return Footprint()

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Upsample`."""
        from torch import nn

        (x,) = inputs
        mode = "linear" if self.mode == "bilinear" and x.rank == 1 else self.mode
        factors = tuple(float(f) for f in self._factors(x))
        return nn.Upsample(scale_factor=factors, mode=mode)


def _repeating(size: int, factor: int) -> Array:
    repeated: Array = np.repeat(np.eye(size), factor, axis=0)
    return repeated


def _interpolating(size: int, factor: int) -> Array:
    centres = (np.arange(size * factor) + 0.5) / factor - 0.5
    distances = np.abs(centres.clip(0, size - 1)[:, None] - np.arange(size))
    weights: Array = np.maximum(0.0, 1.0 - distances)
    return weights


def _along_axes(matrices: list[Array], x: Array) -> Array:
    """One matrix times each spatial axis."""
    for axis, matrix in enumerate(matrices, start=2):
        x = np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)
    return x
