"""Is a score map what crops one by one would give? Said by arithmetic for every cell, and measured.

Three statements, each with the cells that it is about:

1. A cell that sees no padding has the scores of its crop *with its surroundings*: of a part of the image large enough
   for all that the cell sees, scored by itself. So nothing else in the image, and no tile, shift or dilation, matters.
2. A cell at the border sees the zeros that layers pad with. Which cells those are, and whose padding they see, follows
   from the plan. It has the scores of its crop with its surroundings as far as the image goes, scored by themselves
   with the image's edge as theirs.
3. A crop *cut out*, scored by the network as it was trained, has the layers' padding at its own four edges, where the
   map has the image's next pixels. Where a crop of the trained size sees no padding (all P=0), its scores are the
   cell's, at every cell. Where it does, they differ, in nearly all networks everywhere; by how much is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuts import NONE
from .reach import Marks, reach
from .scoremap import ScoreMap
from .tiles import Tiling

TOLERANCE, SHARE = 1e-4, 1e-6
"""The largest difference that counts as rounding; or that share of the largest score, where it is more."""
MOST = 1024
"""Crops that are compared, evenly over the map; all where there are fewer."""
EDGES = 64
"""Groups of cells at the border that are compared, evenly."""
BATCH = 16

Cells = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """Cells against crops: `said` must be equal by arithmetic; of those, `crops` were compared."""

    said: int
    crops: int
    difference: float
    """The largest of a score."""


@dataclass(frozen=True)
class Proof:
    """What is said of a map's cells, and what was measured; differences are absolute, of scores."""

    cells: int
    inside: Compared
    """Cells that see no padding, against their crops with their surroundings."""
    edge: Compared
    """Cells that see padding, against theirs as far as the image goes."""
    seen_by: tuple[tuple[str, int, int], ...]
    """Each layer whose padding cells see: its name, its cells, and how many of them see nobody else's before it."""
    padded: tuple[str, ...]
    """The layers whose padding a crop of the trained size sees."""
    equal: Compared
    """Cells whose crop, cut out, sees no padding that they do not."""
    alone: Compared
    """All cells against their crops cut out: `difference` is no error where those see padding."""
    within: int
    """Of the crops cut out, how many agree to the tolerance."""
    same_class: int
    """Of the crops cut out, how many have the cell's likeliest class."""
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether all that must be equal is."""
        return max(one.difference for one in (self.inside, self.edge, self.equal)) <= self.tolerance

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "holds": self.holds,
            "tolerance": self.tolerance,
            "cells": self.cells,
            "inside": vars(self.inside),
            "edge": vars(self.edge),
            "padding_seen": [{"layer": name, "cells": n, "first": first} for name, n, first in self.seen_by],
            "crop_sees_padding_of": list(self.padded),
            "equal_cut_out": vars(self.equal),
            "cut_out": {**vars(self.alone), "within": self.within, "same_class": self.same_class},
        }


def prove(found: ScoreMap) -> Proof:
    """Compare a map with crops."""
    border, equal = found.border, _equal_alone(found)
    largest = max(float(found.scores.max()), -float(found.scores.min()))
    inside = _chosen(~border)
    near = [_differences(found, part, _with_surroundings(found, part)) for part in _batches(inside)]
    everywhere = _chosen(np.ones(found.cells, bool))
    if (some := _chosen(equal)).size:
        everywhere = np.unique(np.concatenate([everywhere, some]), axis=0)
    cut_out = [(part, _cut_out(found, part)) for part in _batches(everywhere)]
    apart = np.concatenate([_differences(found, part, scores) for part, scores in cut_out])
    same = sum(
        int((found.scores[:, part[:, 0], part[:, 1]].argmax(axis=0) == scores.argmax(axis=1)).sum())
        for part, scores in cut_out
    )
    must = equal[everywhere[:, 0], everywhere[:, 1]]
    tolerance = max(TOLERANCE, SHARE * largest)
    return Proof(
        found.crops,
        Compared(int((~border).sum()), len(inside), float(np.concatenate([[0.0], *near]).max())),
        _at_the_edge(found, border),
        tuple(_by_layer(found)),
        _crop_padding(found),
        Compared(int(equal.sum()), int(must.sum()), float(apart[must].max(initial=0.0))),
        Compared(found.crops, len(everywhere), float(apart.max(initial=0.0))),
        int((apart <= tolerance).sum()),
        same,
        tolerance,
    )


def _chosen(cells: Marks, most: int = MOST) -> Cells:
    """At most so many of the cells that are marked, as (row, column), evenly; of a large map no list of all is made."""
    ends = np.concatenate([[0], cells.sum(axis=1).cumsum()])  # how many are marked before each row, and in all
    count = int(ends[-1])
    wanted = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    rows = np.searchsorted(ends, wanted, side="right") - 1
    columns = [np.flatnonzero(cells[row])[k] for row, k in zip(rows, wanted - ends[rows], strict=True)]
    return np.stack([rows, np.array(columns, np.int64)], axis=1)


def _batches(cells: Cells) -> Iterator[Cells]:
    for start in range(0, len(cells), BATCH):
        yield cells[start : start + BATCH]


def _differences(found: ScoreMap, cells: Cells, scores: Numbers) -> Numbers:
    """For each cell the largest difference of a score to those given (n, K)."""
    own = found.scores[:, cells[:, 0], cells[:, 1]].T.astype(np.float64)
    return np.asarray(np.abs(own - scores).max(axis=1))


def _with_surroundings(found: ScoreMap, cells: Cells) -> Numbers:
    """The scores (n, K) of what each cell sees, each part of the image by itself, in whole strides of the network."""
    form, route = found.route.form, found.route
    base = form if not form.cuts.at else type(form)(form.network, form.weights, form.sight, form.codes, (1, 1))
    before, after = base.sight.overlap()
    size = base.sight.pixels(tuple(b + 1 + a for b, a in zip(before, after, strict=True)))
    parts = []
    for cell in cells:
        corner = [int(k) * n - b * j for k, n, b, j in zip(cell, route.stride, before, base.sight.jump, strict=True)]
        parts.append(found.plane.read(tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))))
    return base.scores(np.stack(parts))[:, :, before[0], before[1]].astype(np.float64)


def _at_the_edge(found: ScoreMap, border: Marks) -> Compared:
    """Cells that see padding against the part of the image that they see, group by group of one network stride."""
    groups = Tiling(found.route, found.cells, (1, 1), 0)
    crops, largest = 0, 0.0
    for place in np.unique(_chosen(border, EDGES) // found.route.group, axis=0):
        block = tuple(
            slice(int(k) * g, min((int(k) + 1) * g, n))
            for k, g, n in zip(place, found.route.group, found.cells, strict=True)
        )
        marked = border[block]
        apart = np.abs(groups.scores(block, found.plane.read) - found.scores[(slice(None), *block)]).max(axis=0)
        crops += int(marked.sum())
        largest = max(largest, float(apart[marked].max(initial=0.0)))
    return Compared(int(border.sum()), crops, largest)


def _cut_out(found: ScoreMap, cells: Cells) -> Numbers:
    """The scores (n, K) of each cell's crop by the network as it is."""
    sight = found.route.sight
    parts = [found.plane.read(sight.window_of([int(k) for k in cell])) for cell in cells]
    return found.model.scores(np.stack(parts)).astype(np.float64)


