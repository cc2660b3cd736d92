r"""Global average pooling: one number for each channel.

    y[n,c] = 1/(H*W) * sum over i,j of x[n,c,i,j]        dx[n,c,i,j] = dy[n,c] / (H*W)

Shapes: x (N, C, H, W) -> y (N, C, 1, 1). Source: Lin, Chen and Yan, "Network in network", ICLR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, Cost, Example, Footprint, Layer, Pass, Shape, Window

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each channel: `GAP`."""

    op: ClassVar[str] = "GAP"

    examples = (Example("GAP", "4x3x5"), Example("GAP", "7x2"), Example("GAP", "1x1x3"))

    def output_shape(self, *inputs: Shape) -> Shape:
        """1x1xC."""
        return inputs[0].vector(inputs[0].channels)

    def cost(self, *inputs: Shape) -> Cost:
        """Every value is one connection; nothing is kept."""
        return Cost(connections=inputs[0].elements)

    def window(self, *inputs: Shape) -> Window:
        """The whole input."""
        return Window.over(inputs[0])

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, 1, 1)."""
        (x,) = xs
        return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True), x.shape

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The same share of dy for every position."""
        return (np.broadcast_to(dy / np.prod(cache[2:]), cache).copy(),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps nothing."""
        return Footprint()

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.AdaptiveAvgPool1d(1)` or `nn.AdaptiveAvgPool2d(1)`."""
        from torch import nn

        return nn.AdaptiveAvgPool1d(1) if inputs[0].rank == 1 else nn.AdaptiveAvgPool2d(1)
