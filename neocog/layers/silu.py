r"""Sigmoid-weighted linear unit, also called swish.

    y = x s(x),  s(x) = 1 / (1 + e^-x)        dx = dy * s(x) * (1 + x * (1 - s(x)))

Shapes: any volume, unchanged. Source: Elfwing, Uchibe and Doya, arXiv 1702.03118.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import RECTIFIER, Activation, Array, Arrays, Example, Footprint, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SiLU(Activation):
    """x times its sigmoid: `SILU`."""

    op: ClassVar[str] = "SILU"
    gain = RECTIFIER

    examples = (Example("SILU", "4x3x2"), Example("SILU", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x s(x)."""
        (x,) = xs
        s = 0.5 * (1.0 + np.tanh(0.5 * x))
        return x * s, s * (1.0 + x * (1.0 - s))

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy times the derivative."""
        return (dy * cache,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input."""
        return Footprint(keeps_input=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.SiLU`."""
        from torch import nn

        return nn.SiLU()
