"""Convolution by 3x3 kernels in fewer products: Winograd's minimal filtering, F(2x2, 3x3), on pairs of bfloat16.

Lavin and Gray, arXiv 1509.09308, eq. 8: a tile d of 4x4 inputs, each two columns from the next, gives 2x2 outputs

    y = A' [(G g G') * (B' d B)] A

with 16 products where sums over windows take 36. Over channels each of the 16 is a matrix product; both gradients
are transposes of this: dx is the same convolution of dy with the kernel turned, and

    dg = G' [sum over tiles of (A dy A') * (B' d B)] G

Volumes are bfloat16, channels last, and padded by one zero. What is multiplied is rounded to bfloat16 once more, sums
are single precision. A word (i32) of a volume holds two neighbouring channels: its low and high halves are vectors of
the even and of the odd ones, and nothing need be shuffled: where kernels say slots, of 32 channels the even ones come
first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import NamedTuple

from .expressions import (
    I32,
    Access,
    Bound,
    Index,
    Type,
    Value,
    bits,
    both,
    constant,
    dot,
    largest,
    load,
    load_from,
    pair,
    shuffle,
    splat,
)
from .kernel import Function
from .layout import along
from .weight_gradient import transposed

LANES = 16
WORDS, NUMBERS = Type("i32", LANES), Type("f32", LANES)
GROUP, VECTORS = 2 * LANES, 2
"""Channels that are in hand at once: a vector of words, two vectors of numbers."""
POSITIONS, TAPS = 16, 9
TURNING_BYTES = 4 * TAPS * LANES * LANES
"""What a thread needs for itself to transform weights."""
TILES = 14
"""For each of which a group of outputs is summed at once: 28 sums, two vectors of weights and one input's copies."""
MAPS = {4: 6, 2: 11}
"""Maps of outputs for each of which the gradient of so many vectors of weights is summed at once."""
MOST_TILES = 98
"""Tiles of a task: their transformed inputs stay in the second-level cache."""


def odd(vectors: int) -> int:
    """Vectors from one position to the next: else positions could all want the same lines of a cache."""
    return vectors | 1


Line = Sequence[Value]
Square = tuple[Sequence[int], Sequence[int]]
"""Rows and columns that are there."""


class Edge(NamedTuple):
    """Tiles from `first` up to, not including, `last`, of which these rows or columns lie on the volume."""

    first: int
    last: int
    there: tuple[int, ...]


