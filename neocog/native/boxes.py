"""Neighbourhoods of values: boxes of channels, rows and columns, cut at the edges of a volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .expressions import Bound, Index, Value
from .kernel import Function
from .layout import Volume

Place = tuple[Index, Index, Index]
"""Channel, row and column."""


@dataclass(frozen=True)
class Boxes:
    """The boxes around the values of a volume: `size` is channels, rows and columns of a whole one, each odd."""

    volume: Volume
    size: tuple[int, int, int]

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Of the volume."""
        return self.volume.channels, self.volume.height, self.volume.width

    def places(self, f: Function) -> Iterator[Place]:
        """Each place of the volume."""
        channels, height, width = self.lengths
        with f.loop(channels) as c, f.loop(height) as y, f.loop(width) as x:
            yield c, y, x

    def total(self, f: Function, place: Place, start: Value, of: Callable[[Place, Place], Value]) -> Value:
        """`start`, and what is made of each place in a box, which is told where it is in the volume and in the box."""
        sum_ = f.variable(start)
        ends = []
        for at, length, n in zip(place, self.lengths, self.size, strict=True):
            low, high = Index(n // 2) - at, Index(length + n // 2) - at
            ends.append((Bound("min", (Index(n), high)), Bound("max", (Index(), low))) if n > 1 else (1, 0))
        (c0, c1), (y0, y1), (x0, x1) = ends
        with f.loop(c0, c1) as c, f.loop(y0, y1) as y, f.loop(x0, x1) as x:
            inside = (c, y, x)
            there = [at + k - n // 2 for at, k, n in zip(place, inside, self.size, strict=True)]
            f.set(sum_, sum_.value + of((there[0], there[1], there[2]), inside))
        return sum_.value
