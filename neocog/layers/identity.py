r"""Identity: the branch that changes nothing, as in `ADD[ CONV3-64 | ID ]`.

    y = x        dx = dy

Shapes: any volume, unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Activation, Array, Arrays, Cost, Example, Footprint, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Identity(Activation):
    """Passes its input on: `ID`."""

    op: ClassVar[str] = "ID"

    examples = (Example("ID", "4x3x2"), Example("ID", "5x3"))

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing, and nothing kept."""
        return Cost()

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x."""
        (x,) = xs
        return x, None

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy."""
        return (dy,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Passes its input on."""
        return Footprint(view=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Identity`."""
        from torch import nn

        return nn.Identity()
