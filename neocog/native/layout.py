"""Where numbers lie in memory while a network runs.

Images stand side by side in the lanes of a vector: a volume is [C][top + H + bottom][left + W + right] vectors, each
holding one value of as many images as there are lanes. Its margins are zero and stay zero, so that a kernel that reads
padding needs no test. A 1-D volume has H = 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layer import Shape
from .kernel import Function, Index

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


@dataclass(frozen=True)
class Volume:
    """A volume in an arena. `offset` is the place of its first value, `row` and `plane` are the steps to the next ones.

    All are in vectors. `at` counts from the first value, for kernels get a pointer to it; `before` are margins that lie
    ahead of it.
    """

    channels: int
    height: int
    width: int
    offset: int
    row: int
    plane: int
    before: int = 0

    def at(self, channel: Index | int, y: Index | int = 0, x: Index | int = 0) -> Index:
        """How far a value is from the first."""
        return _index(channel) * self.plane + _index(y) * self.row + _index(x)

    @property
    def positions(self) -> int:
        """How many positions a channel has."""
        return self.height * self.width

    @property
    def is_dense(self) -> bool:
        """Whether its values lie without gaps, channel after channel."""
        return (self.row, self.plane) == (self.width, self.positions)


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


class Arena:
    """Memory of one block of images, handed out in vectors.

    What is borrowed and given back is lent again for an equal volume, whose zero margins are at the same places.
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: dict[tuple[Shape, Margins], list[Volume]] = defaultdict(list)
        self._lent: dict[int, tuple[Shape, Margins]] = {}

    def take(self, vectors: int) -> int:
        """Room for so many vectors."""
        start = self.size
        self.size += vectors
        return start

    def volume(self, shape: Shape, margins: Margins = Margins()) -> Volume:  # noqa: B008  # an immutable value
        """Room for a volume. Large planes are never a multiple of 16 vectors apart, which would crowd cache sets."""
        height, width = extent(shape)
        row = width + margins.left + margins.right
        plane = (height + margins.top + margins.bottom) * row
        if height * width > 64 and plane % 16 == 0:
            plane += 3
        before = margins.top * row + margins.left
        start = self.take(shape.channels * plane)
        return Volume(shape.channels, height, width, start + before, row, plane, before)

    def borrow(self, shape: Shape, margins: Margins = Margins()) -> Volume:  # noqa: B008  # an immutable value
        """Room for a volume for a while. What it held before is still there, inside its margins."""
        free = self._free[shape, margins]
        made = free.pop() if free else self._borrowed(shape, margins)
        self._lent[made.offset] = shape, margins
        return made

    def _borrowed(self, shape: Shape, margins: Margins) -> Volume:
        if any(margins):
            return self.volume(shape, margins)
        height, width = extent(shape)  # without margins there are no gaps either
        return Volume(shape.channels, height, width, self.take(shape.elements), width, height * width)

    def give_back(self, volume: Volume) -> None:
        """The end of a loan."""
        self._free[self._lent.pop(volume.offset)].append(volume)


def aligned(floats: int) -> NDArray[np.float32]:
    """Zeros that begin at a multiple of 64 bytes."""
    memory = np.zeros(floats + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + floats]
