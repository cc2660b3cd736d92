"""The gradient of 3x3 weights by Winograd's filtering, on the transforms and in the words of `winograd.py`.

    dg = G' [sum over tiles of (A dy A') * (B' d B)] G

The sum is over tiles, so the parts of a word are neighbouring tiles of one channel: two in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

from .expressions import Access, Index, Type, Value, constant, load, shuffle, splat
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
    """The kernels for the gradient of weights. A thread has at most so many sets of tiles, a word each, in hand."""

    sets: int = 0

    @classmethod
    def of_rows(cls, rows: int, *sizes: int) -> Gradient:
        """With as many sets as so many rows of tiles have."""
        bare = cls(*sizes)
        return replace(bare, sets=odd(rows * bare.sets_in_row))

    @property
    def own_bytes(self) -> int:
        """What a thread needs for itself: transformed tiles of both volumes."""
        return 4 * POSITIONS * self.sets * (self.inputs + self.outputs)

    @property
    def sum_bytes(self) -> int:
        """Of the sums over some tiles."""
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

    def gradient(self) -> list[Function]:
        """`add_tiles`: the sums over a set of tiles of `x` and `dy` begin a part of `sums`, or are added to it.

        A call is for images n0 to n1, of each the rows of tiles top to bottom, how many `sets` of tiles that makes,
        and panels k0 to k1 of outputs; it `begins` or `goes_on`, which is 1. `own` is first v, then d: position, set,
        slot.
        """
        numbers = ("n0", "n1", "top", "bottom", "sets", "k0", "k1", "part", "begins", "goes_on")
        f = Function("add_tiles", ("x", "dy", "sums", "own"), numbers)
        k0, k1, part = f.number("k0"), f.number("k1"), f.number("part")
        behind = POSITIONS * self.sets * self.inputs
        all_inputs = Index(), Index(self.inputs // panel(self.inputs))
        made = [
            *self._transforms(f, "x", self.inputs, (1, 4), Access("own", Index()), all_inputs),
            *self._transforms(f, "dy", self.outputs, (0, 2), Access("own", Index(behind)), (k0, k1)),
        ]
        for which in ("begins", "goes_on"):
            sums = self._sums(which)
            with f.loop(f.number(which)), f.loop(POSITIONS) as p, f.loop(k1, k0) as k:
                to = Access("sums", part * (self.sum_bytes // 4))
                buffers = {"v": Access("own", Index()), "d": Access("own", Index(behind)), "sums": to}
                f.call(sums, buffers, [p, k, f.number("sets")])
            made.append(sums)
        return [*made, f]

    def _transforms(
        self, f: Function, source: str, channels: int, tile: tuple[int, int], to: Access, panels: tuple[Index, Index]
    ) -> list[Function]:
        """Have the panels of a volume's tiles transformed; tiles begin `before` their outputs, and are `count` wide."""
        n0, top = f.number("n0"), f.number("top")
        before, count = tile
        made = []
        for edge in edges(self.height, before, count):
            row_of = self._sets(f"sets_{source}_{edge.first}", edge, channels, before, count)
            made.append(row_of)
            for n, i, _ in self._tile_rows(f, edge):
                at = (n * self.height + 2 * i - before) * (self.width * channels // self.parts)
                row = ((n - n0) * self.rows + i - top) * (self.sets_in_row * panel(channels))
                f.call(row_of, {"x": Access(source, at), "to": Access(to.buffer, row + to.at)}, panels)
        return made

    def _sets(self, name: str, edge: Edge, channels: int, before: int, count: int) -> Function:
        """A row of tiles of `x`, panels k0 to k1: position, set, slot."""
        f = Function(name, ("x", "to"), ("k0", "k1"))
        columns = edges(self.width, before, count)
        transform = from_inputs if count == 4 else from_outputs
        size = panel(channels)
        for first, last, there in _sets(columns, self.columns, self.parts):
            with f.loop(last, first) as j, f.loop(f.number("k1"), f.number("k0")) as k, f.loop(size // GROUP) as part:
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

    def _sums(self, which: str) -> Function:
        """`sums` (position, slot of outputs, slot of inputs) for position p and panel k of outputs.

        They are over so many sets of tiles, and `begins`, or are added to what is there: it `goes_on`.
        """
        f = Function(f"sums_{which}", ("v", "d", "sums"), ("p", "k", "sets"))
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
                        value = sum_.value if which == "begins" else load(NUMBERS, "sums", at + v) + sum_.value
                        f.store("sums", at + v, value)
        return f

    def kernels(self) -> Function:
        """`dw` (outputs, 3, 3, inputs) of all `parts` of `sums`, for groups k0 to k1 of 32 outputs.

        The sums of all parts are left in the first.
        """
        f = Function("kernels", ("sums", "dw"), ("k0", "k1", "parts"))
        vectors, taken = self.inputs // LANES, GROUP // self.parts
        with f.loop(f.number("k1"), f.number("k0")) as k:
            for part in range(self.parts):
                with f.loop(taken) as slot, f.loop(self.inputs // GROUP) as q:
                    at = (k * GROUP + part * taken + slot) * vectors + VECTORS * q
                    with f.loop(f.number("parts"), 1) as other, f.loop(POSITIONS) as p:
                        for v in range(VECTORS):
                            own, more = at + p * self._sum_step + v, other * (POSITIONS * self._sum_step)
                            f.store("sums", own, load(NUMBERS, "sums", own) + load(NUMBERS, "sums", own + more))
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
