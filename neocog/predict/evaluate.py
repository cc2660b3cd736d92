"""How good a model is on a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import DataError
from ..losses import LOSSES
from ..model import Model
from ..network import Network
from ..statistics import Calibration, Interval, calibration, confusion_matrix, scores_by_class, share_interval
from ..views import NONE, Views
from .classify import class_scores

BATCH = 500
VOLUME_BYTES = 2**29


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Counts over a data set: `confusion[true, predicted]` (K, K), the mean of the model's own loss, calibration."""

    dataset: str
    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    right_in_five: int
    loss: float
    calibration: Calibration

    @property
    def count(self) -> int:
        """How many images were classified, each once."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """The share of images whose likeliest class is right."""
        return float(np.trace(self.confusion) / self.count)

    @property
    def top5(self) -> float:
        """The share of images whose right class is among the five likeliest."""
        return self.right_in_five / self.count

    @property
    def interval(self) -> Interval:
        """Where `top1` lies with 95 % confidence, for images like these (Wilson)."""
        return share_interval(int(np.trace(self.confusion)), self.count)

    def per_class(self) -> list[dict[str, Any]]:
        """For each class its images, recall (share of them found), precision and F1; None where there are none."""
        return [
            {"class": name, "images": one.support, "recall": one.recall, "precision": one.precision, "f1": one.f1}
            for name, one in zip(self.classes, scores_by_class(self.confusion), strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "data": self.dataset,
            "images": self.count,
            "top1": self.top1,
            "interval": list(self.interval),
            "top5": self.top5,
            "loss": self.loss,
            "ece": self.calibration.ece,
            "nll": self.calibration.nll,
            "per_class": self.per_class(),
            "confusion": self.confusion.tolist(),
        }


Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""A model's outputs (N, K) for images (N, h, w, C)."""


def evaluate(model: Model, dataset: Dataset, tta: str = NONE, scorer: Scorer | None = None) -> Evaluation:
    """Classify every image of a data set once, by the views that `tta` asks for: see `neocog.views`.

    A `scorer` of the model gives the outputs in their place, as `neocog.dense.Averaging` does.

    Raises DataError when its images or classes are not those the model was made for.
    """
    return judged(model, dataset, scores_of(model, dataset, tta, scorer))


def scores_of(model: Model, dataset: Dataset, tta: str = NONE, scorer: Scorer | None = None) -> NDArray[np.float64]:
    """The scores (N, K) of every image. Raises DataError as `evaluate`."""
    source, channels = model.preprocessing.source, model.preprocessing.channels
    if dataset.images.shape[1:] != (*source, channels):
        height, width, own = dataset.images.shape[1:]
        raise DataError(
            f"the model was made for images of {source[0]}x{source[1]}x{channels}",
            where=dataset.name,
            received=f"images of {height}x{width}x{own}",
        )
    if dataset.classes != model.classes:
        raise DataError(
            "the data's classes are not the model's",
            where=dataset.name,
            received=", ".join(dataset.classes)[:120],
            hint=f"data with the classes {', '.join(model.classes)}"[:160],
        )
    views, batch = Views.parse(tta), at_once(model.network)
    score = scorer or (lambda images: class_scores(model, images, views))
    return np.concatenate([score(dataset.images[k : k + batch]) for k in range(0, len(dataset), batch)])


def at_once(network: Network) -> int:
    """How many images are classified together: `BATCH`, or as many as have their largest volume in `VOLUME_BYTES`."""
    return max(1, min(BATCH, VOLUME_BYTES // (4 * max(shape.elements for shape in network.shapes))))


def judged(model: Model, dataset: Dataset, scores: NDArray[np.float64]) -> Evaluation:
    """What scores (N, K) of a data set's images are worth."""
    measure, labels, total, chunks = LOSSES[model.loss], dataset.labels, 0.0, []
    for k in range(0, len(dataset), BATCH):
        part = slice(k, k + BATCH)
        total += measure.value(scores[part], labels[part]) * len(labels[part])
        chunks.append(measure.posterior(scores[part]))
    probabilities = np.concatenate(chunks)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return Evaluation(
        dataset.name,
        model.classes,
        confusion_matrix(labels, order[:, 0], len(model.classes)),
        int((order[:, :5] == labels[:, None]).any(axis=1).sum()),
        total / len(dataset),
        calibration(probabilities, labels),
    )
