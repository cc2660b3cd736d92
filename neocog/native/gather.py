"""The kernel that most of a network's work is done by: every output gathers inputs, each times a weight.

    out[o, i, j] = start[o] + sum over c, r, s of  x[c, down i + rows[r], right j + columns[s]] * w[o, c, r, s]

Forwards that is a convolution: down = right = stride, rows and columns are where its taps fall. Its gradient for the
input is the same with the roles of o and c changed: for stride S there are S * S phases, one for each remainder of a
position, and each reads the output's gradient with the taps that reach it. A fully connected layer has one position.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Protocol

from .expressions import F32, Bound, Index, Type, Value, Variable, constant, dot, fma, load, splat
from .jit import Machine
from .kernel import Function
from .layout import Volume, along
from .tiles import Tile, Work, best_tile

UNROLLED = 260
"""Multiply-adds written out one by one. Beyond it, and on one lane, rows of taps are a loop: a longer text takes longer
to compile, and runs no faster."""
WORTH_CLIPPING = 1.2
"""Times the work that is not on padding: from there on, leaving taps out is worth code for every tile of a row."""

Place = tuple[int, int, int]
"""Channel, row and column within a tile."""
Accumulators = dict[Place, Value]
"""What a tile computed."""
Reads = list[tuple[str, Index]]
"""Buffers, and which of their vectors."""


class Epilogue(Protocol):
    """What is done with a tile, by its first channel, row and column."""

    def __call__(self, f: Function, o: Index, i: Index, j: Index, sums: Accumulators) -> None:
        """Do it."""

    def reads(self, o: Index, i: Index, j: Index, places: Iterable[Place]) -> Reads:
        """The vectors far away that it reads for these places of a tile, to be asked for before sums are computed."""


@dataclass(frozen=True)
class Source:
    """The volume that is read: its size in positions, and the steps of a row and a channel in vectors."""

    height: int
    width: int
    row: int
    plane: int

    @classmethod
    def of(cls, volume: Volume) -> Source:
        """A whole volume."""
        return cls(volume.height, volume.width, volume.row, volume.plane)


@dataclass(frozen=True)
class Gather:
    """What to gather. `rows` and `columns` are offsets in positions, ascending; `unit` is what is pooled at the end."""

    source: Source
    rows_out: int
    columns_out: int
    channels_out: int
    channels_in: int
    down: int
    right: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    unit: tuple[int, int] = (1, 1)

    @property
    def taps(self) -> int:
        """How many taps a weight kernel has."""
        return len(self.rows) * len(self.columns)

    @property
    def work(self) -> Work:
        """For the choice of a tile."""
        return Work(self.rows_out, self.columns_out, self.channels_out, self.channels_in, self.taps)

    @property
    def clips(self) -> bool:
        """Whether to leave out taps that only meet padding, which takes code for each tile along the columns."""
        dense = all(b - a == 1 for offsets in (self.rows, self.columns) for a, b in pairwise(offsets))
        if not dense or self.down != 1 or self.right != 1 or self.unit != (1, 1) or len(self.rows) < 2:
            return False
        inside = [
            sum(0 <= i + offset < size for i in range(count) for offset in offsets)
            for count, offsets, size in (
                (self.rows_out, self.rows, self.source.height),
                (self.columns_out, self.columns, self.source.width),
            )
        ]
        return self.rows_out * self.columns_out * self.taps >= WORTH_CLIPPING * inside[0] * inside[1]

    def tile(self, machine: Machine, pairs: bool = False) -> Tile:
        """The tile for this machine; `pairs` says that products are of pairs of bfloat16."""
        return best_tile(machine, self.work, self.unit, split_columns=self.clips, pairs=pairs)


@dataclass(frozen=True)
class Weights:
    """Where a kernel's numbers lie: steps from one tile of channels, one input channel and one row of taps to the next.

    `tap` is that from one tap of a row to the next, `output` from one channel of a tile.
    """

    tile: int
    channel: int
    row: int
    tap: int
    output: int = 1


class GatherKernel:
    """A gather as a function: buffers `x`, `w`, `b` where there is a bias, and those of the epilogue.

    With `pairs`, inputs and weights are pairs of channels in bfloat16, and the gather's channels are such pairs.
    """

    def __init__(
        self, machine: Machine, gather: Gather, weights: Weights, tile: Tile, bias: bool, pairs: bool = False
    ) -> None:
        self.gather, self.weights, self.tile, self.bias = gather, weights, tile, bias
        self.vector = Type("f32", machine.lanes)
        self.operand = self.vector.of("i32") if pairs else self.vector
        self.multiply = dot if pairs else fma

    def build(self, name: str, buffers: tuple[str, ...], epilogue: Epilogue) -> Function:
        """The function."""
        f = Function(name, ("x", "w", *(("b",) if self.bias else ()), *buffers))
        g, t = self.gather, self.tile
        f.form, f.tile = "clipped gather" if g.clips else "gather", t._asdict()
        for i, rows in along(f, g.rows_out, t.rows):
            if g.clips:
                for first in range(0, g.columns_out, t.columns):
                    columns = min(t.columns, g.columns_out - first)
                    self._channels(f, i, Index(first), rows, columns, epilogue)
            else:
                for j, columns in along(f, g.columns_out, t.columns):
                    self._channels(f, i, j, rows, columns, epilogue)
        return f

    def _channels(self, f: Function, i: Index, j: Index, rows: int, columns: int, epilogue: Epilogue) -> None:
        for o, channels in along(f, self.gather.channels_out, self.tile.channels):
            self._tile(f, o, i, j, Tile(channels, rows, columns), epilogue)

    def _tile(self, f: Function, o: Index, i: Index, j: Index, tile: Tile, epilogue: Epilogue) -> None:
        g = self.gather
        outputs = list(product(range(tile.channels), range(tile.rows), range(tile.columns)))
        starts = [self._start(f, o + k) for k in range(tile.channels)]
        sums = {(k, a, b): f.variable(starts[k]) for k, a, b in outputs}
        weights = (o // self.tile.channels) * self.weights.tile
        if g.taps:
            asking = min(tile.channels, g.channels_in) if epilogue.reads(o, i, j, outputs) else 0
            if asking:
                with f.loop(asking) as c:
                    self._ask(f, c, (o, i, j), tile, epilogue)
                    self._taps(f, c, i, j, weights + c * self.weights.channel, tile, sums)
            if asking < g.channels_in:
                with f.loop(g.channels_in, asking) as c:
                    self._taps(f, c, i, j, weights + c * self.weights.channel, tile, sums)
        epilogue(f, o, i, j, {place: variable.value for place, variable in sums.items()})

    def _start(self, f: Function, output: Index) -> Value:
        """What a sum begins with."""
        return f.let(splat(load(F32, "b", output), self.vector.lanes)) if self.bias else constant(self.vector, 0.0)

    def _ask(self, f: Function, c: Index, at: tuple[Index, Index, Index], tile: Tile, epilogue: Epilogue) -> None:
        """Ask for what the epilogue reads, for a channel of the tile with each input channel, or for several.

        All at once they would be in the way of what the taps read.
        """
        each = -(-tile.channels // self.gather.channels_in)
        (o, i, j), places = at, product(range(each), range(tile.rows), range(tile.columns))
        for buffer, place in epilogue.reads(o + c * each, i, j, places):
            f.prefetch(self.vector, buffer, place)

    def _taps(
        self,
        f: Function,
        c: Index,
        i: Index,
        j: Index,
        weights: Index,
        tile: Tile,
        sums: dict[tuple[int, int, int], Variable],
    ) -> None:
        """All taps of one input channel."""
        g = self.gather
        start = c * g.source.plane + i * (g.down * g.source.row) + j * g.right
        if g.clips:
            first, last = Index(-g.rows[0]) - i, Index(g.source.height - g.rows[0]) - i
            inside = Bound("max", (first, Index())), Bound("min", (last, Index(len(g.rows))))
            with f.loop(inside[1], inside[0]) as r:
                self._row(f, start + (r + g.rows[0]) * g.source.row, weights + r * self.weights.row, j, tile, sums)
        elif (g.taps * len(sums) > UNROLLED or self.vector.lanes == 1) and _even(g.rows):
            step = g.rows[1] - g.rows[0] if len(g.rows) > 1 else 0
            with f.loop(len(g.rows)) as r:
                self._row(
                    f, start + (r * step + g.rows[0]) * g.source.row, weights + r * self.weights.row, j, tile, sums
                )
        else:
            for k, row in enumerate(g.rows):
                self._row(f, start + row * g.source.row, weights + k * self.weights.row, j, tile, sums)

    def _row(
        self,
        f: Function,
        start: Index,
        weights: Index,
        j: Index,
        tile: Tile,
        sums: dict[tuple[int, int, int], Variable],
    ) -> None:
        """One row of taps: for each, the fewer of inputs and weights stay in registers, the others are streamed."""
        g, lanes = self.gather, self.vector.lanes
        for s, column in enumerate(g.columns):
            positions = [
                (a, b)
                for a, b in product(range(tile.rows), range(tile.columns))
                if not g.clips or 0 <= j.constant + b + column < g.source.width
            ]
            if not positions:
                continue

            def x(a: int, b: int, column: int = column) -> Value:
                steps = a * g.down * g.source.row + b * g.right + column
                return f.let(load(self.operand, "x", start + steps))

            def w(k: int, s: int = s) -> Value:
                one = load(Type(self.operand.kind), "w", weights + (s * self.weights.tap + k * self.weights.output))
                return f.let(splat(one, lanes))

            if len(positions) <= tile.channels:
                inputs = {place: x(*place) for place in positions}
                for k in range(tile.channels):
                    weight = w(k)
                    for a, b in positions:
                        f.set(sums[k, a, b], self.multiply(inputs[a, b], weight, sums[k, a, b].value))
            else:
                kernel = [w(k) for k in range(tile.channels)]
                for a, b in positions:
                    value = x(a, b)
                    for k in range(tile.channels):
                        f.set(sums[k, a, b], self.multiply(value, kernel[k], sums[k, a, b].value))


def _even(offsets: tuple[int, ...]) -> bool:
    """Whether offsets are equally far from each other."""
    return len({b - a for a, b in pairwise(offsets)}) <= 1
