r"""The squashing function of LeNet-5.

    y = A tanh(S x),  A = 1.7159, S = 2/3        dx = dy * S/A * (A^2 - y^2)

With these constants f(1) is about 1 and f(-1) about -1, where the curve bends most, so that targets of +1 and -1 do
not saturate the unit. Shapes: any volume, unchanged.

Source: LeCun et al., 1998, appendix A, eq. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Activation, Array, Arrays, Example, Footprint, Pass, Shape

AMPLITUDE = 1.7159
SLOPE = 2 / 3

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ScaledTanh(Activation):
    """1.7159 tanh(2x/3): `SCALEDTANH`."""

    op: ClassVar[str] = "SCALEDTANH"
    gain = 1.0

    examples = (Example("SCALEDTANH", "4x3x2"), Example("SCALEDTANH", "5x3"))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """A tanh(S x)."""
        (x,) = xs
        y = AMPLITUDE * np.tanh(SLOPE * x)
        return y, y

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy * S/A * (A^2 - y^2)."""
        return (dy * SLOPE / AMPLITUDE * (AMPLITUDE**2 - cache**2),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps the tanh before it is scaled, and goes back through one more volume."""
        y = run.volume(*inputs)
        return Footprint(extra=y, backward=y)

    def module(self, *inputs: Shape) -> nn.Module:
        """Two constants around `torch.tanh`."""
        from . import _modules

        return _modules.ScaledTanh(AMPLITUDE, SLOPE)
