r"""Rectified linear unit.

    y = max(0, x)        dx = dy where x > 0, else 0

Shapes: any volume, unchanged. Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann
machines", ICML 2010; Krizhevsky et al., 2012, for convolutional networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import RECTIFIER, Activation, Array, Arrays, Example, Footprint, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ReLU(Activation):
    """Zero for negative values: `RELU`."""

    op: ClassVar[str] = "RELU"
    gain = RECTIFIER

    examples = (Example("RELU", "4x3x2"), Example("RELU", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """max(0, x)."""
        (x,) = xs
        return np.maximum(x, 0.0), x > 0

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The gradient passes where x was positive."""
        return (dy * cache,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its output, whose sign is the input's."""
        return Footprint(keeps_output=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.ReLU`, not in place: a branch may read the input too."""
        from torch import nn

        return nn.ReLU()
