r"""Trainable subsampling, as in LeNet-5: the sum of each window, times one weight, plus one bias for each map.

    y[n,c,i,j] = w[c] * sum over u,v of x[n, c, S*i + u, S*j + v]  +  b[c]

| letter | meaning                                                  | default |
|--------|----------------------------------------------------------|---------|
| F      | window size                                              | required |
| S      | stride                                                   | F       |
| P      | zero padding                                             | 0       |
| fit    | what to do when windows do not tile: exact, floor, ceil  | exact   |

Shapes: x (N, C, H, W), w and b (C,), y (N, C, H', W') with H' = (H - F + 2P)/S + 1. w begins at 1/(F*F), an average.
The squashing function that follows is a layer of its own: `SUBSAMPLE2 -> SCALEDTANH`.

Gradient, with down(x) the sums (fact P3):  dw = sum of down(x) * dy,  db = sum of dy,  dx = w * dy spread over
the window.

Source: LeCun et al., 1998, section II-B.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Parameter, Pass, Shape
from ._pooling import Pooling, seen_by
from ._slide import slide, unslide

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Subsample(Pooling):
    """Sums of windows with a weight and a bias for each map: `SUBSAMPLE2`."""

    op: ClassVar[str] = "SUBSAMPLE"

    examples = (
        Example("SUBSAMPLE2", "6x4x3"),
        Example("SUBSAMPLE3(S=2, P=1)", "5x7x2"),
        Example("SUBSAMPLE2x3(S=1x3)", "4x6x2"),
        Example("SUBSAMPLE3(S=2, fit=floor)", "6x8x2"),
        Example("SUBSAMPLE3(S=2, fit=ceil)", "6x8x2"),
        Example("SUBSAMPLE2", "8x3"),
    )
    bad_examples = (BadExample("SUBSAMPLE2", "5x5x1", says="do not tile"),)

    def cost(self, *inputs: Shape) -> Cost:
        """Two parameters a map; F*F inputs and a bias for each output; one multiplication an output."""
        outputs = self.output_shape(*inputs).elements
        return Cost(
            parameters=2 * inputs[0].channels,
            connections=(self.taps(inputs[0]) + 1) * outputs,
            macs=outputs,
            kept=outputs,
        )

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` and `bias`, one number a map."""
        (x,) = inputs
        return {"weight": Parameter((x.channels,), value=1 / self.taps(x)), "bias": Parameter((x.channels,))}

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, *size')."""
        (x,) = xs
        window = self.window(seen_by(x))
        rank = len(window.kernel)
        sums = slide(x, window, self.fit).sum(axis=tuple(range(-rank, 0)))
        weight, bias = (params[name].reshape(-1, *(1,) * rank) for name in ("weight", "bias"))
        return weight * sums + bias, (x.shape, window, sums, weight)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Sums over images and positions for the map's two numbers; w * dy to every value of the window."""
        shape, window, sums, weight = cache
        positions = (0, *range(2, dy.ndim))
        spread = (weight * dy).reshape(*dy.shape, *(1,) * len(window.kernel))
        dx = unslide(np.broadcast_to(spread, (*dy.shape, *window.kernel)), shape[2:], window, self.fit)
        return (dx,), {"weight": (sums * dy).sum(axis=positions), "bias": dy.sum(axis=positions)}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input and the sums of its windows."""
        sums = run.volume(self.output_shape(*inputs))
        return Footprint(keeps_input=True, extra=sums, backward=sums)

    def module(self, *inputs: Shape) -> nn.Module:
        """Window sums, scaled and shifted."""
        from . import _modules

        (x,) = inputs
        w = self.window(x)
        return _modules.Subsample(x.channels, w.kernel, w.stride, w.padding, ceil=self.fit == "ceil")
