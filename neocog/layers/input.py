"""The input volume: what one image or sequence is. It computes nothing.

`INPUT[HxWxC]` is an image of height H and width W with C channels; `INPUT[LxC]` a sequence of length L.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import SpellingError
from ..layer import Array, Arrays, Cost, Example, Footprint, Layer, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Input(Layer):
    """The shape of one image: `INPUT[28x28x1]`. The notation reads the brackets itself."""

    op: ClassVar[str] = "INPUT"
    shape: Shape

    examples = (Example("INPUT[28x28x1]"), Example("INPUT[100x8]"))

    def __post_init__(self) -> None:
        if self.shape.rank not in (1, 2) or min(self.shape.as_list()) < 1:
            raise SpellingError("INPUT is HxWxC or LxC, each from 1", received=str(self.shape), hint="INPUT[28x28x1]")

    @property
    def token(self) -> str:
        """`INPUT[28x28x1]`."""
        return f"{self.op}[{self.shape}]"

    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape itself."""
        return self.shape

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing."""
        return Cost()

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """The images as they are."""
        return xs[0], None

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The gradient as it is."""
        return (dy,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """The images as they were given."""
        return Footprint(view=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Identity`."""
        from torch import nn

        return nn.Identity()
