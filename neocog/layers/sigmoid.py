r"""Logistic sigmoid.

    y = 1 / (1 + e^-x)        dx = dy * y * (1 - y)

The derivative is at most 1/4, so through n layers of sigmoids a gradient shrinks at least as 4^-n: the vanishing
gradient (fact A1). Shapes: any volume, unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Activation, Array, Arrays, Example, Footprint, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Squashes into (0, 1): `SIGMOID`."""

    op: ClassVar[str] = "SIGMOID"
    gain = 1.0

    examples = (Example("SIGMOID", "4x3x2"), Example("SIGMOID", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """1 / (1 + e^-x), by tanh, which cannot overflow."""
        (x,) = xs
        y = 0.5 * (1.0 + np.tanh(0.5 * x))
        return y, y

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy * y * (1 - y)."""
        return (dy * cache * (1.0 - cache),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its output."""
        return Footprint(keeps_output=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Sigmoid`."""
        from torch import nn

        return nn.Sigmoid()
