r"""Parametric rectified linear unit: the slope for negative values is learned, one for each channel.

    y = x if x > 0 else a_c x        dx = dy if x > 0 else a_c dy        da_c = sum of dy x where x <= 0

Shapes: any volume, unchanged; `weight` (C,) holds the slopes, which begin at 0.25.
Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import RECTIFIER, Activation, Array, Arrays, Cost, Example, Footprint, Parameter, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PReLU(Activation):
    """A learned slope for negative values: `PRELU`."""

    op: ClassVar[str] = "PRELU"
    gain = RECTIFIER

    examples = (Example("PRELU", "4x3x2"), Example("PRELU", "5x3"))

    def cost(self, *inputs: Shape) -> Cost:
        """One slope for each channel; the input is kept."""
        (x,) = inputs
        return Cost(parameters=x.channels, kept=x.elements)

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` (C,), beginning at 0.25 as in the paper."""
        return {"weight": Parameter((inputs[0].channels,), value=0.25)}

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x, or a x where x is negative."""
        (x,) = xs
        slopes = params["weight"].reshape(-1, *(1,) * (x.ndim - 2))
        return np.where(x > 0, x, slopes * x), (x, slopes)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy times the slope; the slope's gradient sums over images and positions."""
        x, slopes = cache
        positions = (0, *range(2, x.ndim))
        da = np.where(x > 0, 0.0, dy * x).sum(axis=positions)
        return (np.where(x > 0, dy, slopes * dy),), {"weight": da}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input; the gradient of the slopes is made value by value before it is summed."""
        (x,) = inputs
        return Footprint(keeps_input=True, extra=run.cast(x.channels), backward=run.volume(x))

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.PReLU` with one slope for each channel."""
        from torch import nn

        return nn.PReLU(inputs[0].channels)
