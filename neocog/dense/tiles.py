"""A plane scored tile by tile: tiles overlap by what their cells see of each other, so that no cell sees a tile's end.

A tile is a block of the map's cells, whole strides of the network along each axis. For it the pixels are read that its
cells see, in whole strides too, as far as there are any; cells that see the end of what was read are dropped, unless it
is the plane's own. So every cell is computed from what it would be in one pass over all, and the map has no seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..spelling import Dims
from .routes import Pass, Route

Volume = NDArray[np.float32]
Block = tuple[slice, ...]
Read = Callable[[Block], Volume]
"""Preprocessed pixels (C, *part) of a part of a plane."""

MEMORY = 1024
"""MiB that a tile's pass may take beyond what classifying one image takes."""


@dataclass(frozen=True, eq=False)
class Tiling:
    """How a map is cut into blocks, `side` groups of cells along each axis; `bytes` is what a block's pass holds."""

    route: Route
    cells: Dims
    side: Dims
    bytes: int

    @classmethod
    def of(cls, route: Route, cells: Dims, memory: int = MEMORY) -> Tiling:
        """The largest tiles whose pass takes `memory` MiB at most; one tile where all fits, and never less than a
        single stride.
        """
        groups = tuple(-(-n // g) for n, g in zip(cells, route.group, strict=True))
        spare = memory * 2**20 + route.form.network.plan().memory["inference_bytes"]

        def needed(side: int) -> int:
            return cls(route, cells, tuple(min(side, n) for n in groups), 0).largest()

        low, high = 1, max(groups)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if needed(middle) <= spare else (low, middle - 1)
        side = tuple(-(-n // -(-n // low)) for n in groups)  # as many tiles, of equal size
        return cls(route, cells, side, cls(route, cells, side, 0).largest())

    def largest(self) -> int:
        """The bytes of the pass of a tile that has neighbours on all sides, or all there is."""
        before, after = self.route.form.sight.overlap()
        factor = self.route.form.factor
        extents = zip(self.side, before, after, self.cells, factor, self.route.shifts, strict=True)
        own = tuple(min((side + b + a) * f, -(-n // s)) for side, b, a, n, f, s in extents)
        return self.route.form.bytes(own)

    def blocks(self) -> Iterator[Block]:
        """The tiles, row by row, as parts of the map."""
        steps = [side * group for side, group in zip(self.side, self.route.group, strict=True)]
        places = [range(0, n, step) for n, step in zip(self.cells, steps, strict=True)]
        for begin in product(*places):
            yield tuple(slice(b, min(b + step, n)) for b, step, n in zip(begin, steps, self.cells, strict=True))

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return sum(1 for _ in self.blocks())

    def scores(self, block: Block, read: Read) -> Volume:
        """The map's part (K, *block), from what `read` gives of the plane."""
        found: Volume | None = None
        for one in self.route.passes(self.cells):
            own = _own(one, block)
            if any(part.stop <= part.start for part in own):
                continue
            y = self._pass(one, own, read)
            if found is None:
                found = np.empty((len(y), *(part.stop - part.start for part in block)), np.float32)
            found[(slice(None), *(slice(a, None, s) for a, s in zip(one.first, one.every, strict=True)))] = y
        return found if found is not None else np.empty((0,), np.float32)

    def _pass(self, one: Pass, own: Block, read: Read) -> Volume:
        """A pass's cells `own` (K, *own), of which it computes a few more around."""
        form = self.route.form
        before, after = form.sight.overlap()
        sides = zip(own, before, after, form.factor, one.cells, strict=True)
        around = [(max(0, part.start - b * f), min(n, part.stop + a * f)) for part, b, a, f, n in sides]
        pixels = tuple(
            slice(begin + low * n, begin + (high - 1) * n + w)
            for begin, (low, high), n, w in zip(one.begin, around, form.stride, form.sight.window, strict=True)
        )
        y = form.scores(read(pixels)[None])[0]
        kept = tuple(slice(part.start - low, part.stop - low) for part, (low, _) in zip(own, around, strict=True))
        part: Volume = y[(slice(None), *kept)]
        return part


def _own(one: Pass, block: Sequence[slice]) -> Block:
    """Which of a pass's cells lie in a block of the map, whose ends are whole groups of cells."""
    sides = zip(block, one.first, one.every, one.cells, strict=True)
    return tuple(slice(-(-(part.start - a) // s), min(n, -(-(part.stop - a) // s))) for part, a, s, n in sides)
