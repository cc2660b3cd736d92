"""What all kinds of pooling share: F x F windows at stride S over each channel by itself, and no parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..errors import SpellingError
from ..layer import Array, Layer, Shape, Window, per_axis
from ..spelling import SIZE, SIZE0, Dims, setting, uniform, write_dims
from ._window import FIT, settled, window_at, windows


@dataclass(frozen=True)
class Pooling(Layer):
    """Windows over each channel. Stride left out means windows side by side: S = F."""

    kernel_size: Dims = setting("F", SIZE, position="head")
    stride: Dims = setting("S", SIZE, default=None)
    padding: Dims = setting("P", SIZE0, default=(0,))
    fit: str = setting("fit", FIT, default="exact")

    def __post_init__(self) -> None:
        if self.stride is None:
            object.__setattr__(self, "stride", uniform(self.kernel_size))
        object.__setattr__(self, "fit", settled(self.fit, self.stride))
        given = {"P": self.padding, "F": self.kernel_size, "D": self.apart}
        rank = max(map(len, given.values()))
        pads, sizes, steps = (per_axis(dims, rank, letter) for letter, dims in given.items())
        halves = [(d * (f - 1) + 1) // 2 for f, d in zip(sizes, steps, strict=True)]
        if any(p > half for p, half in zip(pads, halves, strict=True)):
            raise SpellingError(
                f"{self.op}'s padding is at most half its window, so that no window lies wholly on padding",
                received=f"P={write_dims(self.padding)}, F={write_dims(self.kernel_size)}",
                hint=f"P={halves[0]} or smaller",
            )

    @property
    def apart(self) -> Dims:
        """How far apart the values of a window lie: side by side, but where a kind of pooling is dilated."""
        return (1,)

    def default_of(self, name: str, declared: Any) -> Any:
        """Stride left out means the window's size."""
        return uniform(self.kernel_size) if name == "stride" else declared

    def window(self, *inputs: Shape) -> Window:
        """The window at this rank."""
        return window_at(inputs[0].rank, self, self.kernel_size, self.stride, self.padding, self.apart)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(H - F + 2P)/S + 1 on each axis; channels stay (fact P1)."""
        (x,) = inputs
        return Shape(windows(x, self.window(x), self.fit, self), x.channels)

    def taps(self, x: Shape) -> int:
        """How many values one window holds."""
        return math.prod(self.window(x).kernel)


def seen_by(x: Array) -> Shape:
    """The volume's shape, from the array (N, C, *size)."""
    return Shape(x.shape[2:], x.shape[1])
