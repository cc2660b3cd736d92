r"""Hyperbolic tangent.

    y = tanh(x)        dx = dy * (1 - y^2)

Shapes: any volume, unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Activation, Array, Arrays, Example, Footprint, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Tanh(Activation):
    """Squashes into (-1, 1): `TANH`."""

    op: ClassVar[str] = "TANH"
    gain = 1.0

    examples = (Example("TANH", "4x3x2"), Example("TANH", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """tanh(x)."""
        (x,) = xs
        y = np.tanh(x)
        return y, y

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy * (1 - y^2)."""
        return (dy * (1.0 - cache**2),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its output."""
        return Footprint(keeps_output=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Tanh`."""
        from torch import nn

        return nn.Tanh()
