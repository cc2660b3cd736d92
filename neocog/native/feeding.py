"""Images as bytes, brought into the lanes: what `neocog/feed.py` says, in one pass over a block of them.

A thread copies the images of a block, which lie anywhere in the data set, next to each other: `staged` is (lanes, H, W,
C). From there a kernel brings them into a volume as numbers. Lanes without an image, whose label is -1, become zero.
"""

from __future__ import annotations

from ..feed import ONE
from ..layer import Shape
from .expressions import (
    F32,
    I8,
    I32,
    Index,
    Type,
    Value,
    both,
    constant,
    convert,
    gather,
    load,
    load_from,
    number,
    select,
    smallest,
    splat,
)
from .jit import Machine
from .kernel import Function
from .layout import Volume, extent
from .weight_gradient import transposed

MOVE = 7
"""Whole numbers for each image: its move, and where it begins in `staged`."""
CHANNELS = (1, 3)
"""Of images that are bytes."""


def takes_bytes(shape: Shape) -> bool:
    """Whether images of bytes can be a network's input."""
    return shape.rank == 2 and shape.channels in CHANNELS


def behind(shape: Shape) -> int:
    """Bytes behind the staged images that are read, and count for nothing."""
    return shape.channels * (extent(shape)[1] + 1) + 4


class _Loading:
    """A function under construction, and how a byte becomes a number in it."""

    def __init__(self, name: str, machine: Machine, shape: Shape, volume: Volume, *more: str) -> None:
        self.f = Function(name, ("staged", "coding", "labels", *more, "y"))
        self.lanes, self.shape, self.volume = machine.lanes, shape, volume
        self.vector, self.whole = Type("f32", machine.lanes), Type("i32", machine.lanes)
        self.byte, self.zero = constant(self.whole, 255), constant(self.vector, 0.0)
        self.there = self.f.let(load(self.whole, "labels", Index()) > constant(self.whole, -1))
        coding = [load(F32, "coding", Index(k)) for k in range(2 * shape.channels)]
        self.coding = [self.f.let(splat(one, self.lanes)) for one in coding]

    def store(self, c: int, y: Index, x: Index, value: Value) -> None:
        """Bytes of a channel, in a vector of f32, as numbers."""
        coded = value * self.coding[c] + self.coding[self.shape.channels + c]
        self.f.store("y", self.volume.at(c, y, x), select(self.there, coded, self.zero))


def load_bytes(name: str, machine: Machine, shape: Shape, volume: Volume) -> Function:
    """The staged images as they are."""
    made = _Loading(name, machine, shape, volume)
    f, lanes, (height, width) = made.f, machine.lanes, extent(shape)
    with f.loop(height) as y:
        if width < lanes:
            with f.loop(width) as x:
                for c in range(shape.channels):
                    _single(made, c, y, x)
        else:
            with f.loop(width // lanes) as k:
                _squares(made, y, k * lanes)
            if width % lanes:  # the last pixels of a row overlap those before them
                _squares(made, y, Index(width - lanes))
    return f


def _squares(made: _Loading, y: Index, first: Index) -> None:
    """As many pixels of a row as there are lanes, turned so that the images are in the lanes."""
    f, lanes, channels = made.f, made.lanes, made.shape.channels
    row = extent(made.shape)[1] * channels
    for square in range(channels):
        start = y * row + first * channels + square * lanes
        read = [load_from(Type("i8", lanes), "staged", start + k * made.shape.elements) for k in range(lanes)]
        numbers = [f.let(convert(both(convert(one, "i32"), made.byte), "f32")) for one in read]
        for k, value in enumerate(transposed(f, numbers), start=square * lanes):
            made.store(k % channels, y, first + k // channels, value)


def _single(made: _Loading, c: int, y: Index, x: Index) -> None:
    """One pixel, image by image."""
    f, place = made.f, made.volume.at(c, y, x)
    at = y * (extent(made.shape)[1] * made.shape.channels) + x * made.shape.channels + c
    with f.loop(made.lanes) as image:
        read = both(convert(load(I8, "staged", image * made.shape.elements + at), "i32"), constant(I32, 255))
        f.store("y", place * made.lanes + image, convert(read, "f32"))
    made.store(c, y, x, f.let(load(made.vector, "y", place)))


def load_moved(name: str, machine: Machine, shape: Shape, volume: Volume) -> Function:
    """The staged images, each by its move: `moves` holds `MOVE` vectors."""
    made = _Loading(name, machine, shape, volume, "moves")
    f, whole, (height, width), channels = made.f, made.whole, extent(shape), shape.channels
    m = [f.let(load(whole, "moves", Index(k))) for k in range(MOVE)]
    row = width * channels
    with f.loop(height) as y:
        down = splat(number(y), machine.lanes)
        s, t = (f.variable(m[k] + m[k + 1] * down) for k in (0, 3))
        with f.loop(width) as x:
            i, g = _place(f, s.value, height)
            j, h = _place(f, t.value, width)
            place = f.let(m[MOVE - 1] + i * constant(whole, row) + j * constant(whole, channels))
            for c in range(channels):
                above, below = (
                    _between(made, f.let(gather("staged", place + constant(whole, c + k * row))), h) for k in range(2)
                )
                value = above * constant(whole, 256) + (below - above) * g + constant(whole, ONE // 2)
                made.store(c, y, x, f.let(convert(value >> 16, "f32")))
            for at, step in ((s, m[2]), (t, m[5])):
                f.set(at, at.value + step)
    return f


def _place(f: Function, value: Value, size: int) -> tuple[Value, Value]:
    """Of a place on an axis, once it is clipped: the pixel before it, and the fraction behind that in 256ths."""
    none, last = constant(value.type, 0), constant(value.type, (size - 1) * ONE)
    kept = f.let(smallest(select(value > none, value, none), last))
    return f.let(kept >> 16), f.let(both(kept >> 8, constant(value.type, 255)))


def _between(made: _Loading, read: Value, fraction: Value) -> Value:
    """256 times what stands between a pixel, in the lowest byte of what was read, and its neighbour."""
    left = made.f.let(both(read, made.byte))
    right = both(read >> 8 * made.shape.channels, made.byte)
    return made.f.let(left * constant(made.whole, 256) + (right - left) * fraction)
