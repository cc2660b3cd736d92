"""Convolution of one image: the lanes of a vector hold channels of an output, or neighbouring positions of a row.

    y[o, i, j] = b[o] + sum over c, r, s of  x[c, S i + D r - P, S j + D s - P] * w[o, c, r, s]

Many images fill the lanes by themselves; one image has to. Where there are many output channels, a vector holds some
of them at one position: weights are vectors, just as they lie in the master copy, and each input is broadcast.
Where there are few channels and long rows, a vector holds positions of a row: inputs are vectors, which begin at any
position, and each weight is broadcast. Both are one loop nest with the roles changed. A fully connected layer has one
position and a window as large as its input.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from .endings import Ending
from .jit import Machine
from .kernel import Function, Index, Type, Value, Variable, constant, fma, largest, load
from .layout import along
from .tiles import Tile, Work, best_tile, cycles

UNROLLED = 260  # multiply-adds written out one by one, at most
ENOUGH = 64  # of them in a loop's body, so that the loop costs little
INDEPENDENT = 8  # sums that grow at the same time, so that none waits for its last multiply-add
CACHE_BYTES = 24 << 10  # of weights that stay in the first-level cache beside the inputs
NEAREST = 64  # bytes, of a cache line

Place = tuple[int, int, int]
"""Of a sum in a tile: channel, or vector of channels; row; column, or vector of columns."""


@dataclass(frozen=True)
class Field:
    """A volume of one image: the steps from one channel, row and position to the next, in numbers."""

    channels: int
    height: int
    width: int
    channel: int
    row: int
    position: int

    def at(self, channel: Index | int, y: Index | int, x: Index | int) -> Index:
        """How far a value is from the first."""
        steps = ((channel, self.channel), (y, self.row), (x, self.position))
        return sum((Index() + value * step for value, step in steps), Index())


@dataclass(frozen=True)
class Convolution:
    """What to compute: sums of a `size`, a window on `x`, what follows into `y`; weight rows have `padded` numbers."""

    x: Field
    y: Field
    size: tuple[int, int]
    channels_in: int
    channels_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ending: Ending
    bias: bool
    padded: int


class Axis(NamedTuple):
    """One of the loops that sum: how often, and how far x and w are from one turn to the next."""

    turns: int
    x: int
    w: int


class Tap(NamedTuple):
    """One product for each sum of a tile: where x and w of the first are."""

    x: Index
    w: Index
    sums: dict[Place, Variable]


class Part(NamedTuple):
    """A tile and where its first sum is: output, row and column."""

    o: Index
    i: Index
    j: Index
    tile: Tile

    @property
    def places(self) -> list[Place]:
        """Its sums."""
        return list(product(range(self.tile.channels), range(self.tile.rows), range(self.tile.columns)))


class OneImage(ABC):
    """A convolution as a function: buffers `x`, `w`, `b` where there is a bias, `y`, and `sums` that wait meanwhile."""

    def __init__(self, machine: Machine, work: Convolution) -> None:
        self.work, self.lanes = work, machine.lanes
        self.vector = Type("f32", machine.lanes)
        self.rows, self.columns, self.outputs = work.size[0], *self._lengths()
        down, right = work.ending.pool
        amount = Work(self.rows, self.columns, self.outputs, work.channels_in, math.prod(work.kernel))
        self.registers = machine.registers
        self.tile = best_tile(machine, amount, (down, self._pooled_columns(right)))
        self.cycles = cycles(amount, self.tile) / self._strands(math.prod(self.tile))

    def build(self, name: str) -> Function:
        """The function."""
        work, chunk = self.work, self._chunk()
        f = Function(name, ("x", "w", *(("b",) if work.bias else ()), "y", "sums"))
        if chunk == work.channels_in:
            for part in self._parts(f):
                self._finish(f, part, self._sum(f, part, Index(), chunk, self._starts(f, part)))
            return f
        for part in self._parts(f):
            self._keep(f, part, self._starts(f, part))
        for first, count in along(f, work.channels_in, chunk):
            for part in self._parts(f):
                self._keep(f, part, self._sum(f, part, first, count, self._kept(f, part)))
        for part in self._parts(f):
            self._finish(f, part, self._kept(f, part))
        return f

    @property
    def size(self) -> int:
        """How many vectors the buffer `sums` must hold."""
        return self.rows * self.columns * self.outputs if self._chunk() < self.work.channels_in else 0

    def _chunk(self) -> int:
        """How many input channels to sum at once.

        All of them, or as many as have weights that the first-level cache holds for a tile, where there are several
        tiles: then weights are loaded once, rows from their beginning to their end, and sums wait in memory meanwhile.
        """
        channel = math.prod(self.work.kernel) * max(NEAREST, self._weight_bytes() * self.tile.channels)
        alone = self.rows * self.columns * self.outputs <= math.prod(self.tile)
        if alone or channel * self.work.channels_in <= CACHE_BYTES:
            return self.work.channels_in
        most = max(1, CACHE_BYTES // channel)
        return next((size for size in range(most, most // 2, -1) if self.work.channels_in % size == 0), most)

    def _parts(self, f: Function) -> Iterator[Part]:
        """All tiles."""
        for o, outputs in along(f, self.outputs, self.tile.channels):
            for i, rows in along(f, self.rows, self.tile.rows):
                for j, columns in self._along_columns(f):
                    yield Part(o, i, j, Tile(outputs, rows, columns))

    def _starts(self, f: Function, part: Part) -> dict[Place, Value]:
        biases = [
            f.let(self._bias(part.o, k)) if self.work.bias else constant(self.vector, 0.0)
            for k in range(part.tile.channels)
        ]
        return {place: biases[place[0]] for place in part.places}

    def _at(self, part: Part, place: Place) -> Index:
        """Where a sum waits."""
        k, a, b = place
        return ((part.i + a) * self.columns + part.j + b) * self.outputs + part.o + k

    def _keep(self, f: Function, part: Part, sums: dict[Place, Value]) -> None:
        for place, value in sums.items():
            f.store("sums", self._at(part, place), value)

    def _kept(self, f: Function, part: Part) -> dict[Place, Value]:
        return {place: f.let(load(self.vector, "sums", self._at(part, place))) for place in part.places}

    def _sum(
        self, f: Function, part: Part, first: Index, channels: int, starts: dict[Place, Value]
    ) -> dict[Place, Value]:
        """What is there at the start and the products of some input channels."""
        work, zero = self.work, constant(self.vector, 0.0)
        strands = [{place: f.variable(value) for place, value in starts.items()}]
        for _ in range(1, self._strands(len(starts))):
            strands.append({place: f.variable(zero) for place in starts})
        taps = math.prod(work.kernel)
        axes = (
            Axis(channels, work.x.channel, taps * work.padded),
            Axis(work.kernel[0], work.dilation[0] * work.x.row, work.kernel[1] * work.padded),
            Axis(work.kernel[1], work.dilation[1] * work.x.position, work.padded),
        )
        x = self._first_input(part.i, part.j) + first * work.x.channel
        w = self._first_weight(part.o) + first * (taps * work.padded)
        self._walk(f, axes, x, w, part.tile, strands)
        return {place: self._joined(f, [strand[place].value for strand in strands]) for place in starts}

    def _strands(self, sums: int) -> int:
        """How many sums for each place, taken in turn: enough to be independent, if registers allow."""
        return max(1, min(-(-INDEPENDENT // sums), (self.registers - 2) // sums))

    def _joined(self, f: Function, strands: list[Value]) -> Value:
        while len(strands) > 1:
            pairs = [strands[k : k + 2] for k in range(0, len(strands), 2)]
            strands = [f.let(pair[0] + pair[1]) if len(pair) > 1 else pair[0] for pair in pairs]
        return strands[0]

    def _walk(
        self,
        f: Function,
        axes: Sequence[Axis],
        x: Index,
        w: Index,
        tile: Tile,
        strands: list[dict[Place, Variable]],
    ) -> None:
        """Sum along all axes, the outer ones as loops where it would be too long to write out."""
        places = len(strands[0])
        if math.prod(axis.turns for axis in axes) * places <= UNROLLED or not axes:
            taps = []
            for k, counts in enumerate(product(*(range(axis.turns) for axis in axes))):
                further_x = sum(count * axis.x for count, axis in zip(counts, axes, strict=True))
                further_w = sum(count * axis.w for count, axis in zip(counts, axes, strict=True))
                taps.append(Tap(x + further_x, w + further_w, strands[k % len(strands)]))
            self._add(f, taps, tile)
            return
        first, *rest = axes
        if first.turns == 1:
            self._walk(f, rest, x, w, tile, strands)
            return
        size = _unrolled(first.turns, math.prod(axis.turns for axis in rest) * places)
        for turn, turns in along(f, first.turns, size):
            further = x + turn * first.x, w + turn * first.w
            self._walk(f, (first._replace(turns=turns), *rest), *further, tile, strands)

    def _add(self, f: Function, taps: Sequence[Tap], tile: Tile) -> None:
        """Multiply and add: the fewer of inputs and weights stay in registers, the others are streamed."""
        positions = list(product(range(tile.rows), range(tile.columns)))
        if len(positions) <= tile.channels:
            for tap in taps:
                self._stream_weights(f, tap, positions, tile.channels)
            return
        free = self.registers - 1 - len(positions) * tile.channels
        together = max(1, free // tile.channels)
        for first in range(0, len(taps), together):
            self._stream_inputs(f, taps[first : first + together], positions, tile.channels)

    def _stream_weights(self, f: Function, tap: Tap, positions: Sequence[tuple[int, int]], channels: int) -> None:
        inputs = [f.let(self._input(self._read(tap.x, a, b))) for a, b in positions]
        for k in range(channels):
            weight = f.let(self._weight(tap.w, k))
            for input_, (a, b) in zip(inputs, positions, strict=True):
                f.set(tap.sums[k, a, b], fma(input_, weight, tap.sums[k, a, b].value))

    def _stream_inputs(
        self, f: Function, taps: Sequence[Tap], positions: Sequence[tuple[int, int]], channels: int
    ) -> None:
        """Some taps together, for neighbouring positions share inputs: each is loaded once for all of them."""
        weights = [[f.let(self._weight(tap.w, k)) for k in range(channels)] for tap in taps]
        readers: dict[Index, list[tuple[int, int, int]]] = {}
        for t, (a, b) in product(range(len(taps)), positions):
            readers.setdefault(self._read(taps[t].x, a, b), []).append((t, a, b))
        for at, places in readers.items():
            input_ = f.let(self._input(at))
            for (t, a, b), k in product(places, range(channels)):
                sum_ = taps[t].sums[k, a, b]
                f.set(sum_, fma(input_, weights[t][k], sum_.value))

    def _read(self, x: Index, a: int, b: int) -> Index:
        """Where a tap reads for row a and column b of the tile."""
        return x + self.work.x.at(0, a * self.work.stride[0], b * self._column_step())

    def _first_input(self, i: Index, j: Index) -> Index:
        """Where the first tap of the sum at (i, j) reads; j counts as columns do."""
        work = self.work
        top, left = work.padding
        return work.x.at(0, i * work.stride[0] - top, j * self._column_step() - left)

    def _along_columns(self, f: Function) -> Iterator[tuple[Index, int]]:
        return along(f, self.columns, self.tile.columns)

    def _activated(self, f: Function, window: Sequence[Value]) -> Value:
        """The largest of a window, through the activation function, which rises and so keeps the order."""
        best = window[0]
        for value in window[1:]:
            best = f.let(largest(value, best))
        activation = self.work.ending.activation
        return activation.forward(f, best) if activation else best

    @abstractmethod
    def _lengths(self) -> tuple[int, int]:
        """Columns and outputs, in units of a tile."""

    @abstractmethod
    def _pooled_columns(self, right: int) -> int:
        """How many columns of a tile are pooled together at least."""

    @abstractmethod
    def _column_step(self) -> int:
        """How many positions of x there are between columns."""

    @abstractmethod
    def _first_weight(self, o: Index) -> Index: ...

    @abstractmethod
    def _bias(self, o: Index, k: int) -> Value: ...

    @abstractmethod
    def _weight_bytes(self) -> int:
        """Of the weights of one output."""

    @abstractmethod
    def _input(self, at: Index) -> Value: ...

    @abstractmethod
    def _weight(self, w: Index, k: int) -> Value: ...

    @abstractmethod
    def _finish(self, f: Function, part: Part, sums: dict[Place, Value]) -> None:
        """Pool, activate and store a tile."""


def _unrolled(count: int, each: int) -> int:
    """How many turns of a loop to write out at once: a divisor if one is near, so that nothing is left over."""
    if each >= ENOUGH:
        return 1
    least = -(-ENOUGH // each)
    divisors = [size for size in range(least, min(count, UNROLLED // each) + 1) if count % size == 0]
    return divisors[0] if divisors else min(least, count)
