"""A model and an image -> the model's scores for every window of the image, as a map."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.decode import PIXELS
from ..errors import DataError, NeocogError, RunError
from ..losses import LOSSES
from ..model import Model
from ..resources import available_memory
from .form import Form, of_one_cell
from .plane import Picture, Plane, Scale, plane
from .reach import Reach
from .routes import AUTO, Route, route
from .store import Store
from .tiles import MEMORY, Tiling

Volume = NDArray[np.float32]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in the image's own pixels, from 0 at its edge."""
Told = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """The network's outputs `scores` (K, rows, columns) for windows of an image, one stride apart.

    `seconds` is how long it took, reading the image included.
    """

    model: Model
    plane: Plane
    tiling: Tiling
    scores: Volume
    seconds: float

    @property
    def route(self) -> Route:
        """How its stride was reached."""
        return self.tiling.route

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.tiling.cells
        return rows, columns

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's."""
        return self.model.classes

    def posterior(self) -> NDArray[np.float64]:
        """The probability of each class at each cell, (C, rows, columns) (fact A6)."""
        return posterior_of(self.model, self.scores)

    def window(self, row: int, column: int) -> Box:
        """The part of the image that a cell stands for: what a crop of the trained size would show."""
        return self.plane.box(self.route.sight.window_of((row, column)))

    def field(self, row: int, column: int) -> Box:
        """The part of the image that a cell sees: its receptive field, cut at the image's edge."""
        ends = self.route.sight.field_of((row, column))
        return self.plane.box(tuple(slice(low, high + 1) for low, high in ends))

    @cached_property
    def reach(self) -> tuple[Reach, Reach]:
        """Down and across, which cells see padding, and whose."""
        down, across = self.route.reach(self.cells)
        return down, across

    @property
    def border(self) -> NDArray[np.bool_]:
        """Which cells (rows, columns) see padding of any layer."""
        down, across = (one.low | one.high for one in self.reach)
        return np.asarray(down[:, None] | across)

    @property
    def unread(self) -> tuple[int, int]:
        """How many rows below and columns at the right of the plane are left over behind the last whole stride."""
        below, right = (n - m for n, m in zip(self.plane.size, self.route.sight.pixels(self.cells), strict=True))
        return below, right

    @property
    def is_padded(self) -> bool:
        """Whether cells see more than their windows: then crops cut out differ, see `prove.py`."""
        return any(any(side) for side in self.route.form.sight.overlap())

    @property
    def crops(self) -> int:
        """How many crops of the trained size it stands for."""
        return self.cells[0] * self.cells[1]

    @property
    def ratio(self) -> float:
        """The multiply-adds of those crops one by one, over those of the passes that were made."""
        return self.crops * self.model.network.plan().totals["macs"] / self.route.macs(self.cells)


@lru_cache(maxsize=1)
def window_model(model: Model) -> Model:
    """The model for images of one window, which is itself unless its network gives a map. Raises NeocogError.

    Golden answers and a runtime are for images of the model's own size.
    """
    network = of_one_cell(model.network)
    return model if network is model.network else replace(model, network=network, golden=None, runtime=None)


@lru_cache(maxsize=1)
def form_of(model: Model) -> Form:
    """The sliding form of a model. Raises NeocogError for one that has none, or whose weights an export keeps."""
    if model.is_export:
        raise NeocogError("a score map needs the model file: an export computes images of one size")
    return Form.of(model.network, model.weights)


def posterior_of(model: Model, scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (C, ...) of scores (K, ...) at each position."""
    rows = np.moveaxis(scores, 0, -1).reshape(-1, len(scores)).astype(np.float64)
    found = np.asarray(LOSSES[model.loss].posterior(rows), np.float64)
    return np.moveaxis(found.reshape(*scores.shape[1:], -1), -1, 0)


def _untold(done: int, tiles: int) -> None:
    """Nobody listens."""


def score(
    model: Model,
    source: Any,
    *,
    stride: int | None = None,
    scale: Scale = 1.0,
    method: str = AUTO,
    memory: int = MEMORY,
    into: Path | None = None,
    pixels: int = PIXELS,
    told: Told = _untold,
) -> ScoreMap:
    """Score every window of an image, `stride` pixels apart, the network's own stride unless given.

    `source` is a path or bytes (H, W), (H, W, 1) or (H, W, 3) of at most `pixels` pixels; `scale` is how many times as
    large it is made, see `plane.py`; `method` says how a finer stride is reached, see `routes.py`. The work is done in
    tiles whose pass takes `memory` MiB, and with `into`, a `.npy` file, the map is never in memory whole: then `scores`
    are mapped from it. `told` hears of every tile.

    Raises NeocogError for a network, stride, scale or method that does not do, DataError for an image, RunError for a
    map that does not fit into memory or cannot be written.
    """
    begun = perf_counter()
    model = window_model(model)
    form = form_of(model)
    seen = plane(Picture.of(source, pixels), model.preprocessing, scale)
    try:
        way = route(form, stride, method, seen.size)
        cells = way.cells(seen.size)
    except DataError as error:
        raise error.at(seen.picture.name) from None
    tiling = Tiling.of(way, cells, memory)
    blocks = list(tiling.blocks())
    shape = (model.network.shapes[-1].channels, *cells)
    if into is None:
        scores = _room(shape)
        for k, block in enumerate(blocks):
            scores[(slice(None), *block)] = tiling.scores(block, seen.read)
            told(k + 1, len(blocks))
        return ScoreMap(model, seen, tiling, scores, perf_counter() - begun)
    store = Store(into, shape, _work(model, seen, tiling))
    try:
        store.resume(blocks)
        for k, block in enumerate(blocks):
            if k not in store.done:
                store.write(k, block, tiling.scores(block, seen.read))
            told(len(store.done), len(blocks))
        written = np.load(store.finish(), mmap_mode="r")
    finally:
        store.close()
    return ScoreMap(model, seen, tiling, written, perf_counter() - begun)


def _room(shape: tuple[int, ...]) -> Volume:
    """Memory for a map (K, *cells). Raises RunError where it would be more than half of what there is."""
    available, needed = available_memory(), 4 * math.prod(shape)
    if available is not None and 2 * needed > available:
        raise RunError(
            f"a map of {shape[1]:,} x {shape[2]:,} cells with {shape[0]:,} scores takes {needed / 2**30:,.1f} GiB, "
            "which is more than half of the memory",
            hint="-o map.npy, which is written tile by tile",
        )
    return np.empty(shape, np.float32)


def _work(model: Model, seen: Plane, tiling: Tiling) -> dict[str, Any]:
    """What decides a map: the model, the image, the scale and the tiles; as plain values."""
    return {
        "model": model.fingerprint,
        "image": _identity(seen),
        "scale": seen.scale,
        "stride": list(tiling.route.stride),
        "method": tiling.route.method,
        "tiles": list(tiling.side),
    }


def _identity(seen: Plane) -> str:
    """A checksum of the picture's pixels, strip by strip."""
    raster, digest = seen.picture.raster, hashlib.sha256()
    height, width, _ = raster.shape
    step = max(1, 2**22 // width)
    for top in range(0, height, step):
        rows = raster.read(slice(top, min(height, top + step)), slice(0, width))
        digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()
