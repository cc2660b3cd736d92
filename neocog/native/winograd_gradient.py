"""The gradient of 3x3 weights by Winograd's filtering, on the transforms and in the words of `winograd.py`.

    dg = G' [sum over tiles of (A dy A') * (B' d B)] G

The sum is over tiles, so the parts of a word are neighbouring tiles of one channel: two in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

from .expressions import Access, Type, Value, constant, load, shuffle, splat
from .kernel import Function
from .layout import along
from .winograd import (
    GROUP,
    LANES,
    NUMBERS,
    POSITIONS,
    TAPS,
    VECTORS,
    Edge,
    Filtering,
    Line,
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
    """The kernels for the gradient of weights. At most so many sets of tiles, a word each, are multiplied at a time."""

    sets: int = 0

    @classmethod
    def of_rows(cls, rows: int, *sizes: int) -> Gradient:
        """With as many sets as so many rows of tiles have."""
        bare = cls(*sizes)
        return replace(bare, sets=odd(rows * bare.sets_in_row))

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
    def sets_in_row(self) -> int:
        """Of tiles; the last may be incomplete."""
        return -(-self.columns // self.parts)

    def transforms(self) -> list[Function]:
        """`gather_tiles`: tiles of `x` as `v` and of `dy` as `d`: position, set of tiles from `at` on, slot."""
        f = Function("gather_tiles", ("x", "dy", "v", "d"), ("n0", "n1", "top", "bottom", "at"))
        n0, top = f.number("n0"), f.number("top")
        made = []
        for name, source, channels, before, count in (("v", "x", self.inputs, 1, 4), ("d", "dy", self.outputs, 0, 2)):
            for edge in edges(self.height, before, count):
                row_of = self._sets(f"sets_{name}_{edge.first}", edge, channels, before, count)
                made.append(row_of)
                for n, i, _ in self._tile_rows(f, edge):
                    at = (n * self.height + 2 * i - before) * (self.width * channels // self.parts)
                    row = ((n - n0) * self.rows + i - top) * self.sets_in_row + f.number("at")
                    f.call(row_of, {"x": Access(source, at), "to": Access(name, row * panel(channels))})
        return [*made, f]

    def _sets(self, name: str, edge: Edge, channels: int, before: int, count: int) -> Function:
        """A row of tiles of `x`: position, set, slot."""
        f = Function(name, ("x", "to"))
        columns = edges(self.width, before, count)
        transform = from_inputs if count == 4 else from_outputs
        size = panel(channels)
        for first, last, there in _sets(columns, self.columns, self.parts):
            with f.loop(last, first) as j, f.loop(channels // size) as k, f.loop(size // GROUP) as part:
                tiles = []
                q = k * (size // GROUP) + part
                for tile, on in enumerate(there):
                    column = 2 * (self.parts * j + tile) - before
                    squares = self._tile(f, channels // self.parts, column, q, count, (edge.there, on))
                    tiles.append([twice(f, transform, square) for square in squares])
                for v, p in product(range(VECTORS), range(POSITIONS)):
                    which = k + p * (channels // size)
                    at = (which * self.sets + j) * size + part * GROUP + v * LANES
                    f.store_to("to", at, self.joined([own[v][p] for own in tiles]))
        return f

    def sums(self, begin: bool) -> Function:
        """`sums` (position, slot of outputs, slot of inputs) for position p and panel k of outputs.

        They are over so many sets of tiles, and begin, or are added to what is there.
        """
        f = Function("first_sums" if begin else "more_sums", ("v", "d", "sums"), ("p", "k", "sets"))
        p, k = f.number("p"), f.number("k")
        sizes = panel(self.inputs), panel(self.outputs)
        vectors, single = sizes[0] // LANES, Type(self.word.kind)
        with f.loop(self.inputs // sizes[0]) as c:
            for first, count in along(f, sizes[1], MAPS[vectors]):
                slots = [k * sizes[1] + first + m for m in range(count)]
                places = [p * self._sum_step + slot * (self.inputs // LANES) + c * vectors for slot in slots]
                sums = [[f.variable(constant(NUMBERS, 0.0)) for _ in range(vectors)] for _ in places]
                with f.loop(f.number("sets")) as t:
                    x_at = (p * (self.inputs // sizes[0]) + c) * self.sets + t
                    d_at = (p * self.panels + k) * self.sets + t
                    inputs = [f.let(load(self.word, "v", x_at * vectors + v)) for v in range(vectors)]
                    for m, own in enumerate(sums):
                        g = f.let(splat(load(single, "d", d_at * sizes[1] + first + m), LANES))
                        for sum_, x in zip(own, inputs, strict=True):
                            f.set(sum_, self.multiplied(g, x, sum_.value))
                for own, at in zip(sums, places, strict=True):
                    for v, sum_ in enumerate(own):
                        f.store("sums", at + v, sum_.value if begin else load(NUMBERS, "sums", at + v) + sum_.value)
        return f

    def kernels(self) -> Function:
        """`dw` (outputs, 3, 3, inputs) of `sums`, for groups k0 to k1 of 32 outputs."""
        f = Function("kernels", ("sums", "dw"), ("k0", "k1"))
        vectors, taken = self.inputs // LANES, GROUP // self.parts
        with f.loop(f.number("k1"), f.number("k0")) as k:
            for part in range(self.parts):
                with f.loop(taken) as slot, f.loop(self.inputs // GROUP) as q:
                    at = (k * GROUP + part * taken + slot) * vectors + VECTORS * q
                    sums = [
                        [load(NUMBERS, "sums", at + p * self._sum_step + v) for p in range(POSITIONS)]
                        for v in range(VECTORS)
                    ]
                    taps = [twice(f, to_kernel, own) for own in sums]
                    for tap, v in product(range(TAPS), range(VECTORS)):
                        place = ((k * GROUP + self.parts * slot + part) * TAPS + tap) * self.inputs + q * GROUP
                        slots = [self._slot(v * LANES + lane) for lane in range(LANES)]
                        f.store_to("dw", place + v * LANES, shuffle(taps[0][tap], taps[1][tap], slots))
        return f

    def _slot(self, channel: int) -> int:
        """Of a channel of a group."""
        return channel % self.parts * (GROUP // self.parts) + channel // self.parts


def _sets(columns: Sequence[Edge], count: int, size: int) -> list[tuple[int, int, tuple[Sequence[int], ...]]]:
    """Sets of tiles along a row: from, to, and what is there of each tile; of one behind the last nothing is."""
    there = [edge.there for edge in columns for _ in range(edge.first, edge.last)] + [()] * (-count % size)
    found = []
    first = 0
    for which, same in groupby(zip(*(there[k::size] for k in range(size)), strict=True)):
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
