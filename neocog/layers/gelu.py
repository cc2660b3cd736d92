r"""Gaussian error linear unit.

    y = x F(x),  F(x) = (1 + erf(x / sqrt 2)) / 2        dx = dy * (F(x) + x * e^(-x^2/2) / sqrt(2 pi))

F is the normal distribution function; no tanh approximation is used. Shapes: any volume, unchanged.
Source: Hendrycks and Gimpel, arXiv 1606.08415.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import RECTIFIER, Activation, Array, Arrays, Example, Footprint, Pass, Shape

_erf = np.vectorize(math.erf, otypes=[np.float64])  # NumPy has none; an oracle need not be fast

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class GELU(Activation):
    """x times the probability of less than x under a normal distribution: `GELU`."""

    op: ClassVar[str] = "GELU"
    gain = RECTIFIER

    examples = (Example("GELU", "4x3x2"), Example("GELU", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x F(x)."""
        (x,) = xs
        cdf = 0.5 * (1.0 + _erf(x / math.sqrt(2)))
        pdf = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
        return x * cdf, cdf + x * pdf

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy times the derivative."""
        return (dy * cache,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input."""
        return Footprint(keeps_input=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.GELU`."""
        from torch import nn

        return nn.GELU()
