"""The gradient of weights by the processor's tiles, which multiply matrices of bfloat16.

    dw[c, tap, o] += sum over images and pairs of neighbouring positions of  x[c, position + tap] * g[o, position]

is a product of (16 inputs c x 32 values) and (32 values x 16 outputs o), where the 32 are 16 images of two positions.
Rows of the first are channels as they lie, rounded; for the second the gradients are transposed. Both are brought into
a scratch strip by strip. Sums are the weights' gradients where they lie.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from math import ceil

from .expressions import Index, Type, Value, constant, load, neighbours, shuffle
from .jit import Machine
from .kernel import TILE_ROWS, TILES, Function
from .layout import COLUMNS, along
from .tiled_gather import MULTIPLY, STRIP_BYTES
from .weight_gradient import WeightGradient, divisors, transposed

LATENCY = 52
"""Cycles until a product of tiles can be added to again (Intel's optimization manual)."""
LOAD = 8
"""Cycles of reading a tile."""


@dataclass(frozen=True)
class Sums:
    """Tiles of sums that are computed at once: 16 outputs each, by 16 channels at some taps."""

    outputs: int
    channels: int
    rows: int
    columns: int

    @property
    def inputs(self) -> int:
        """Tiles that meet each one of gradients."""
        return self.channels * self.rows * self.columns

    @property
    def cycles(self) -> float:
        """For each of them and two positions."""
        count = self.outputs * self.inputs
        return max(MULTIPLY * count, LATENCY, LOAD * (self.outputs + self.inputs)) / count + LOAD / count


class TiledWeightGradient:
    """A function with buffers `x`, `g`, `dw` ([C][rows][columns][outputs padded to whole vectors]) and `scratch`."""

    def __init__(self, machine: Machine, gradient: WeightGradient) -> None:
        self.gradient = gradient
        self.vector, self.word = Type("f32", machine.lanes), Type("i32", machine.lanes)
        self.half = Type("i32", machine.lanes // 2)
        """The images of one position, rounded."""
        self.outputs, self.inputs = (ceil(n / TILE_ROWS) for n in (gradient.channels_out, gradient.channels_in))
        self.pairs = ceil(gradient.g.width / 2)
        """Of positions in a row; a last one may be half empty."""

    @cached_property
    def sums(self) -> Sums:
        """The fewest cycles."""
        rows, columns = (divisors(n) for n in self.gradient.kernel)
        return min(
            (
                made
                for made in (
                    Sums(*sizes)
                    for sizes in product(
                        (n for n in (1, 2) if self.outputs % n == 0), range(1, self.inputs + 1), rows, columns
                    )
                )
                if made.outputs * (made.inputs + 1) + 1 <= TILES
            ),
            key=lambda sums: sums.cycles,
        )

    # -- where things lie in the scratch: gradients, then inputs ------------------------------------------------

    @property
    def phase(self) -> int:
        """Columns of one remainder by the stride: those of a tap are neighbours."""
        g = self.gradient
        return 2 * self.pairs + (g.kernel[1] - 1) * g.dilation[1] // g.stride[1]

    @property
    def remainders(self) -> list[int]:
        """Of the taps' columns by the stride."""
        g = self.gradient
        return sorted({s * g.dilation[1] % g.stride[1] for s in range(g.kernel[1])})

    @property
    def width(self) -> int:
        """Columns of inputs that a row reads."""
        g = self.gradient
        return (g.g.width - 1) * g.stride[1] + (g.kernel[1] - 1) * g.dilation[1] + 1

    def height(self, rows: int) -> int:
        """Rows of inputs that so many rows of gradients meet."""
        g = self.gradient
        return (rows - 1) * g.stride[0] + (g.kernel[0] - 1) * g.dilation[0] + 1

    @property
    def row(self) -> int:
        """Half vectors from one row of a channel's inputs to the next."""
        return len(self.remainders) * self.phase

    def gradients(self, rows: int) -> int:
        """Vectors of so many rows of gradients."""
        return self.outputs * rows * self.pairs * TILE_ROWS

    def taken(self, rows: int) -> int:
        """Vectors of scratch for so many rows."""
        return self.gradients(rows) + ceil(self.gradient.channels_in * self.height(rows) * self.row / 2)

    @cached_property
    def strip(self) -> int:
        """Rows of gradients that are taken at a time: as even strips as fit the cache.

        Each strip reads and writes all sums again, so where these are more than fits, strips are as large as they.
        """
        g, rows = self.gradient, self.gradient.g.height
        most = max(STRIP_BYTES, 4 * g.channels_in * g.channels_out * g.kernel[0] * g.kernel[1])
        fitting = [n for n in range(1, rows + 1) if 64 * self.taken(n) <= most]
        return ceil(rows / ceil(rows / max(fitting, default=1)))

    @property
    def scratch(self) -> int:
        """Vectors in all."""
        return self.taken(self.strip)

    def worth(self) -> bool:
        """Whether it takes less time than multiply-adds of vectors: about, in cycles, with what comes before them."""
        g = self.gradient
        taps, positions = g.kernel[0] * g.kernel[1], g.g.height * g.g.width
        by_vectors = positions * g.channels_out * g.channels_in * taps / 2
        strips = ceil(g.g.height / self.strip)
        before = 2 * g.channels_in * self.width * self.height(self.strip) * strips + 6 * positions * g.channels_out
        products = positions / 2 * self.outputs * self.inputs * taps * self.sums.cycles
        added = 2 * TILE_ROWS * 2 * strips * self.outputs * self.inputs * taps
        return before + products + added < by_vectors

    # -- the function ------------------------------------------------------------------------------------------

    def build(self, name: str) -> Function:
        """The function."""
        f = Function(name, ("x", "g", "dw", "scratch"))
        f.form, f.tile = "tiled weights", asdict(self.sums)
        for i, rows in along(f, self.gradient.g.height, self.strip):
            self._transpose(f, i, rows)
            self._round(f, i, rows)
            whole, last = divmod(self.gradient.channels_in, TILE_ROWS)
            if whole:
                self._shape(f, self.sums.channels, TILE_ROWS)
                for c, blocks in along(f, whole, self.sums.channels):
                    self._products(f, c * TILE_ROWS, blocks, rows)
            if last:
                self._shape(f, 1, last)
                self._products(f, Index(whole * TILE_ROWS), 1, rows)
        return f

    def _transpose(self, f: Function, i: Index, rows: int) -> None:
        """Gradients as [16 outputs][row][pair of positions][position, pair of images] vectors of outputs' pairs."""
        g = self.gradient.g
        for o, channels in along(f, self.gradient.channels_out, TILE_ROWS):
            with f.loop(rows) as a:
                for j, many in along(f, g.width, 2):
                    at = o * g.plane + (i + a) * g.row + j
                    lines = [
                        self._both(f, at + k * g.plane, many) if k < channels else constant(self.word, 0)
                        for k in range(TILE_ROWS)
                    ]
                    place = ((o // TILE_ROWS * rows + a) * self.pairs + j // 2) * TILE_ROWS
                    for k, line in enumerate(transposed(f, lines)):
                        f.store("scratch", place + k, line)

    def _both(self, f: Function, at: Index, many: int) -> Value:
        """A channel's two neighbouring positions, rounded; the second may be missing."""
        first = neighbours(load(self.vector, "g", at))
        second = neighbours(load(self.vector, "g", at + 1)) if many == 2 else constant(self.half, 0)
        return f.let(shuffle(first, second, range(self.word.lanes)))

    def _round(self, f: Function, i: Index, rows: int) -> None:
        """Inputs as [channel][row][remainder of the column by the stride][column] half vectors."""
        g, stride = self.gradient, self.gradient.stride[1]
        start = 2 * self.gradients(rows)
        with f.loop(g.channels_in) as c, f.loop(self.height(rows)) as a:
            to = (c * self.height(rows) + a) * self.row + start
            at = c * g.x.plane + (i * g.stride[0] + a) * g.x.row + g.tap(0, 0)
            for n, k in enumerate(self.remainders):
                known = len(range(k, self.width, stride))
                for first, count in along(f, known, COLUMNS):
                    for b in range(count):
                        value = neighbours(load(self.vector, "x", at + (first + b) * stride + k))
                        f.store("scratch", to + n * self.phase + first + b, value)
                for b in range(known, self.phase):  # the half of a last pair that meets no gradient
                    f.store("scratch", to + n * self.phase + b, constant(self.half, 0))

    def _shape(self, f: Function, blocks: int, channels: int) -> None:
        """Tiles of sums first, then of gradients, then of inputs. All but gradients have a row for each channel."""
        outputs = self.sums.outputs
        sums = outputs * blocks * self.sums.rows * self.sums.columns
        f.shape_tiles([*[channels] * sums, *[TILE_ROWS] * outputs, *[channels] * (TILES - sums - outputs)])

    def _products(self, f: Function, c: Index, blocks: int, rows: int) -> None:
        """Add to the gradients of some channels, over the strip."""
        s, (kernel_rows, kernel_columns) = self.sums, self.gradient.kernel
        taps = [(n, u, v) for n in range(blocks) for u in range(s.rows) for v in range(s.columns)]
        row = self.gradient.row // TILE_ROWS
        steps = self.gradient.kernel[0] * self.gradient.kernel[1] * row
        sums = {(m, *tap): m * len(taps) + k for m in range(s.outputs) for k, tap in enumerate(taps)}
        first = len(sums) + s.outputs
        turns = TILES - first
        with f.loop(self.outputs // s.outputs) as o, f.loop(kernel_rows // s.rows) as r:
            for column in range(0, kernel_columns, s.columns):
                places = {
                    (m, n, u, v): (c + n * TILE_ROWS) * steps
                    + ((r * s.rows + u) * kernel_columns + column + v) * row
                    + o * s.outputs
                    + m
                    for m, n, u, v in sums
                }
                for key, tile in sums.items():
                    f.load_tile(tile, self.vector, "dw", places[key], steps)
                with f.loop(rows) as a, f.loop(self.pairs) as j:
                    for m in range(s.outputs):
                        at = (((o * s.outputs + m) * rows + a) * self.pairs + j) * TILE_ROWS
                        f.load_tile(len(sums) + m, self.word, "scratch", at, 1)
                    for k, (n, u, v) in enumerate(taps):
                        x = first + k % turns
                        at = self._input(c + n * TILE_ROWS, a, r * s.rows + u, column + v, rows) + 2 * j
                        f.load_tile(x, self.half, "scratch", at, self.height(rows) * self.row)
                        for m in range(s.outputs):
                            f.multiply_tiles(sums[m, n, u, v], x, len(sums) + m)
                for key, tile in sums.items():
                    f.store_tile(tile, self.vector, "dw", places[key], steps)

    def _input(self, c: Index, a: Index, row: Index, column: int, rows: int) -> Index:
        """Where the inputs begin that meet a row of gradients by a tap."""
        g = self.gradient
        column, remainder = divmod(column * g.dilation[1], g.stride[1])
        line = c * self.height(rows) + a * g.stride[0] + row * g.dilation[0]
        before = self.remainders.index(remainder) * self.phase + column
        return line * self.row + before + 2 * self.gradients(rows)