def edges(size: int, before: int, count: int) -> list[Edge]:
    """Tiles every two places along an axis of `size`, `count` places each, the first of them `before` its start."""

    def there(tile: int) -> tuple[int, ...]:
        return tuple(k for k in range(count) if 0 <= 2 * tile - before + k < size)

    found, first = [], 0
    for which, tiles in groupby(range(-(-size // 2)), there):
        last = first + len(list(tiles))
        found.append(Edge(first, last, which))
        first = last
    return found


@dataclass(frozen=True)
class Filtering:
    """The kernels for volumes of height x width, from `inputs` to `outputs` channels."""

    inputs: int
    outputs: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of tiles; the last may hang over the edge."""
        return -(-self.height // 2)

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // 2)

    @property
    def words(self) -> int:
        """Of a place's inputs."""
        return self.inputs // 2

    @property
    def most(self) -> int:
        """Tiles that a task may have: whole rows of them, and whole sets of TILES."""
        rows = max(1, MOST_TILES // self.columns)
        return -(-rows * self.columns // TILES) * TILES

    @property
    def groups(self) -> int:
        """Of outputs."""
        return self.outputs // GROUP

    @property
    def weight_bytes(self) -> int:
        """Of transformed weights."""
        return 4 * LANES * self.groups * POSITIONS * self._steps[0]

    @property
    def own_bytes(self) -> int:
        """What a thread needs for itself: transformed inputs of a task, and products for a group of outputs."""
        return 4 * LANES * POSITIONS * (self._steps[1] + self._steps[2])

    @property
    def _steps(self) -> tuple[int, int, int]:
        """Vectors of a position: of weights for a group, of transformed inputs, and of products."""
        return odd(self.words * VECTORS), odd(self.most * self.words // LANES), odd(self.most * VECTORS)

    def convolution(self) -> list[Function]:
        """`convolve`: outputs `y` of `x`, with `u` (see `weights`), and `ends` (see `ends`).

        A task is images n0 to n1, of each the rows of tiles top to bottom, how many `sets` of tiles that makes, and
        groups k0 to k1 of outputs.
        """
        words = self.words
        weights, inputs, _ = (step * LANES * POSITIONS for step in self._steps)
        f = Function("convolve", ("x", "u", "ends", "y", "own"), ("n0", "n1", "top", "bottom", "sets", "k0", "k1"))
        products = self._products()
        into = [(edge, self._transform(edge)) for edge in edges(self.height, 1, 4)]
        out = [(edge, self._outputs(edge)) for edge in edges(self.height, 0, 2)]
        for edge, transform in into:
            for n, i, row in self._tile_rows(f, edge):
                at = (n * self.height + 2 * i - 1) * (self.width * words)
                f.call(transform, {"x": Access("x", at), "v": Access("own", row * words)})
        with f.loop(f.number("k1"), f.number("k0")) as k:
            sums = Access("own", Index(inputs))
            f.call(
                products, {"v": Access("own", Index()), "u": Access("u", k * weights), "sums": sums}, [f.number("sets")]
            )
            for edge, outputs in out:
                for n, i, row in self._tile_rows(f, edge):
                    at = (n * self.height + 2 * i) * (self.width * self.outputs // 2) + k * LANES
                    own = Access("own", row * GROUP + inputs)
                    ends = {"bias": Access("ends", k * GROUP), "least": Access("ends", Index(self.outputs))}
                    f.call(outputs, {"sums": own, "y": Access("y", at), **ends})
        return [products, *(made for _, made in (*into, *out)), f]

    def _tile_rows(self, f: Function, edge: Edge) -> Iterator[tuple[Index, Index, Index]]:
        """Of a task's rows of tiles those at this edge: image, row, and how many of its tiles come before."""
        n0, n1, top, bottom = (f.number(name) for name in ("n0", "n1", "top", "bottom"))
        with (
            f.loop(n1, n0) as n,
            f.loop(Bound("min", (bottom, Index(edge.last))), Bound("max", (top, Index(edge.first)))) as i,
        ):
            yield n, i, (n - n0) * (self.rows * self.columns) + (i - top) * self.columns

    def _transform(self, edge: Edge) -> Function:
        """A row of tiles of `x` as pairs of channels in `v`: position, tile, channel."""
        f = Function(f"transform_{edge.first}", ("x", "v"))
        words = self.words
        for columns in edges(self.width, 1, 4):
            with f.loop(columns.last, columns.first) as j, f.loop(self.inputs // GROUP) as q:
                halves = self._tile(f, words, 2 * j - 1, q, 4, (edge.there, columns.there))
                made = [twice(f, from_inputs, half) for half in halves]
                for p in range(POSITIONS):
                    at = j * words + q * LANES + p * self._steps[1] * LANES
                    f.store_to("v", at, pair(made[0][p], made[1][p]))
        return f

    def _tile(self, f: Function, words: int, column: Index, q: Index, size: int, there: Square) -> list[list[Value]]:
        """Even and odd channels of a group of `x`: a square from `column` on, zeros where nothing is there."""
        halves: list[list[Value]] = [[], []]
        for r, s in product(range(size), repeat=2):
            if r not in there[0] or s not in there[1]:
                halves[0].append(constant(NUMBERS, 0.0))
                halves[1].append(constant(NUMBERS, 0.0))
                continue
            word = f.let(load_from(WORDS, "x", (column + s + r * self.width) * words + q * LANES))
            halves[0].append(bits(word * constant(WORDS, 1 << 16), "f32"))
            halves[1].append(bits(both(word, constant(WORDS, -(1 << 16))), "f32"))
        return halves

    def _products(self) -> Function:
        """`sums` (position, tile, slot) of `v` (position, tile, channel) and a group's `u`."""
        f = Function("products", ("v", "u", "sums"), ("sets",))
        of_weights, of_inputs, of_sums = self._steps
        with f.loop(POSITIONS) as p, f.loop(f.number("sets")) as some:
            tiles = [some * TILES + t for t in range(TILES)]
            sums = [[f.variable(constant(NUMBERS, 0.0)) for _ in range(VECTORS)] for _ in tiles]
            with f.loop(self.words) as c:
                at = p * of_weights + c * VECTORS
                weights = [f.let(load(WORDS, "u", at + v)) for v in range(VECTORS)]
                for own, tile in zip(sums, tiles, strict=True):
                    x = f.let(splat(load(I32, "v", p * (of_inputs * LANES) + tile * self.words + c), LANES))
                    for sum_, w in zip(own, weights, strict=True):
                        f.set(sum_, dot(x, w, sum_.value))
            for own, tile in zip(sums, tiles, strict=True):
                for v, sum_ in enumerate(own):
                    f.store("sums", p * of_sums + tile * VECTORS + v, sum_.value)
        return f

    def _outputs(self, edge: Edge) -> Function:
        """A row of tiles of a group of `y`, from `sums` and `bias` (slots), nowhere below `least`."""
        f = Function(f"outputs_{edge.first}", ("sums", "bias", "least", "y"))
        least = f.let(load_from(NUMBERS, "least", Index()))
        words = self.outputs // 2
        for columns in edges(self.width, 0, 2):
            with f.loop(columns.last, columns.first) as j:
                halves = []
                for v in range(VECTORS):
                    sums = [load(NUMBERS, "sums", j * VECTORS + p * self._steps[2] + v) for p in range(POSITIONS)]
                    bias = f.let(load_from(NUMBERS, "bias", Index(v * LANES)))
                    halves.append([largest(least, y + bias) for y in twice(f, from_products, sums)])
                for r, s in product(edge.there, columns.there):
                    at = (2 * j + s + r * self.width) * words
                    f.store_to("y", at, pair(*(half[2 * r + s] for half in halves)))
        return f

    # -- weights -----------------------------------------------------------------------------------------------

    def weights(self) -> Function:
        """`u` from `w` (outputs, 3, 3, inputs): for groups k0 to k1, position, pair of channels, slot.

        c0 to c1 are groups of inputs. `own` takes half a group turned round, so that lanes are outputs.
        """
        f = Function("weights", ("w", "u", "own"), ("k0", "k1", "c0", "c1"))
        halves_of = f.number("c0") * 2, f.number("c1") * 2
        with f.loop(f.number("k1"), f.number("k0")) as k, f.loop(halves_of[1], halves_of[0]) as c:
            for v in range(VECTORS):
                kernels = [k * GROUP + channel(v * LANES + lane) for lane in range(LANES)]
                for tap in range(TAPS):
                    rows = [load_from(NUMBERS, "w", (own * TAPS + tap) * self.inputs + c * LANES) for own in kernels]
                    for m, row in enumerate(transposed(f, rows)):
                        f.store("own", Index(m * TAPS + tap), row)
                with f.loop(LANES // 2) as two:
                    both_of = [
                        [load(NUMBERS, "own", (2 * two + m) * TAPS + tap) for tap in range(TAPS)] for m in (0, 1)
                    ]
                    self._store_weights(f, k, c * (LANES // 2) + two, v, *both_of)
        return f

    def turned_weights(self) -> Function:
        """`u` of the gradient's convolution, whose kernels are those of `w` (inputs, 3, 3, outputs) turned."""
        f = Function("turned_weights", ("w", "u", "own"), ("k0", "k1", "c0", "c1"))
        words_of = f.number("c0") * LANES, f.number("c1") * LANES
        with f.loop(f.number("k1"), f.number("k0")) as k, f.loop(words_of[1], words_of[0]) as c:
            taps: list[list[list[Value]]] = [[[], []], [[], []]]  # by odd outputs, by inputs
            for m, tap in product(range(2), reversed(range(TAPS))):
                at = ((2 * c + m) * TAPS + tap) * self.outputs + k * GROUP
                one, other = (f.let(load_from(NUMBERS, "w", at + half * LANES)) for half in range(2))
                for part in range(2):
                    taps[part][m].append(f.let(shuffle(one, other, range(part, GROUP, 2))))
            for part in range(2):
                self._store_weights(f, k, c, part, *taps[part])
        return f

    def _store_weights(self, f: Function, k: Index, word: Index, v: int, one: Line, other: Line) -> None:
        """Two kernels, transformed, as a vector of pairs of each position."""
        made = [twice(f, from_kernel, kernel) for kernel in (one, other)]
        for p in range(POSITIONS):
            at = (k * POSITIONS + p) * self._steps[0] + word * VECTORS + v
            f.store("u", at, pair(made[0][p], made[1][p]))


def panel(channels: int) -> int:
    """Channels whose tiles lie together, as many as a gradient is summed for: two groups where that divides them."""
    return GROUP if channels % (2 * GROUP) else 2 * GROUP


@dataclass(frozen=True)
class Gradient(Filtering):
    """The kernels for the gradient of weights. Tiles are multiplied two by two, at most `pairs` of them at a time."""

    pairs: int = 0

    @classmethod
    def within(cls, held: int, inputs: int, outputs: int, height: int, width: int) -> Gradient:
        """With as many pairs as that many bytes hold, whole rows of tiles, and at least one."""
        row = Gradient(inputs, outputs, height, width).pairs_in_row
        rows = held // (4 * POSITIONS * (inputs + outputs) * row)
        return cls(inputs, outputs, height, width, odd(max(1, rows) * row))

    @property
    def sum_bytes(self) -> int:
        """Of the sums over tiles."""
        return 4 * LANES * POSITIONS * self._sum_step

    @property
    def _sum_step(self) -> int:
        """Vectors of a position's sums."""
        return odd(self.outputs * self.inputs // LANES)

    @property
    def panels(self) -> int:
        """Of outputs."""
        return self.outputs // panel(self.outputs)

    @property
    def pairs_in_row(self) -> int:
        """Of tiles; the last may have one tile."""
        return -(-self.columns // 2)

    def transforms(self) -> list[Function]:
        """`gather_tiles`: tiles of `x` as `v` and of `dy` as `d`: position, pair of tiles from `at` on, slot."""
        f = Function("gather_tiles", ("x", "dy", "v", "d"), ("n0", "n1", "top", "bottom", "at"))
        n0, top = f.number("n0"), f.number("top")
        made = []
        for name, source, channels, before, count in (("v", "x", self.inputs, 1, 4), ("d", "dy", self.outputs, 0, 2)):
            for edge in edges(self.height, before, count):
                row_of = self._pairs(f"pairs_{name}_{edge.first}", edge, channels, before, count)
                made.append(row_of)
                for n, i, _ in self._tile_rows(f, edge):
                    at = (n * self.height + 2 * i - before) * (self.width * channels // 2)
                    row = ((n - n0) * self.rows + i - top) * self.pairs_in_row + f.number("at")
                    f.call(row_of, {"x": Access(source, at), "to": Access(name, row * panel(channels))})
        return [*made, f]

    def _pairs(self, name: str, edge: Edge, channels: int, before: int, count: int) -> Function:
        """A row of tiles of `x`, two and two: position, pair, slot."""
        f = Function(name, ("x", "to"))
        columns = edges(self.width, before, count)
        transform = from_inputs if count == 4 else from_outputs
        size = panel(channels)
        for first, last, there in _two_by_two(columns, self.columns):
            with f.loop(last, first) as j, f.loop(channels // size) as k, f.loop(size // GROUP) as part:
                tiles = []
                q = k * (size // GROUP) + part
                for tile in range(2):
                    column = 4 * j + 2 * tile - before
                    halves = self._tile(f, channels // 2, column, q, count, (edge.there, there[tile]))
                    tiles.append([twice(f, transform, half) for half in halves])
                for half, p in product(range(2), range(POSITIONS)):
                    which = k + p * (channels // size)
                    at = (which * self.pairs + j) * size + part * GROUP + half * LANES
                    f.store_to("to", at, pair(tiles[0][half][p], tiles[1][half][p]))
        return f

    def sums(self, begin: bool) -> Function:
        """`sums` (position, slot of outputs, slot of inputs) for position p and panel k of outputs.

        They are over so many pairs of tiles, and begin, or are added to what is there.
        """
        f = Function("first_sums" if begin else "more_sums", ("v", "d", "sums"), ("p", "k", "pairs"))
        p, k = f.number("p"), f.number("k")
        sizes = panel(self.inputs), panel(self.outputs)
        vectors = sizes[0] // LANES
        with f.loop(self.inputs // sizes[0]) as c:
            for first, count in along(f, sizes[1], MAPS[vectors]):
                slots = [k * sizes[1] + first + m for m in range(count)]
                places = [p * self._sum_step + slot * (self.inputs // LANES) + c * vectors for slot in slots]
                zero = constant(NUMBERS, 0.0)
                sums = [
                    [f.variable(zero if begin else load(NUMBERS, "sums", at + v)) for v in range(vectors)]
                    for at in places
                ]
                with f.loop(f.number("pairs")) as t:
                    x_at = (p * (self.inputs // sizes[0]) + c) * self.pairs + t
                    d_at = (p * self.panels + k) * self.pairs + t
                    inputs = [f.let(load(WORDS, "v", x_at * vectors + v)) for v in range(vectors)]
                    for m, own in enumerate(sums):
                        g = f.let(splat(load(I32, "d", d_at * sizes[1] + first + m), LANES))
                        for sum_, x in zip(own, inputs, strict=True):
                            f.set(sum_, dot(g, x, sum_.value))
                for own, at in zip(sums, places, strict=True):
                    for v, sum_ in enumerate(own):
                        f.store("sums", at + v, sum_.value)
        return f

    def kernels(self) -> Function:
        """`dw` (outputs, 3, 3, inputs) of `sums`, for groups k0 to k1 of 32 outputs."""
        f = Function("kernels", ("sums", "dw"), ("k0", "k1"))
        vectors = self.inputs // LANES
        with f.loop(f.number("k1"), f.number("k0")) as k:
            for part in range(2):
                with f.loop(LANES) as lane, f.loop(self.inputs // GROUP) as q:
                    at = (k * GROUP + part * LANES + lane) * vectors + 2 * q
                    sums = [
                        [load(NUMBERS, "sums", at + p * self._sum_step + m) for p in range(POSITIONS)] for m in (0, 1)
                    ]
                    halves = [twice(f, to_kernel, own) for own in sums]
                    for tap in range(TAPS):
                        place = ((k * GROUP + 2 * lane + part) * TAPS + tap) * self.inputs + q * GROUP
                        for m in range(2):
                            order = [lane_ + LANES * h for lane_ in range(8 * m, 8 * m + 8) for h in range(2)]
                            f.store_to("dw", place + m * LANES, shuffle(halves[0][tap], halves[1][tap], order))
        return f


def channel(slot: int) -> int:
    """The channel in a slot."""
    group, rest = divmod(slot, GROUP)
    return group * GROUP + 2 * (rest % LANES) + rest // LANES


def _two_by_two(columns: Sequence[Edge], count: int) -> list[tuple[int, int, Square]]:
    """Pairs of tiles along a row: from, to, and what is there of either; of one behind the last nothing is."""
    there = [edge.there for edge in columns for _ in range(edge.first, edge.last)]
    two = [(there[k], there[k + 1] if k + 1 < count else ()) for k in range(0, count, 2)]
    found: list[tuple[int, int, Square]] = []
    first = 0
    for which, same in groupby(two):
        last = first + len(list(same))
        found.append((first, last, which))
        first = last
    return found


# -- the transforms, along one axis and along both -------------------------------------------------------------


def from_inputs(d: Line) -> list[Value]:
    """B' d. The last one's sign is the paper's turned, here and in A', which leaves their product as it is."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def from_products(m: Line) -> list[Value]:
    """A' m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] + m[3]]


def from_outputs(y: Line) -> list[Value]:
    """A y."""
    return [y[0], y[0] + y[1], y[0] - y[1], y[1]]


def from_kernel(g: Line) -> list[Value]:
    """G g."""
    half = constant(NUMBERS, 0.5)
    ends, middle = (g[0] + g[2]) * half, g[1] * half
    return [g[0], ends + middle, ends - middle, g[2]]


def to_kernel(u: Line) -> list[Value]:
    """G' u."""
    half = constant(NUMBERS, 0.5)
    middle = (u[1] + u[2]) * half
    return [u[0] + middle, (u[1] - u[2]) * half, u[3] + middle]


def twice(f: Function, transform: Callable[[Line], list[Value]], square: Sequence[Value]) -> list[Value]:
    """A transform along the columns and then along the rows of a square; both are given row by row."""
    size = math.isqrt(len(square))
    columns = []
    for k in range(size):
        column = [f.let(value) for value in square[k::size]]
        columns.append([f.let(value) for value in transform(column)])
    return [f.let(value) for row in zip(*columns, strict=True) for value in transform(row)]
