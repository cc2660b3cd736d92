r"""Leaky rectified linear unit.

    y = x if x > 0 else a x        dx = dy if x > 0 else a dy

| letter | meaning                       | default |
|--------|-------------------------------|---------|
| a      | slope for negative values     | 0.01    |

Shapes: any volume, unchanged. Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network
acoustic models", ICML 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import RECTIFIER, Activation, Array, Arrays, Example, Footprint, Pass, Shape
from ..spelling import NUMBER, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """A small slope for negative values: `LRELU(0.1)`."""

    op: ClassVar[str] = "LRELU"
    gain = RECTIFIER
    slope: float = setting("a", NUMBER, position="arg", default=0.01)

    examples = (Example("LRELU", "4x3x2"), Example("LRELU(0.2)", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x, or a x where x is negative."""
        (x,) = xs
        slopes = np.where(x > 0, 1.0, self.slope)
        return x * slopes, slopes

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy times the slope."""
        return (dy * cache,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input."""
        return Footprint(keeps_input=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.LeakyReLU`."""
        from torch import nn

        return nn.LeakyReLU(self.slope)
