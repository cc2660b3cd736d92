"""The gather of `gather.py` by the processor's tiles, which multiply matrices of bfloat16.

For one tap, outputs of 16 channels in 16 images are a matrix product: weights (16 channels x 32 inputs) times values of
one position (32 inputs x 16 images). So a strip of rows of the input is first brought into pairs of channels,

    pairs[row][column][channel / 2] = 16 images of two channels,

where the channels of a position, and of the positions right of it, follow each other: the taps of a row of the kernel
are one run of inputs, cut into pieces of 32. Sums go through a little memory to the epilogue, which works on vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil

from .expressions import F32, Index, Type, Value, constant, load, pair, splat
from .gather import Accumulators, Epilogue, Gather
from .jit import Machine
from .kernel import TILE_ROWS, Function
from .layout import COLUMNS, along

STRIP_BYTES = 1 << 20
"""Of pairs, which stay in the second-level cache."""
SUM_BYTES = 128 << 10
"""Of sums that are handed on together."""
SUMS = 4
"""Tiles of sums that are computed at once; as many are left for what is multiplied."""
MATRIX = TILE_ROWS * TILE_ROWS
"""Words of a tile."""
MULTIPLY = 16
"""Cycles of a product of tiles; a vector's multiply-add takes half of one."""


@dataclass(frozen=True)
class Run:
    """Inputs of one row of a kernel that lie one behind the other: `pieces` of 32, from place `first` on."""

    first: int
    pieces: int


