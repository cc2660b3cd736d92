"""What is measured while a network trains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Preprocessing
from ..losses import LOSSES
from ..report.results import best_epoch
from ..views import ONE_VIEW, Views
from .engine import Engine

CHUNK, ON_GPU = 500, 2000
"""Images that are measured at once."""


class Measured(NamedTuple):
    """A network's answers on a data set: mean loss, share of right answers, and probabilities (N, K)."""

    loss: float
    accuracy: float
    probabilities: NDArray[np.float64]


def measure(
    engine: Engine, dataset: Dataset, preprocessing: Preprocessing, loss: str, views: Views = ONE_VIEW
) -> Measured:
    """Run over a whole data set as at prediction (fact A6). The loss is NaN where an output is not finite."""
    size = CHUNK if engine.device == "cpu" else ON_GPU
    chunks = [
        views.scores(preprocessing.pixels(dataset.images[start : start + size]), engine.answers)
        for start in range(0, len(dataset.labels), size)
    ]
    scores = np.concatenate(chunks).astype(np.float64)
    if not np.isfinite(scores).all():
        return Measured(math.nan, 0.0, np.zeros_like(scores))
    probabilities = LOSSES[loss].posterior(scores)
    right = probabilities.argmax(axis=1) == dataset.labels
    return Measured(float(LOSSES[loss].value(scores, dataset.labels)), float(right.mean()), probabilities)


@dataclass(frozen=True)
class Epoch:
    """One line of `metrics.jsonl`: means since the line before over training images, and the accuracy then.

    `waiting` is the share of its seconds in which the engine waited for images, `advice` what to do if that was much.
    """

    epoch: int
    steps: int
    lr: float
    train_loss: float
    train_accuracy: float
    loss: float
    accuracy: float
    measured_on: str
    seconds: float
    images_per_second: float
    waiting: float = 0.0
    advice: str = ""


def since_best(epochs: Sequence[Epoch]) -> int:
    """How many epochs ago the best one was measured."""
    best: int = best_epoch([asdict(epoch) for epoch in epochs])["epoch"]
    return epochs[-1].epoch - best


class Meter:
    """Running means of the loss and of right answers over training images, and how fast they pass."""

    def __init__(self) -> None:
        self.images = self.right = 0
        self.total_loss = self.waited = 0.0
        self.started = perf_counter()
        self.stopped: float | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Meter:
        """What `as_dict` was read from, its clock going on. Raises KeyError and its like for another."""
        meter = cls()
        meter.images, meter.right = int(found["images"]), int(found["right"])
        meter.total_loss = float(found["total_loss"])
        meter.started -= float(found["seconds"])
        if not math.isfinite(meter.total_loss + meter.started):
            raise ValueError
        return meter

    def as_dict(self) -> dict[str, int | float]:
        """Its numbers now, exactly, as plain values."""
        return {"images": self.images, "right": self.right, "total_loss": self.total_loss, "seconds": self.seconds}

    def add(self, loss: float, right: int, images: int) -> None:
        """Count one mini-batch."""
        self.images += images
        self.right += right
        self.total_loss += loss * images

    def stop(self) -> None:
        """Let no more time count."""
        self.stopped = perf_counter()

    @property
    def loss(self) -> float:
        """Mean loss over the images so far."""
        return self.total_loss / max(1, self.images)

    @property
    def accuracy(self) -> float:
        """Share of right answers so far, each given before the network learned from that image."""
        return self.right / max(1, self.images)

    @property
    def seconds(self) -> float:
        """Time from the start until now, or until it was stopped."""
        return (self.stopped or perf_counter()) - self.started

    @property
    def waiting(self) -> float:
        """The share of that time in which the engine waited for images; `waited` is how many seconds it did."""
        return min(1.0, self.waited / max(1e-9, self.seconds))

    @property
    def images_per_second(self) -> float:
        """Training images per second of wall time."""
        return self.images / max(1e-9, self.seconds)
