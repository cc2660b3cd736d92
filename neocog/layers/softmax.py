r"""Softmax over channels, at each position.

    y_k = e^(x_k) / sum over j of e^(x_j)        dx_k = y_k * (dy_k - sum over j of y_j dy_j)

The largest x is subtracted first, which changes nothing and cannot overflow. Shapes: any volume, unchanged.
Training uses the loss on the values before it where it can: see losses.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Activation, Array, Arrays, Example, Footprint, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Softmax(Activation):
    """Turns scores into probabilities: `SOFTMAX`."""

    op: ClassVar[str] = "SOFTMAX"
    gain = 1.0

    examples = (Example("SOFTMAX", "4x3x2"), Example("SOFTMAX", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """e^x, normalised over channels."""
        (x,) = xs
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        return y, y

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """y * (dy - sum of y dy)."""
        return (cache * (dy - (cache * dy).sum(axis=1, keepdims=True)),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its output. Images, being stored channels last, are copied first."""
        (x,) = inputs
        copy = run.volume(x) if run.interleaved(x) else 0
        return Footprint(keeps_output=True, forward=copy, backward=copy)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Softmax` over channels."""
        from torch import nn

        return nn.Softmax(dim=1)