@dataclass(frozen=True)
class TiledGather:
    """How a gather is cut up for tiles."""

    gather: Gather

    @property
    def pairs(self) -> int:
        """Of input channels."""
        return ceil(self.gather.channels_in / 2)

    @property
    def blocks(self) -> int:
        """Of 16 output channels."""
        return ceil(self.gather.channels_out / TILE_ROWS)

    @cached_property
    def runs(self) -> list[Run]:
        """Those of each row of the kernel."""
        columns, pairs = self.gather.columns, self.pairs
        if columns and columns[-1] - columns[0] == len(columns) - 1:  # neighbours
            return [Run(0, ceil(len(columns) * pairs / TILE_ROWS))]
        return [Run((column - columns[0]) * pairs, ceil(pairs / TILE_ROWS)) for column in columns]

    @property
    def pieces(self) -> int:
        """Matrices of weights for 16 output channels."""
        return len(self.gather.rows) * sum(run.pieces for run in self.runs)

    @property
    def starts(self) -> list[int]:
        """Where each tap's words begin among those of an output."""
        g, row = self.gather, sum(run.pieces for run in self.runs)
        if len(self.runs) == 1:
            columns = [s * self.pairs for s in range(len(g.columns))]
        else:
            columns = [s * row // len(self.runs) * TILE_ROWS for s in range(len(g.columns))]
        return [r * row * TILE_ROWS + start for r in range(len(g.rows)) for start in columns]

    @property
    def width(self) -> int:
        """Columns of the input that a row of outputs reads."""
        g = self.gather
        return (g.columns_out - 1) * g.right + g.columns[-1] - g.columns[0] + 1 if g.taps else 0

    def height(self, rows: int) -> int:
        """Rows of the input that so many rows of outputs read."""
        g = self.gather
        return (rows - 1) * g.down + g.rows[-1] - g.rows[0] + 1 if g.taps else 0

    @cached_property
    def together(self) -> tuple[int, int, int]:
        """Blocks of channels, rows and columns of outputs whose sums are handed on together."""
        g = self.gather
        blocks = min(self.blocks, 2)
        down, right = g.unit
        columns = min(g.columns_out, max(right, SUMS // blocks // down * right))
        rows = min(g.rows_out, max(down, SUMS // blocks // columns * down))
        return (min(self.blocks, SUMS) if rows * columns == 1 else blocks), rows, columns

    @cached_property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns whose sums are computed before they are handed on.

        Memory is written in long stretches then, and weights are read less often.
        """
        (blocks, down, right), fitting = self.together, SUM_BYTES // (64 * TILE_ROWS)
        columns = min(ceil(self.gather.columns_out / right), max(1, fitting // (blocks * down * right))) * right
        rows = min(ceil(self.strip / down), max(1, fitting // (blocks * down * columns))) * down
        return rows, columns

    @cached_property
    def strip(self) -> int:
        """Rows of outputs whose inputs are paired at a time: as even strips as fit the cache."""
        rows, (_, step, _) = self.gather.rows_out, self.together
        row_bytes = max(1, self.width * self.pairs * 64)
        fitting = [n for n in range(step, rows + step, step) if self.height(n) * row_bytes <= STRIP_BYTES]
        strips = ceil(rows / max(fitting, default=step))
        return min(rows, ceil(ceil(rows / strips) / step) * step)

    @property
    def sums(self) -> int:
        """Vectors of scratch for sums; those for pairs follow."""
        rows, columns = self.chunk
        return self.together[0] * rows * columns * TILE_ROWS

    @property
    def scratch(self) -> int:
        """Vectors of scratch in all: tiles read up to 15 places behind the last pair."""
        return self.sums + self.height(self.strip) * self.width * self.pairs + TILE_ROWS - 1

    def worth(self) -> bool:
        """Whether it takes less time than multiply-adds of vectors: about, in cycles, with what both do besides."""
        g = self.gather
        outputs = g.rows_out * g.columns_out
        by_vectors = outputs * g.channels_out * (g.channels_in * g.taps / 2 + 3)
        pairing = 2 * self.width * self.height(self.strip) * self.pairs * ceil(g.rows_out / self.strip)
        by_tiles = outputs * (self.blocks * self.pieces * MULTIPLY * 1.5 + g.channels_out * 4) + pairing
        return by_tiles < by_vectors


class TiledGatherKernel:
    """A tiled gather as a function: buffers `x`, `w`, `b` where there is a bias, `scratch`, those of the epilogue."""

    def __init__(self, machine: Machine, tiled: TiledGather, bias: bool) -> None:
        self.tiled, self.gather, self.bias = tiled, tiled.gather, bias
        self.vector, self.word = Type("f32", machine.lanes), Type("i32", machine.lanes)

    def build(self, name: str, buffers: tuple[str, ...], epilogue: Epilogue) -> Function:
        """The function."""
        f = Function(name, ("x", "w", *(("b",) if self.bias else ()), "scratch", *buffers))
        blocks, rows, columns = self.tiled.together
        f.form, f.tile = "tiled gather", {"channels": blocks * TILE_ROWS, "rows": rows, "columns": columns}
        f.shape_tiles([TILE_ROWS] * 8)
        for i, height in along(f, self.gather.rows_out, self.tiled.strip):
            if self.gather.taps:
                self._pair(f, i, self.tiled.height(height))
            for a, down in along(f, height, self.tiled.chunk[0]):
                for j, right in along(f, self.gather.columns_out, self.tiled.chunk[1]):
                    for o, channels in along(f, self.gather.channels_out, blocks * TILE_ROWS):
                        self._chunk(f, o, (i, a, j), (channels, down, right), epilogue)
        return f

    def _chunk(
        self, f: Function, o: Index, at: tuple[Index, Index, Index], size: tuple[int, int, int], epilogue: Epilogue
    ) -> None:
        """Sums of some channels and positions, then what follows them. `at`: strip, row in it, column."""
        (i, a, j), (channels, *positions) = at, size
        for (u, v), piece in self._pieces(f, positions):
            self._ask(f, (o, i + a + u, j + v), (channels, *piece), epilogue)
            self._sum(f, o, (a, j), (u, v), (ceil(channels / TILE_ROWS), *piece))
        for m in range(ceil(channels / TILE_ROWS)):
            with f.loop(min(TILE_ROWS, channels - m * TILE_ROWS)) as k:
                start = f.let(splat(load(F32, "b", o + m * TILE_ROWS + k), self.vector.lanes)) if self.bias else None
                for (u, v), piece in self._pieces(f, positions):
                    sums = self._sums(f, self._at(m, u, v) + k, piece, start)
                    epilogue(f, o + m * TILE_ROWS + k, i + a + u, j + v, sums)

    def _ask(self, f: Function, at: tuple[Index, Index, Index], size: tuple[int, int, int], epilogue: Epilogue) -> None:
        """Ask for what the epilogue reads of some channels, rows and columns."""
        places = list(product([0], range(size[1]), range(size[2])))
        if epilogue.reads(*at, places):
            with f.loop(size[0]) as k:
                for buffer, place in epilogue.reads(at[0] + k, *at[1:], places):
                    f.prefetch(self.vector, buffer, place)

    def _pieces(self, f: Function, size: Sequence[int]) -> Iterator[tuple[tuple[Index, Index], tuple[int, int]]]:
        """Positions of a chunk that are computed together: the first of them, and their rows and columns."""
        _, rows, columns = self.tiled.together
        for u, down in along(f, size[0], rows):
            for v, right in along(f, size[1], columns):
                yield (u, v), (down, right)

    def _at(self, m: int, row: Index, column: Index) -> Index:
        """Where the tile of sums of a block of channels lies, of a position in a chunk."""
        rows, columns = self.tiled.chunk
        return (row * columns + column + m * rows * columns) * TILE_ROWS

    # -- inputs ------------------------------------------------------------------------------------------------

    def _pair(self, f: Function, i: Index, height: int) -> None:
        """The strip of inputs for the rows of outputs from i on."""
        g, pairs, width = self.gather, self.tiled.pairs, self.tiled.width
        source, first = g.source, Index(g.rows[0] * g.source.row + g.columns[0])
        whole = g.channels_in // 2

        def store(place: Index, channel: Index, at: Index, alone: bool) -> None:
            low = load(self.vector, "x", channel * source.plane + at)
            high = constant(self.vector, 0.0) if alone else load(self.vector, "x", (channel + 1) * source.plane + at)
            f.store("scratch", place + self.tiled.sums, pair(low, high))

        with f.loop(height) as a:
            start = first + i * (g.down * source.row) + a * source.row
            for b, count in along(f, width, COLUMNS):
                with f.loop(whole) as c:
                    for k in range(count):
                        store((a * width + b + k) * pairs + c, 2 * c, start + b + k, alone=False)
                if g.channels_in % 2:
                    for k in range(count):
                        store((a * width + b + k) * pairs + whole, Index(2 * whole), start + b + k, alone=True)
        for k in range(TILE_ROWS - 1):
            f.store("scratch", Index(self.tiled.sums + height * width * pairs + k), constant(self.word, 0))

    # -- products ----------------------------------------------------------------------------------------------

    def _sum(
        self,
        f: Function,
        o: Index,
        chunk: tuple[Index, Index],
        at: tuple[Index, Index],
        size: tuple[int, int, int],
    ) -> None:
        """The sums of some channels and positions of a chunk: those of up to four tiles at a time."""
        (a, j), (row, column), (blocks, down, right) = chunk, at, size
        positions = [(u, v) for u in range(down) for v in range(right)]
        many = max(1, SUMS // blocks)
        for first in range(0, len(positions), many):
            chosen = positions[first : first + many]
            places = [((a + row + u) * self.gather.down, (j + column + v) * self.gather.right) for u, v in chosen]
            sums = [[m * len(chosen) + n for n in range(len(chosen))] for m in range(blocks)]
            for tile in (tile for tiles in sums for tile in tiles):
                f.clear_tile(tile)
            if self.gather.taps:
                self._products(f, o, places, sums)
            for m, tiles in enumerate(sums):
                for (u, v), tile in zip(chosen, tiles, strict=True):
                    f.store_tile(tile, self.vector, "scratch", self._at(m, row + u, column + v), 1)

    def _products(self, f: Function, o: Index, places: list[tuple[Index, Index]], sums: list[list[int]]) -> None:
        """Add all products of weights and inputs."""
        g, tiled = self.gather, self.tiled
        width, pairs = tiled.width, tiled.pairs
        step = g.rows[1] - g.rows[0] if len(g.rows) > 1 else 0
        per_row = sum(run.pieces for run in tiled.runs)
        block = tiled.pieces * TILE_ROWS
        with f.loop(len(g.rows)) as r:
            before = 0
            for run in tiled.runs:
                with f.loop(run.pieces) as q:
                    w = (o // TILE_ROWS) * block + (r * per_row + before + q) * TILE_ROWS
                    weights = [w + m * block for m in range(len(sums))]
                    inputs = [
                        ((y + r * step) * width + x) * pairs + run.first + q * TILE_ROWS + tiled.sums for y, x in places
                    ]
                    self._multiply(f, weights, inputs, sums)
                before += run.pieces

    def _multiply(self, f: Function, weights: list[Index], inputs: list[Index], sums: list[list[int]]) -> None:
        """Every one of the weights with every one of the inputs: the fewer stay in tiles, the others take turns."""
        taken = len(weights) * len(inputs)

        def w(tile: int, k: int) -> int:
            f.load_tile(tile, self.word, "w", weights[k], 1)
            return tile

        def x(tile: int, k: int) -> int:
            f.load_tile(tile, self.word, "scratch", inputs[k], 1)
            return tile

        few, many = (w, x) if len(weights) <= len(inputs) else (x, w)
        counts = sorted((len(weights), len(inputs)))
        kept = [few(taken + k, k) for k in range(counts[0])]
        turns = 8 - taken - counts[0]
        for n in range(counts[1]):
            tile = many(taken + counts[0] + n % turns, n)
            for k, other in enumerate(kept):
                if few is w:
                    f.multiply_tiles(sums[k][n], other, tile)
                else:
                    f.multiply_tiles(sums[n][k], tile, other)

    # -- outputs -----------------------------------------------------------------------------------------------

    def _sums(self, f: Function, at: Index, size: tuple[int, int], start: Value | None) -> Accumulators:
        """Those of one channel at some positions."""

        def sum_(u: int, v: int) -> Value:
            value = load(self.vector, "scratch", at + self._at(0, Index(u), Index(v)))
            return f.let(value if start is None else value + start)

        return {(0, u, v): sum_(u, v) for u, v in product(range(size[0]), range(size[1]))}
