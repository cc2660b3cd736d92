"""Classification by score maps: the outputs averaged over all windows of an image and over its scales (fact N4).

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
section 3.2 (dense evaluation at several scales).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.raster import Held
from ..errors import NeocogError
from ..model import Model
from .plane import FIT, Picture, Scale, plane
from .routes import AUTO, Route, route
from .scoremap import ScoreMap, form_of, window_model

BATCH = 100


@dataclass(frozen=True, eq=False)
class Averaging:
    """How images of the training set's size are scored: at some scales of theirs, by a route."""

    model: Model
    route: Route
    scales: tuple[Scale, ...]

    @classmethod
    def of(
        cls, model: Model, scales: Sequence[Scale] = (FIT,), stride: int | None = None, method: str = AUTO
    ) -> Averaging:
        """Raises NeocogError for a network, stride, method or scale that does not do."""
        if not scales:
            raise NeocogError("averaging needs a scale or more")
        model = window_model(model)
        return cls(model, route(form_of(model), stride, method), tuple(scales))

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The outputs (N, K) for images (N, h, w, C), each the mean over scales of the mean over windows.

        Raises DataError for a scale at which they are smaller than a window.
        """
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return np.concatenate([self._of(part) for part in parts])

    def _of(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.asarray(np.mean([self._at(images, scale) for scale in self.scales], axis=0))

    def _at(self, images: NDArray[np.uint8], scale: Scale) -> NDArray[np.float64]:
        planes = [plane(Picture("image", Held(image)), self.model.preprocessing, scale) for image in images]
        cells, form = self.route.cells(planes[0].size), self.route.form
        total = np.zeros((len(images), self.model.network.shapes[-1].channels))
        for one in self.route.passes(cells):
            size = form.sight.at(form.stride).pixels(one.cells)
            part = tuple(slice(begin, begin + n) for begin, n in zip(one.begin, size, strict=True))
            total += form.scores(np.stack([each.read(part) for each in planes])).sum(axis=(2, 3), dtype=np.float64)
        return total / np.prod(cells)


def averaged(maps: Sequence[ScoreMap]) -> NDArray[np.float64]:
    """The outputs (K,) of an image, the mean over its maps of their means."""
    return np.asarray(np.mean([one.scores.mean(axis=(1, 2), dtype=np.float64) for one in maps], axis=0))
