"""The gradient of 3x3 weights by Winograd's filtering, on the transforms and in the words of `winograd.py`.

    dg = G' [sum over tiles of (A dy A') * (B' d B)] G

The sum is over tiles, so pairs of bfloat16 are two neighbouring tiles of one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product

from .expressions import I32, Access, Value, constant, dot, load, pair, shuffle, splat
from .kernel import Function
from .layout import along
from .winograd import (
    GROUP,
    LANES,
    NUMBERS,
    POSITIONS,
    TAPS,
    WORDS,
    Edge,
    Filtering,
    Line,
    Square,
    edges,
    from_inputs,
    odd,
    twice,
)

MAPS = {4: 6, 2: 11}
"""Maps of outputs for each of which the gradient of so many vectors of weights is summed at once."""


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


def from_outputs(y: Line) -> list[Value]:
    """A y."""
    return [y[0], y[0] + y[1], y[0] - y[1], y[1]]


def to_kernel(u: Line) -> list[Value]:
    """G' u."""
    half = constant(NUMBERS, 0.5)
    middle = (u[1] + u[2]) * half
    return [u[0] + middle, (u[1] - u[2]) * half, u[3] + middle]
