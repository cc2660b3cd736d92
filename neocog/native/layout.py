"""Where numbers lie in memory while a network runs.

Images stand side by side in the lanes of a vector: a volume is [C][top + H + bottom][left + W + right] vectors, each
holding one value of as many images as there are lanes. Its margins are zero, so that a kernel that reads padding needs
no test. A 1-D volume has H = 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layer import Shape
from .expressions import Index
from .kernel import Function

SMALL = 1 << 13
"""Vectors of a volume that need not share its memory for margins to be cleared: that took 4 % of LeNet-5's step."""
COLUMNS = 4
"""Positions of a row that kernels of single values take at once, so that they do not wait for each other."""


class Margins(NamedTuple):
    """Zeros around a volume, in positions."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def with_(self, other: Margins) -> Margins:
        """Wide enough for both."""
        return Margins(*map(max, self, other))

    def within(self, other: Margins) -> bool:
        """Whether none is wider than the other's."""
        return self.with_(other) == other

    def around(self, size: tuple[int, int]) -> int:
        """The positions of a volume of that size, these included."""
        return (self.top + size[0] + self.bottom) * (self.left + size[1] + self.right)


@dataclass(frozen=True)
class Volume:
    """A volume in an arena. `offset` is the place of its first value, `row` and `plane` are the steps to the next ones.

    All are in vectors. `at` counts from the first value, for kernels get a pointer to it: volumes are equal wherever
    they begin, since their kernels are. `before` are margins that lie ahead of it. Margins are zero from the start and
    stay so, or if they are `cleared`, that is done before it is made.
    """

    channels: int
    height: int
    width: int
    offset: int = field(compare=False)
    row: int
    plane: int
    before: int = 0
    cleared: bool = False

    def at(self, channel: Index | int, y: Index | int = 0, x: Index | int = 0) -> Index:
        """How far a value is from the first."""
        return _index(channel) * self.plane + _index(y) * self.row + _index(x)

    @property
    def positions(self) -> int:
        """How many positions a channel has."""
        return self.height * self.width


def along(f: Function, total: int, size: int) -> Iterator[tuple[Index, int]]:
    """Tiles along one axis, as (first, size): a loop over the whole ones, then the smaller one that is left."""
    if total >= size:
        with f.loop(total // size) as k:
            yield k * size, size
    if total % size:
        yield Index(total - total % size), total % size


def rows_of(f: Function, volume: Volume) -> Iterator[tuple[Index, list[Index]]]:
    """All positions of a volume's channel: a row, and some columns of it that a kernel has in hand at once."""
    with f.loop(volume.height) as y:
        for first, count in along(f, volume.width, COLUMNS):
            yield y, [first + k for k in range(count)]


def _index(value: Index | int) -> Index:
    return value if isinstance(value, Index) else Index(value)


def extent(shape: Shape) -> tuple[int, int]:
    """Height and width of a volume, in one or two dimensions."""
    height, width = (1, *shape.spatial)[-2:]
    return height, width


class Room(NamedTuple):
    """Part of an arena, in vectors. It may only share memory with rooms of its kind: margins at the same places."""

    start: int
    size: int
    kind: tuple[int, ...] = ()


class Arena:
    """What a program needs memory for, each thing in a room of its own: `lifetimes` says where they really lie.

    Where memory is `short` all margins are cleared each time a volume is made, so that it may share memory with
    anything; else only those of large volumes.
    """

    def __init__(self, *, short: bool = False) -> None:
        self.size, self.short = 0, short
        self.rooms: list[Room] = []

    def take(self, vectors: int, kind: tuple[int, ...] = ()) -> int:
        """Room for so many vectors: where it starts."""
        start = self.size
        self.size += vectors
        self.rooms.append(Room(start, vectors, kind))
        return start

    def volume(self, shape: Shape, margins: Margins = Margins()) -> Volume:  # noqa: B008  # an immutable value
        """Room for a volume. Large planes are never a multiple of 16 vectors apart, which would crowd cache sets."""
        height, width = extent(shape)
        row = width + margins.left + margins.right
        plane = (height + margins.top + margins.bottom) * row
        if height * width > 64 and plane % 16 == 0:
            plane += 3
        before = margins.top * row + margins.left
        cleared = any(margins) and (self.short or shape.channels * plane > SMALL)
        kind = (height, width, *margins, plane, shape.channels) if any(margins) and not cleared else ()
        start = self.take(shape.channels * plane, kind)
        return Volume(shape.channels, height, width, start + before, row, plane, before, cleared)

    def dense(self, shape: Shape, margins: Margins = Margins()) -> Volume:  # noqa: B008  # an immutable value
        """Room for a volume that has no gaps if it has no margins."""
        if any(margins):
            return self.volume(shape, margins)
        height, width = extent(shape)
        return Volume(shape.channels, height, width, self.take(shape.elements), width, height * width)


def aligned(floats: int) -> NDArray[np.float32]:
    """Zeros that begin at a multiple of 64 bytes."""
    memory = np.zeros(floats + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + floats]