def _equal_alone(found: ScoreMap) -> Marks:
    """Which cells (rows, columns) have the scores of their crop cut out, by arithmetic.

    Along each axis and towards each side: where the crop sees no padding, or where the pass that gave the cell ends
    where the crop does.
    """
    down, across = (_axis_equal(found, axis) for axis in (0, 1))
    return np.asarray(down[:, None] & across)


def _axis_equal(found: ScoreMap, axis: int) -> Marks:
    network, route, count = found.model.network, found.route, found.cells[axis]
    crop = reach(network, axis, NONE, 0, network.input_shape.spatial[axis])
    cells, shifts = np.arange(count), route.shifts[axis]
    cut = route.form.factor[axis] > 1
    begins = cells == 0 if cut else cells < shifts
    ends = np.zeros(count, bool) if cut else cells >= count - shifts
    low_equal = begins if crop.low[0] else np.ones(count, bool)
    return low_equal & (ends if crop.high[0] else np.ones(count, bool))


def _crop_padding(found: ScoreMap) -> tuple[str, ...]:
    network = found.model.network
    seen = [reach(network, axis, NONE, 0, network.input_shape.spatial[axis]) for axis in (0, 1)]
    names = {name for one in seen for side in (one.before, one.behind) for name, marks in side.items() if marks[0]}
    return tuple(node.name for node in network.nodes if node.name in names)


def _by_layer(found: ScoreMap) -> Iterator[tuple[str, int, int]]:
    """In running order: each layer whose padding is seen, by how many cells, and by how many that see none before."""
    down, across = found.reach
    nothing = (np.zeros(found.cells[0], bool), np.zeros(found.cells[1], bool))
    seen = np.zeros(found.cells, bool)
    for node in found.route.form.network.nodes:
        rows, columns = (
            one.before.get(node.name, none) | one.behind.get(node.name, none)
            for one, none in zip((down, across), nothing, strict=True)
        )
        cells = rows[:, None] | columns
        if cells.any():
            name = "the image's end" if not node.inputs else f"{node.name} {node.layer}"
            yield name, int(cells.sum()), int((cells & ~seen).sum())
            seen |= cells
