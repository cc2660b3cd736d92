"""The gather of `gather.py` through windows of 3x3 in fewer products, by the filtering of `winograd.py`.

Lanes are images here, so the transforms of inputs and outputs are sums of whole vectors, and each of the 16 positions
of transformed tiles is a gather through a window of one position. Some tiles of a row are in hand at once: what is kept
of them between the three steps stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

from .expressions import F32, Index, Type, Value, constant, dot, fma, load, load_from, neighbours, pair, splat
from .gather import Epilogue, Gather
from .jit import Machine
from .kernel import Function
from .layout import along
from .packing import Order
from .tiles import Tile, Work, best_tile
from .winograd import POSITIONS, TAPS, from_inputs, from_kernel, from_products, twice

OWN_BYTES, FEWEST = 256 << 10, 4
"""Of transformed tiles that are in hand, which stay in the second-level cache, and how many tiles there are at least:
weights are read once for all of them."""
OF_INPUT, OF_OUTPUT = 56, 48
"""Cycles of transforming a tile of an input and of an output, where a vector's multiply-add takes one."""
WORTH = 0.8
"""Of the cycles of a plain gather, from which on this one is worth it: it needs more memory, and rounds once more."""
MOST_KERNELS = 1 << 16
"""Of a layer: transformed, more would take much memory beside the volumes of a block."""
SIDE, STEP = 4, 2
"""A tile's inputs and outputs along each axis."""


