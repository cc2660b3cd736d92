"""Convolution by 3x3 kernels in fewer products: Winograd's minimal filtering, F(2x2, 3x3).

Lavin and Gray, arXiv 1509.09308, eq. 8: a tile d of 4x4 inputs, each two columns from the next, gives 2x2 outputs

    y = A' [(G g G') * (B' d B)] A

with 16 products where sums over windows take 36. Over channels each of the 16 is a matrix product; both gradients
are transposes of this: dx is the same convolution of dy with the kernel turned, and

    dg = G' [sum over tiles of (A dy A') * (B' d B)] G

Torch's volumes lie channels last, are padded by one zero, and are words of 32 bits: a channel in single precision, or
two neighbouring ones in bfloat16, to which what is multiplied is rounded once more. Sums are single precision. Low and
high halves of a vector of words are the even and the odd channels, so that nothing need be shuffled: where kernels say
slots, of 32 channels in bfloat16 the even ones come first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import NamedTuple

from ..layers.conv import MOST_TILES
from .expressions import (
    Access,
    Bound,
    Index,
    Type,
    Value,
    bits,
    both,
    constant,
    dot,
    fma,
    largest,
    load,
    load_from,
    pair,
    shuffle,
    splat,
)
from .kernel import Function
from .weight_gradient import transposed

LANES = 16
WORDS, NUMBERS = Type("i32", LANES), Type("f32", LANES)
GROUP, VECTORS = 2 * LANES, 2
"""Channels that are in hand at once, as so many vectors of numbers."""
POSITIONS, TAPS = 16, 9
TURNING_BYTES = 4 * TAPS * LANES * LANES
"""What a thread needs for itself to transform weights."""
TILES = 14
"""For each of which a group of outputs is summed at once: 28 sums, two vectors of weights and one input's copies."""


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
    """The kernels for volumes of height x width, from `inputs` to `outputs` channels, `parts` of them in a word."""

    inputs: int
    outputs: int
    height: int
    width: int
    parts: int

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
        return self.inputs // self.parts

    @property
    def word(self) -> Type:
        """A vector of words."""
        return WORDS if self.parts == 2 else NUMBERS

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
                    at = (n * self.height + 2 * i) * (self.width * self.outputs // self.parts) + k * self._group
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
        """A row of tiles of `x` in `v`: position, tile, channel."""
        f = Function(f"transform_{edge.first}", ("x", "v"))
        for columns in edges(self.width, 1, 4):
            with f.loop(columns.last, columns.first) as j, f.loop(self.inputs // GROUP) as q:
                squares = self._tile(f, self.words, 2 * j - 1, q, 4, (edge.there, columns.there))
                made = [twice(f, from_inputs, square) for square in squares]
                for p in range(POSITIONS):
                    at = j * self.words + q * self._group + p * self._steps[1] * LANES
                    self._put(f, "v", at, [own[p] for own in made])
        return f

    @property
    def _group(self) -> int:
        """Words of a group."""
        return GROUP // self.parts

    def _tile(self, f: Function, words: int, column: Index, q: Index, size: int, there: Square) -> list[list[Value]]:
        """A group of `x` by slots: of each vector a square from `column` on, zeros where nothing is there."""
        squares: list[list[Value]] = [[], []]
        for r, s in product(range(size), repeat=2):
            if r in there[0] and s in there[1]:
                vectors = self._taken(f, "x", (column + s + r * self.width) * words + q * self._group)
            else:
                vectors = [constant(NUMBERS, 0.0)] * VECTORS
            for square, vector in zip(squares, vectors, strict=True):
                square.append(vector)
        return squares

    def _taken(self, f: Function, buffer: str, at: Index) -> list[Value]:
        """A group from a word on, by slots."""
        if self.parts == 1:
            return [f.let(load_from(NUMBERS, buffer, at + v * LANES)) for v in range(VECTORS)]
        word = f.let(load_from(WORDS, buffer, at))
        return [bits(word * constant(WORDS, 1 << 16), "f32"), bits(both(word, constant(WORDS, -(1 << 16))), "f32")]

    def _put(self, f: Function, buffer: str, at: Index, vectors: Line) -> None:
        """Write a group's slots from a word on."""
        for v in range(VECTORS // self.parts):
            f.store_to(buffer, at + v * LANES, self.joined(vectors[v * self.parts : (v + 1) * self.parts]))

    def joined(self, vectors: Line) -> Value:
        """Words of their parts."""
        return pair(*vectors) if self.parts == 2 else vectors[0]

    def multiplied(self, a: Value, b: Value, c: Value) -> Value:
        """Sums c with the products of words' parts."""
        return dot(a, b, c) if self.parts == 2 else fma(a, b, c)

    def _products(self) -> Function:
        """`sums` (position, tile, slot) of `v` (position, tile, channel) and a group's `u`."""
        f = Function("products", ("v", "u", "sums"), ("sets",))
        of_weights, of_inputs, of_sums = self._steps
        single = Type(self.word.kind)
        with f.loop(POSITIONS) as p, f.loop(f.number("sets")) as some:
            tiles = [some * TILES + t for t in range(TILES)]
            sums = [[f.variable(constant(NUMBERS, 0.0)) for _ in range(VECTORS)] for _ in tiles]
            with f.loop(self.words) as c:
                at = p * of_weights + c * VECTORS
                weights = [f.let(load(self.word, "u", at + v)) for v in range(VECTORS)]
                for own, tile in zip(sums, tiles, strict=True):
                    x = f.let(splat(load(single, "v", p * (of_inputs * LANES) + tile * self.words + c), LANES))
                    for sum_, w in zip(own, weights, strict=True):
                        f.set(sum_, self.multiplied(x, w, sum_.value))
            for own, tile in zip(sums, tiles, strict=True):
                for v, sum_ in enumerate(own):
                    f.store("sums", p * of_sums + tile * VECTORS + v, sum_.value)
        return f

    def _outputs(self, edge: Edge) -> Function:
        """A row of tiles of a group of `y`, from `sums` and `bias` (slots), nowhere below `least`."""
        f = Function(f"outputs_{edge.first}", ("sums", "bias", "least", "y"))
        least = f.let(load_from(NUMBERS, "least", Index()))
        words = self.outputs // self.parts
        for columns in edges(self.width, 0, 2):
            with f.loop(columns.last, columns.first) as j:
                squares = []
                for v in range(VECTORS):
                    sums = [load(NUMBERS, "sums", j * VECTORS + p * self._steps[2] + v) for p in range(POSITIONS)]
                    bias = f.let(load_from(NUMBERS, "bias", Index(v * LANES)))
                    squares.append([largest(least, y + bias) for y in twice(f, from_products, sums)])
                for r, s in product(edge.there, columns.there):
                    at = (2 * j + s + r * self.width) * words
                    self._put(f, "y", at, [square[2 * r + s] for square in squares])
        return f

    # -- weights -----------------------------------------------------------------------------------------------

    def weights(self) -> Function:
        """`u` from `w` (outputs, 3, 3, inputs): for groups k0 to k1, position, word of channels, slot.

        c0 to c1 are groups of inputs. `own` takes half a group turned round, so that lanes are outputs.
        """
        f = Function("weights", ("w", "u", "own"), ("k0", "k1", "c0", "c1"))
        halves_of = f.number("c0") * 2, f.number("c1") * 2
        with f.loop(f.number("k1"), f.number("k0")) as k, f.loop(halves_of[1], halves_of[0]) as c:
            for v in range(VECTORS):
                kernels = [k * GROUP + self.channel(v * LANES + lane) for lane in range(LANES)]
                for tap in range(TAPS):
                    rows = [load_from(NUMBERS, "w", (own * TAPS + tap) * self.inputs + c * LANES) for own in kernels]
                    for m, row in enumerate(transposed(f, rows)):
                        f.store("own", Index(m * TAPS + tap), row)
                with f.loop(LANES // self.parts) as word:
                    places = [word * self.parts + m for m in range(self.parts)]
                    of_word = [[load(NUMBERS, "own", at * TAPS + tap) for tap in range(TAPS)] for at in places]
                    self._store_weights(f, k, c * (LANES // self.parts) + word, v, of_word)
        return f

    def turned_weights(self) -> Function:
        """`u` of the gradient's convolution, whose kernels are those of `w` (inputs, 3, 3, outputs) turned."""
        f = Function("turned_weights", ("w", "u", "own"), ("k0", "k1", "c0", "c1"))
        words_of = f.number("c0") * self._group, f.number("c1") * self._group
        with f.loop(f.number("k1"), f.number("k0")) as k, f.loop(words_of[1], words_of[0]) as c:
            taps: list[list[list[Value]]] = [[[] for _ in range(self.parts)] for _ in range(VECTORS)]
            for m, tap in product(range(self.parts), reversed(range(TAPS))):
                at = ((self.parts * c + m) * TAPS + tap) * self.outputs + k * GROUP
                one, other = (f.let(load_from(NUMBERS, "w", at + v * LANES)) for v in range(VECTORS))
                for v, kernels in enumerate(taps):
                    slots = range(v * LANES, (v + 1) * LANES)
                    kernels[m].append(f.let(shuffle(one, other, [self.channel(slot) for slot in slots])))
            for v, kernels in enumerate(taps):
                self._store_weights(f, k, c, v, kernels)
        return f

    def _store_weights(self, f: Function, k: Index, word: Index, v: int, kernels: Sequence[Line]) -> None:
        """The kernels of a word's parts, transformed, as a vector of words of each position."""
        made = [twice(f, from_kernel, kernel) for kernel in kernels]
        for p in range(POSITIONS):
            at = (k * POSITIONS + p) * self._steps[0] + word * VECTORS + v
            f.store("u", at, self.joined([own[p] for own in made]))

    def channel(self, slot: int) -> int:
        """The channel in a slot."""
        group, rest = divmod(slot, GROUP)
        return group * GROUP + (rest % self._group) * self.parts + rest // self._group


# -- the transforms, along one axis and along both -------------------------------------------------------------


def from_inputs(d: Line) -> list[Value]:
    """B' d. The last one's sign is the paper's turned, here and in A', which leaves their product as it is."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[3] - d[1]]


def from_products(m: Line) -> list[Value]:
    """A' m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] + m[3]]


def from_kernel(g: Line) -> list[Value]:
    """G g."""
    half = constant(g[0].type, 0.5)
    ends, middle = (g[0] + g[2]) * half, g[1] * half
    return [g[0], ends + middle, ends - middle, g[2]]


def twice(f: Function, transform: Callable[[Line], list[Value]], square: Sequence[Value]) -> list[Value]:
    """A transform along the columns and then along the rows of a square; both are given row by row."""
    size = math.isqrt(len(square))
    columns = []
    for k in range(size):
        column = [f.let(value) for value in square[k::size]]
        columns.append([f.let(value) for value in transform(column)])
    return [f.let(value) for row in zip(*columns, strict=True) for value in transform(row)]
