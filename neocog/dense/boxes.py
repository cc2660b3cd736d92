"""Score maps -> boxes with a class and a score, in the image's own pixels; maps of several scales together.

    cells     every cell whose likeliest class has the threshold's probability gives the box of its window; of boxes
              that overlap by more than half (intersection over union), the best stays
    regions   touching cells of one likeliest class with that probability are one box: that of the squares, one stride
              wide, in the middle of their windows; for things larger than a window

A class of nothing (`background`) is no object.

Source: non-maximum suppression as in Felzenszwalb et al., "Object detection with discriminatively trained part based
models", PAMI 2010, section 7.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from .scoremap import Box, ScoreMap, posterior_of

CELLS, REGIONS = "cells", "regions"
WAYS = (CELLS, REGIONS)
OVERLAP = 0.5
MOST = 20_000
"""Boxes of an image that are considered: the best."""
STRIP = 2**20
"""Cells whose probabilities are worked out at once."""


@dataclass(frozen=True)
class Found:
    """An object: its class, that class' probability, where it is, and at which scale of the image it was seen."""

    name: str
    score: float
    box: Box
    scale: float

    def as_json(self) -> dict[str, Any]:
        """Plain values; the box as left, top, right, bottom."""
        return {"class": self.name, "score": self.score, "box": list(self.box), "scale": self.scale}


def boxes(
    maps: Sequence[ScoreMap],
    threshold: float,
    way: str = CELLS,
    background: str | None = None,
    overlap: float = OVERLAP,
) -> list[Found]:
    """What maps of one image show, best first. `threshold` is a probability, from 0 to 1.

    Raises NeocogError for a threshold, way or class that is none.
    """
    if not 0 <= threshold <= 1:
        raise NeocogError("a threshold is a probability, from 0 to 1", received=f"{threshold:g}")
    if way not in WAYS:
        raise NeocogError(f"boxes are made of {' or '.join(WAYS)}", received=f"{way[:40]!r}")
    if background is not None and background not in maps[0].classes:
        raise NeocogError("there is no such class", received=background, hint=", ".join(maps[0].classes)[:120])
    found = [one for each in maps for one in _of_map(each, threshold, way, background)]
    return suppressed(sorted(found, key=lambda one: -one.score)[:MOST], overlap)


def _of_map(one: ScoreMap, threshold: float, way: str, background: str | None) -> list[Found]:
    rows, columns, kinds, scores = _candidates(one, threshold, background)
    if way == REGIONS:
        return list(_regions(one, rows, columns, kinds, scores))
    return [
        Found(one.classes[kind], float(score), one.window(int(row), int(column)), one.plane.scale)
        for row, column, kind, score in zip(rows, columns, kinds, scores, strict=True)
    ]


def _candidates(one: ScoreMap, threshold: float, background: str | None) -> tuple[NDArray[Any], ...]:
    """Row, column, class and probability, each (n,), of the cells that are above the threshold: the best `MOST`."""
    parts = []
    step = max(1, STRIP // one.cells[1])
    for top in range(0, one.cells[0], step):
        shares = posterior_of(one.model, np.asarray(one.scores[:, top : top + step]))
        kinds, best = shares.argmax(axis=0), shares.max(axis=0)
        kept = best >= threshold
        if background is not None:
            kept &= kinds != one.classes.index(background)
        rows, columns = np.nonzero(kept)
        parts.append((rows + top, columns, kinds[kept], best[kept]))
    rows, columns, kinds, best = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-best, kind="stable")[:MOST]
    return rows[order], columns[order], kinds[order], best[order]


def _regions(
    one: ScoreMap, rows: NDArray[Any], columns: NDArray[Any], kinds: NDArray[Any], scores: NDArray[Any]
) -> Iterator[Found]:
    """Touching cells of a class as one box each. The number of cells counts, not the map's size."""
    sight = one.route.sight
    inset = [(w - j) // 2 for w, j in zip(sight.window, sight.jump, strict=True)]
    for kind in np.unique(kinds):
        mine = kinds == kind
        places = zip(rows[mine].tolist(), columns[mine].tolist(), strict=True)
        best = dict(zip(places, scores[mine].tolist(), strict=True))
        for group in _touching(best):
            ends = zip(map(min, zip(*group, strict=True)), map(max, zip(*group, strict=True)), strict=True)
            part = tuple(
                slice(low * j + i, high * j + i + j) for (low, high), i, j in zip(ends, inset, sight.jump, strict=True)
            )
            score = max(best[place] for place in group)
            yield Found(one.classes[int(kind)], score, one.plane.box(part), one.plane.scale)


def _touching(places: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Places in groups of those that touch, diagonals included."""
    left = set(places)
    while left:
        group = [left.pop()]
        for row, column in group:  # which grows while it is gone through
            around = left.intersection(product((row - 1, row, row + 1), (column - 1, column, column + 1)))
            left -= around
            group += sorted(around)
        yield group


def suppressed(found: Sequence[Found], overlap: float = OVERLAP) -> list[Found]:
    """Of boxes that overlap by more than that, the best; best first. A window shows one thing, whatever its class."""
    ordered = sorted(found, key=lambda one: -one.score)
    corners = np.array([one.box for one in ordered]).reshape(-1, 4)
    left = np.ones(len(ordered), bool)
    kept: list[Found] = []
    for k, one in enumerate(ordered):
        if left[k]:
            kept.append(one)
            left[k:] &= _overlaps(corners[k], corners[k:]) <= overlap
    return kept


def _overlaps(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box with others (n, 4)."""
    shared = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    common = np.clip(shared, 0, None).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1) + (one[2:] - one[:2]).prod()
    return np.asarray(common / np.maximum(areas - common, 1e-12))
