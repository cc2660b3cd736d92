"""Convolution of one image: sums of products in either form, a tile of them in registers at a time.

    y[o, i, j] = b[o] + sum over c, r, s of  x[c, S i + D r - P, S j + D s - P] * w[o, c, r, s]

Where lanes hold channels, inputs are broadcast; where they hold positions, weights are. Weights are packed in the order
of reading: tile after tile of outputs. A fully connected layer has one position and a window as large as its input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .expressions import Index, Value, Variable, constant, fma
from .gather import UNROLLED
from .jit import Machine
from .kernel import Function
from .layout import along
from .one_image import Ending, Field, Form, Place
from .stages import Frame
from .tiles import Tile, Work, best_tile, cycles

ENOUGH = 64
"""Multiply-adds in a loop's body, so that the loop costs little."""
INDEPENDENT = 8
"""Sums that grow at the same time, so that none waits for its last multiply-add."""
CACHE_BYTES = 24 << 10
"""Of a tile's weights that stay in the first-level cache beside the inputs."""
LARGE_BYTES = 1 << 20
"""Of inputs that the second-level cache does not keep while all outputs are computed."""
FARTHER = 4.0
"""Half cycles for a vector of weights from the next cache."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Sum = tuple[int, int, int]
"""A sum of a tile: unit of channels, row, and unit of columns."""


@dataclass(frozen=True)
class Convolution:
    """What to compute: sums of a `size`, a window on `x`, and what follows. `squares` sums (x - w)^2 instead of x w."""

    x: Field
    size: tuple[int, int]
    channels_in: int
    channels_out: int
    frame: Frame
    ending: Ending
    bias: bool
    squares: bool = False


class Axis(NamedTuple):
    """One of the loops that sum: how often, and how far x and w are from one turn to the next."""

    turns: int
    x: int
    w: int


class Tap(NamedTuple):
    """One product for each sum of a tile: where x and w of the first are."""

    x: Index
    w: Index
    sums: dict[Sum, Variable]


class Sums:
    """A convolution as a function: buffers `x`, `w`, `b` where there is a bias, and those of the ending."""

    def __init__(self, machine: Machine, form: Form, work: Convolution) -> None:
        self.work, self.form = work, form
        self.rows, self.columns = work.size[0], form.columns(work.size[1])
        self.outputs = form.outputs(work.channels_out)
        down, right = work.ending.pool
        unit = down, right if form.positions == 1 else min(right, self.columns)
        amount = Work(self.rows, self.columns, self.outputs, work.channels_in, math.prod(work.frame.kernel))
        self.tile = best_tile(machine, amount, unit)
        if 4 * self.size // self.outputs * self.tile.channels > CACHE_BYTES:
            amount = amount._replace(fetch=FARTHER * form.channels / form.lanes)
            self.tile = best_tile(machine, amount, unit)
        self.cycles = cycles(amount, self.tile) / self._strands(math.prod(self.tile))

    def build(self, name: str) -> Function:
        """The function."""
        f = Function(name, ("x", "w", *(("b",) if self.work.bias else ()), *self.work.ending.buffers))
        for first, tile in self._tiles(f):
            self.work.ending(f, self.form, first, self._sums(f, first, tile))
        return f

    def _tiles(self, f: Function) -> Iterator[tuple[Place, Tile]]:
        """All outputs for some rows after the other where inputs are many, else all rows for some outputs."""
        by_rows = 4 * math.prod((self.work.x.height, self.work.x.width, self.work.channels_in)) > LARGE_BYTES
        rows = (self.rows, self.tile.rows)
        outputs = (self.outputs, self.tile.channels)
        for first, some in along(f, *(rows if by_rows else outputs)):
            for second, others in along(f, *(outputs if by_rows else rows)):
                (i, height), (o, depth) = ((first, some), (second, others))[:: 1 if by_rows else -1]
                for j, columns in self._along_columns(f):
                    yield Place(o, i, j), Tile(depth, height, columns)

    def _along_columns(self, f: Function) -> Iterator[tuple[Index, int]]:
        """The last unit is apart from a loop if it reaches beyond the row, for only there lanes are left out."""
        size = self.tile.columns
        looped = (self.columns - (self.work.ending.y.width % self.form.positions > 0)) // size
        if looped:
            with f.loop(looped) as k:
                yield k * size, size
        for first in range(looped * size, self.columns, size):
            yield Index(first), min(size, self.columns - first)

    # -- weights -----------------------------------------------------------------------------------------------

    @cached_property
    def _by_channel(self) -> bool:
        """Whether channels are the outermost loop: the innermost is along what lies side by side in x."""
        return self.work.x.channel > self.work.x.position

    @property
    def size(self) -> int:
        """How many numbers packed weights are."""
        return self.outputs * self.form.channels * self.work.channels_in * math.prod(self.work.frame.kernel)

    def pack(self, weights: Floats | Numbers, packed: Floats) -> None:
        """Bring weights (channels_in, kernel positions, channels_out) into the order of reading, tile after tile."""
        if not self._by_channel:
            weights = weights.swapaxes(0, 1)
        outer, inner, unit = *weights.shape[:2], self.form.channels
        for first in range(0, self.outputs, self.tile.channels):
            start, size = first * unit, min(self.tile.channels, self.outputs - first) * unit
            part = weights[:, :, start : start + size]  # the rest of a vector stays zero
            tile = packed[outer * inner * start :][: outer * inner * size].reshape(outer, inner, size)
            tile[:, :, : part.shape[2]] = part

    # -- sums --------------------------------------------------------------------------------------------------

    def _sums(self, f: Function, first: Place, tile: Tile) -> dict[Sum, Value]:
        work, form, zero = self.work, self.form, constant(self.form.vector, 0.0)
        biases = [f.let(form.parameter("b", first.o + k)) if work.bias else zero for k in range(tile.channels)]
        places = list(product(range(tile.channels), range(tile.rows), range(tile.columns)))
        strands = [{place: f.variable(biases[place[0]]) for place in places}]
        for _ in range(1, self._strands(len(places))):
            strands.append({place: f.variable(zero) for place in places})
        (height, width), (down, right) = work.frame.kernel, work.frame.dilation
        taps, row = height * width, tile.channels * form.channels
        channels = Axis(work.channels_in, work.x.channel, (taps if self._by_channel else 1) * row)
        tap = row if self._by_channel else work.channels_in * row
        axes = [Axis(height, down * work.x.row, width * tap), Axis(width, right * work.x.position, tap)]
        axes.insert(0 if self._by_channel else 2, channels)
        top, left = work.frame.padding
        x = work.x.at(0, first.i * work.frame.stride[0] - top, first.j * self._column_step - left)
        w = first.o * (form.channels * taps * work.channels_in)
        self._walk(f, axes, x, w, tile, strands)
        return {place: self._joined(f, [strand[place].value for strand in strands]) for place in places}

    @property
    def _column_step(self) -> int:
        """How many positions of x there are between units of columns."""
        return self.work.frame.stride[1] * self.form.positions

    def _strands(self, sums: int) -> int:
        """How many sums for each place, taken in turn: enough to be independent, if registers allow."""
        return max(1, min(-(-INDEPENDENT // sums), (self.form.registers - 2) // sums))

    def _joined(self, f: Function, strands: list[Value]) -> Value:
        while len(strands) > 1:
            pairs = [strands[k : k + 2] for k in range(0, len(strands), 2)]
            strands = [f.let(pair[0] + pair[1]) if len(pair) > 1 else pair[0] for pair in pairs]
        return strands[0]

    def _walk(
        self, f: Function, axes: Sequence[Axis], x: Index, w: Index, tile: Tile, strands: list[dict[Sum, Variable]]
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
        free = self.form.registers - 1 - len(positions) * tile.channels
        together = max(1, free // tile.channels)
        for first in range(0, len(taps), together):
            self._stream_inputs(f, taps[first : first + together], positions, tile.channels)

    def _stream_weights(self, f: Function, tap: Tap, positions: Sequence[tuple[int, int]], channels: int) -> None:
        inputs = [f.let(self.form.input(self._read(tap.x, a, b))) for a, b in positions]
        for k in range(channels):
            weight = f.let(self._weight(tap.w, k))
            for input_, (a, b) in zip(inputs, positions, strict=True):
                self._multiply(f, input_, weight, tap.sums[k, a, b])

    def _stream_inputs(
        self, f: Function, taps: Sequence[Tap], positions: Sequence[tuple[int, int]], channels: int
    ) -> None:
        """Some taps together, for neighbouring positions share inputs: each is loaded once for all of them."""
        weights = [[f.let(self._weight(tap.w, k)) for k in range(channels)] for tap in taps]
        readers: dict[Index, list[tuple[int, int, int]]] = {}
        for t, (a, b) in product(range(len(taps)), positions):
            readers.setdefault(self._read(taps[t].x, a, b), []).append((t, a, b))
        for at, places in readers.items():
            input_ = f.let(self.form.input(at))
            for (t, a, b), k in product(places, range(channels)):
                self._multiply(f, input_, weights[t][k], taps[t].sums[k, a, b])

    def _multiply(self, f: Function, input_: Value, weight: Value, sum_: Variable) -> None:
        if self.work.squares:
            input_ = weight = f.let(input_ - weight)
        f.set(sum_, fma(input_, weight, sum_.value))

    def _weight(self, w: Index, k: int) -> Value:
        return self.form.weight(w + k * self.form.channels)

    def _read(self, x: Index, a: int, b: int) -> Index:
        """Where a tap reads for row a and unit b of columns of the tile."""
        return x + self.work.x.at(0, a * self.work.frame.stride[0], b * self._column_step)


def _unrolled(count: int, each: int) -> int:
    """How many turns of a loop to write out at once: a divisor if one is near, so that nothing is left over."""
    if each >= ENOUGH:
        return 1
    least = -(-ENOUGH // each)
    divisors = [size for size in range(least, min(count, UNROLLED // each) + 1) if count % size == 0]
    return divisors[0] if divisors else min(least, count)
