r"""Flatten: the whole volume as channels of one position, in the order channels, rows, columns.

    y[n, (c*H + i)*W + j] = x[n,c,i,j]        dx is dy in the old shape

Shapes: x (N, C, H, W) -> y (N, C*H*W, 1, 1). FC does this by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, Cost, Example, Footprint, Layer, Pass, Shape, Window

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Flatten(Layer):
    """A volume as a vector: `FLATTEN`."""

    op: ClassVar[str] = "FLATTEN"
    in_place = True

    examples = (Example("FLATTEN", "3x2x5"), Example("FLATTEN", "6x3"))

    def output_shape(self, *inputs: Shape) -> Shape:
        """1x1x(H*W*C)."""
        return inputs[0].vector(inputs[0].elements)

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing: the values are only numbered anew."""
        return Cost()

    def window(self, *inputs: Shape) -> Window:
        """The whole input: any of its positions may stand at a channel of the output."""
        return Window.over(inputs[0])

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C*H*W, 1, 1)."""
        (x,) = xs
        return x.reshape(len(x), -1, *(1,) * (x.ndim - 2)), x.shape

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy in the shape of x."""
        return (dy.reshape(cache),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Of images a copy, since those are stored channels last; else the input itself."""
        copied = run.interleaved(*inputs)
        return Footprint(view=not copied, shares_gradient=True, channels_first=copied)

    def module(self, *inputs: Shape) -> nn.Module:
        """A reshape that keeps the number of axes."""
        from . import _modules

        return _modules.Flatten()