@dataclass(frozen=True)
class FilteredGather:
    """How a gather is filtered; with `pairs`, products are of pairs of channels in bfloat16."""

    gather: Gather
    pairs: bool

    @property
    def parts(self) -> int:
        """Channels in a word of what is multiplied."""
        return 2 if self.pairs else 1

    @property
    def words(self) -> int:
        """Of inputs."""
        return ceil(self.gather.channels_in / self.parts)

    def worth(self) -> bool:
        """Whether it is possible and takes clearly fewer cycles."""
        g = self.gather
        windows = all(len(taps) == 3 and taps[2] - taps[0] == 2 for taps in (g.rows, g.columns))
        if not windows or g.down != 1 or g.right != 1 or g.unit not in ((1, 1), (2, 2)) or g.clips:
            return False
        if g.channels_in * g.channels_out > MOST_KERNELS:
            return False
        tiles = ceil(g.rows_out / STEP) * ceil(g.columns_out / STEP)
        transforms = OF_INPUT * g.channels_in + OF_OUTPUT * g.channels_out
        cycles = tiles * (POSITIONS * self.words * g.channels_out + transforms)
        return cycles <= WORTH * TAPS * self.words * g.channels_out * g.rows_out * g.columns_out

    def tiles(self, machine: Machine) -> int:
        """How many are in hand at once."""
        each = POSITIONS * (self.words + self.gather.channels_out) * machine.lanes * 4
        return min(ceil(self.gather.columns_out / STEP), max(FEWEST, OWN_BYTES // each))

    def scratch(self, machine: Machine) -> int:
        """The vectors that they take: transformed inputs, then products."""
        return POSITIONS * (self.words + self.gather.channels_out) * self.tiles(machine)


@dataclass(frozen=True)
class FilteredWeights:
    """Transformed weights: steps in words from one position, input word and output to the next.

    A kernel turned round has the same numbers, the first and the last along each axis exchanged: so `turned`, weights
    of the way forward do for the way back.
    """

    position: int
    word: int
    output: int
    turned: bool = False

    @property
    def back(self) -> FilteredWeights:
        """The same weights for the gradient of inputs, whose outputs are what are inputs here. Not of pairs."""
        return FilteredWeights(self.position, self.output, self.word, turned=True)

    def place(self, position: int) -> int:
        """Where a position's numbers are, by its own place in a tile."""
        row, column = divmod(position, SIDE)
        ends = {0: SIDE - 1, SIDE - 1: 0} if self.turned else {}
        return SIDE * ends.get(row, row) + ends.get(column, column)

    @classmethod
    def of(cls, filtered: FilteredGather, lanes: int, contiguous_outputs: bool) -> FilteredWeights:
        """Outputs side by side, or inputs, as they are in memory."""
        outputs, inputs = filtered.gather.channels_out, filtered.gather.channels_in
        if contiguous_outputs:
            row = ceil(outputs / lanes) * lanes
            return cls(filtered.words * row, row, 1)
        row = ceil(inputs / lanes) * lanes // filtered.parts
        return cls(outputs * row, 1, row)

    @property
    def size(self) -> int:
        """Words of all."""
        return POSITIONS * self.position


class FilteredGatherKernel:
    """A filtered gather as a function: buffers `x`, `w`, `scratch`, `b` where there is a bias, the epilogue's.

    `weights` say how `w` is packed (`pack_filtered`).
    """

    def __init__(self, machine: Machine, filtered: FilteredGather, weights: FilteredWeights, bias: bool) -> None:
        self.filtered, self.weights, self.bias, self.gather = filtered, weights, bias, filtered.gather
        self.lanes, self.vector = machine.lanes, Type("f32", machine.lanes)
        self.operand = self.vector.of("i32") if filtered.pairs else self.vector
        self.tiles = filtered.tiles(machine)
        work = Work(1, self.tiles, self.gather.channels_out, filtered.words, 1)
        self.tile = best_tile(machine, work, pairs=filtered.pairs)
        self.products = POSITIONS * filtered.words * self.tiles  # where they begin

    def build(self, name: str, buffers: tuple[str, ...], epilogue: Epilogue) -> Function:
        """The function."""
        f, g = Function(name, ("x", "w", "scratch", *(("b",) if self.bias else ()), *buffers)), self.gather
        f.form, f.tile = "filtered gather", self.tile._asdict() | {"tiles": self.tiles}
        for i, rows in along(f, g.rows_out, STEP):
            for j, columns in along(f, g.columns_out, STEP * self.tiles):
                self._transform(f, i, j, (rows, columns))
                self._multiply(f, ceil(columns / STEP))
                self._finish(f, i, j, (rows, columns), epilogue)
        return f

    def _transform(self, f: Function, i: Index, j: Index, size: tuple[int, int]) -> None:
        """Tiles of `x` for so many rows and columns of outputs from (i, j) on: position, word, tile."""
        parts, channels = self.filtered.parts, self.gather.channels_in
        with f.loop(channels // parts) as c:
            self._transform_word(f, c, [c * parts + m for m in range(parts)], i, j, size)
        if channels % parts:
            self._transform_word(f, Index(channels // parts), [Index(channels - 1)], i, j, size)

    def _transform_word(
        self, f: Function, word: Index, channels: Sequence[Index], i: Index, j: Index, size: tuple[int, int]
    ) -> None:
        g, zero = self.gather, constant(self.vector, 0.0)
        for t, columns in _along_tiles(f, size[1]):
            made = []
            for channel in channels:
                start = channel * g.source.plane + (i + g.rows[0]) * g.source.row + j + t * STEP + g.columns[0]
                square = [
                    load(self.vector, "x", start + (r * g.source.row + s))
                    if r < size[0] + STEP and s < columns + STEP
                    else zero
                    for r, s in product(range(SIDE), repeat=2)
                ]
                made.append(twice(f, from_inputs, square))
            made += [[zero] * POSITIONS] * (self.filtered.parts - len(made))
            for p in range(POSITIONS):
                own = [values[p] for values in made]
                to = self._input(Index(self.weights.place(p)), word, t)
                f.store("scratch", to, pair(*own) if self.filtered.pairs else own[0])

    def _input(self, p: Index, word: Index, t: Index) -> Index:
        return (p * self.filtered.words + word) * self.tiles + t

    def _product(self, p: Index, o: Index, t: Index) -> Index:
        return (p * self.gather.channels_out + o) * self.tiles + t + self.products

    def _multiply(self, f: Function, tiles: int) -> None:
        """Sums over the words of all inputs: position, output, tile."""
        with f.loop(POSITIONS) as p:
            for o, outputs in along(f, self.gather.channels_out, self.tile.channels):
                for t, columns in along(f, tiles, self.tile.columns):
                    self._sums(f, p, o, t, Tile(outputs, 1, columns))

    def _sums(self, f: Function, p: Index, o: Index, t: Index, tile: Tile) -> None:
        places = list(product(range(tile.channels), range(tile.columns)))
        sums = {place: f.variable(constant(self.vector, 0.0)) for place in places}
        multiply, w = dot if self.filtered.pairs else fma, self.weights
        with f.loop(self.filtered.words) as c:
            inputs = [f.let(load(self.operand, "scratch", self._input(p, c, t + b))) for b in range(tile.columns)]
            for k in range(tile.channels):
                at = p * w.position + c * w.word + (o + k) * w.output
                weight = f.let(splat(load(Type(self.operand.kind), "w", at), self.lanes))
                for b, value in enumerate(inputs):
                    f.set(sums[k, b], multiply(value, weight, sums[k, b].value))
        for k, b in places:
            f.store("scratch", self._product(p, o + k, t + b), sums[k, b].value)

    def _finish(self, f: Function, i: Index, j: Index, size: tuple[int, int], epilogue: Epilogue) -> None:
        """Outputs of the tiles in hand, each tile through the epilogue."""
        with f.loop(self.gather.channels_out) as o:
            start = f.let(splat(load(F32, "b", o), self.lanes)) if self.bias else None
            for t, columns in _along_tiles(f, size[1]):
                places = [self._product(Index(self.weights.place(p)), o, t) for p in range(POSITIONS)]
                outputs = twice(f, from_products, [load(self.vector, "scratch", place) for place in places])
                made = {
                    (0, a, b): outputs[STEP * a + b] if start is None else f.let(outputs[STEP * a + b] + start)
                    for a, b in product(range(size[0]), range(columns))
                }
                epilogue(f, o, i, j + t * STEP, made)


def _along_tiles(f: Function, columns: int) -> Iterator[tuple[Index, int]]:
    """Tiles of a row with so many columns of outputs, and how many of these each has."""
    if columns // STEP:
        with f.loop(columns // STEP) as t:
            yield t, STEP
    if columns % STEP:
        yield Index(columns // STEP), columns % STEP


def transformed(f: Function, lanes: int, at: Index, taps: Sequence[int]) -> list[Value]:
    """As many kernels of `w` as there are lanes, side by side from a place on, at each position."""
    return twice(f, from_kernel, [f.let(load_from(Type("f32", lanes), "w", at + tap)) for tap in taps])


def pack_filtered(name: str, filtered: FilteredGather, lanes: int, order: Order) -> Function:
    """Kernels of `w` transformed, into `packed` as `FilteredWeights` says. Outputs follow each other, or inputs do."""
    f, g, parts = Function(name, ("w", "packed")), filtered.gather, filtered.parts
    lying = FilteredWeights.of(filtered, lanes, order.output == 1)
    taps = [tap * order.tap for tap in order.taps]
    if order.output == 1:

        def pack_word(word: Index, channels: Sequence[Index]) -> None:
            with f.loop(ceil(g.channels_out / lanes)) as v:
                made = [transformed(f, lanes, v * lanes + channel * order.input, taps) for channel in channels]
                made += [[constant(Type("f32", lanes), 0.0)] * POSITIONS] * (parts - len(made))
                for p in range(POSITIONS):
                    own = [values[p] for values in made]
                    place = word * lying.word + v * lanes + p * lying.position
                    f.store_to("packed", place, pair(*own) if filtered.pairs else own[0])

        with f.loop(g.channels_in // parts) as c:
            pack_word(c, [c * parts + m for m in range(parts)])
        if g.channels_in % parts:
            pack_word(Index(g.channels_in // parts), [Index(g.channels_in - 1)])
        return f
    with f.loop(g.channels_out) as o, f.loop(ceil(g.channels_in / lanes)) as v:
        for p, value in enumerate(transformed(f, lanes, o * order.output + v * lanes, taps)):
            place = o * lying.output + v * (lanes // parts) + p * lying.position
            f.store_to("packed", place, neighbours(value) if filtered.pairs else value)
    return f
