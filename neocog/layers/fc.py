r"""Fully connected layer: K neurons, each connected to every value of the volume.

    y[n,k] = b[k] + sum over d of  w[k,d] * x[n,d],   d running over channels, then rows, then columns

| letter | meaning                     | default  |
|--------|-----------------------------|----------|
| K      | number of neurons           | required |
| BIAS   | whether each has a bias     | yes      |

Shapes: x (N, C, H, W), w (K, C*H*W), y (N, K, 1, 1).

Gradient: with x as a matrix (N, D), y = x w^T + b, so  dx = dy w,  dw = dy^T x,  db = sum over n of dy.
An FC layer is a convolution whose window is the whole volume (fact C14).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, FLAG, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FullyConnected(Layer):
    """K neurons that see the whole volume: `FC4096`."""

    op: ClassVar[str] = "FC"
    out_channels: int = setting("K", COUNT, position="head")
    bias: bool = setting("BIAS", FLAG, default=True)

    examples = (
        Example("FC4", "3x2x5"),
        Example("FC3(BIAS=no)", "1x1x7"),
        Example("FC2", "6x3"),
    )
    bad_examples = (
        BadExample("FC", says="FC needs K"),
        BadExample("FC0", says="whole number from 1"),
        BadExample("FC3x3", says="whole number from 1"),
    )

    def output_shape(self, *inputs: Shape) -> Shape:
        """1x1xK."""
        return inputs[0].vector(self.out_channels)

    def cost(self, *inputs: Shape) -> Cost:
        """Every value of the volume has one weight to each neuron."""
        (x,) = inputs
        weights = x.elements * self.out_channels
        total = weights + (self.out_channels if self.bias else 0)
        return Cost(parameters=total, connections=total, macs=weights, kept=x.elements)

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` (K, C*H*W) and `bias` (K,)."""
        (x,) = inputs
        weight = Parameter((self.out_channels, x.elements), fan=(x.elements, self.out_channels))
        return {"weight": weight, "bias": Parameter((self.out_channels,))} if self.bias else {"weight": weight}

    def window(self, *inputs: Shape) -> Window:
        """The whole input."""
        return Window.over(inputs[0])

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, K, 1, 1)."""
        (x,) = xs
        flat = x.reshape(len(x), -1)  # (N, D)
        y = flat @ params["weight"].T
        if self.bias:
            y = y + params["bias"]
        return y.reshape(*y.shape, *(1,) * (x.ndim - 2)), (x.shape, flat)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The two transposed products."""
        shape, flat = cache
        d = dy.reshape(len(dy), -1)  # (N, K)
        grads = {"weight": d.T @ flat}
        if self.bias:
            grads["bias"] = d.sum(axis=0)
        return ((d @ params["weight"]).reshape(shape),), grads

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input as rows: of images a copy, since those are stored channels last."""
        (x,) = inputs
        copied = run.interleaved(x)
        rows = run.volume(x) if copied else 0
        cast = run.cast(x.elements * self.out_channels)
        extra = rows + (cast if run.training else 0)
        return Footprint(keeps_input=not copied, extra=extra, ready=cast, channels_first=copied)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Linear` on the flattened volume."""
        from . import _modules

        (x,) = inputs
        return _modules.Linear(x.elements, self.out_channels, bias=self.bias)
