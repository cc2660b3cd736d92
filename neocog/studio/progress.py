"""How a run is getting on: its curves, what it says of images it has not learned from, and how fast it is."""

from __future__ import annotations

import math
from collections import deque
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..losses import LOSSES, Loss
from ..model import Weights
from ..training.session import Session
from ..training.settings import Settings
from ..views import Views
from .records import Curve, Share, legible

CURVES = ("loss", "train_accuracy", "validation_loss", "validation_accuracy")
FIGURES = ("loss", "decay_loss", "forward_ms", "backward_ms", "images_per_second")
WINDOW, CHECKED, LOOKS = 1000, 100, 3
"""Latest images that training's accuracy and the table of classes are of; held-out images that are checked in a look,
and the latest looks that validation's accuracy is of: time passes between two, and a network learns fast.
"""
TEST_WINDOW, PREDICTED, MOST_PREDICTIONS = 200, 4, 40
TEST_VIEWS = Views(shift=1)
FORWARDS = 5
"""Latest looks whose shortest one says how long a forward pass takes."""
SMOOTHING = 0.98
"""Of the loss that is shown: each step counts for the rest."""
Rows = NDArray[np.int64]


class Progress:
    """Written by the run's thread alone and read by others; as large after a million steps as after a thousand."""

    def __init__(self) -> None:
        self.curves = {curve: Curve() for curve in CURVES}
        self.train, self.validation, self.test = Share(WINDOW), Share(LOOKS * CHECKED), Share(TEST_WINDOW)
        self.figures: dict[str, float | None] = dict.fromkeys(FIGURES)
        self.answers: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self.predictions: deque[dict[str, Any]] = deque(maxlen=MOST_PREDICTIONS)
        self.looks = 0
        self._speed: deque[tuple[int, float]] = deque(maxlen=20)
        self._forward: deque[float] = deque(maxlen=FORWARDS)

    def took(self, images: int, seconds: float) -> None:
        """Some steps were made."""
        self._speed.append((images, seconds))

    def learned(self, step: int, loss: float, right: int, size: int) -> None:
        """A step's mean loss, and how many of its images were answered rightly before it."""
        self.train.add(right, size)
        self.curves["loss"].add(step, loss)
        self.curves["train_accuracy"].add(step, right / size)
        before = self.figures["loss"]
        self.figures["loss"] = loss if before is None else SMOOTHING * before + (1 - SMOOTHING) * loss

    def look(self, step: int, session: Session, settings: Settings, weights: Weights) -> bool:
        """See how good the network is on images it has not learned from; False where its scores are no numbers.

        The engine is asked once: a few images alone would be scored by a plan of their own, which is made for seconds.
        """
        checked, test = session.measured_on, session.data.test
        held, drawn = _next(len(checked), self.looks * CHECKED), self._drawn(len(test), settings.seed)
        pixels = session.preprocessing.pixels(np.asarray(checked.images[held]))
        views = TEST_VIEWS.seen(session.preprocessing.pixels(np.asarray(test.images[drawn])).images)
        together = np.concatenate([pixels.images, *(images for _, images in views)])
        began = perf_counter()
        scores = session.engine.answers(pixels._replace(images=together)).astype(np.float64)
        self._forward.append(1e3 * (perf_counter() - began) / len(together))
        self.figures["forward_ms"] = min(self._forward)  # another program may have had its turn during the others
        self._note_figures(settings.weight_decay, weights)
        self.looks += 1
        if not np.isfinite(scores).all():
            return False
        own, *seen = np.split(scores, len(held) + len(drawn) * np.arange(len(views)))
        loss = LOSSES[settings.loss]
        self._check(step, own, checked.labels[held], loss)
        if step:  # what it guessed before it learned anything is no part of how good it is
            mean = np.sum([share * one for (share, _), one in zip(views, seen, strict=True)], axis=0)
            self._predict(step, loss.posterior(mean), test, drawn)
        return True

    def clear(self) -> None:
        """Empty the curves."""
        for curve in self.curves.values():
            curve.clear()

    def state(self) -> dict[str, Any]:
        """The numbers as plain values; None for what is not known yet."""
        return {
            **{key: legible(value) for key, value in self.figures.items()},
            "train_accuracy": legible(self.train.value),
            "validation_accuracy": legible(self.validation.value),
            "test_accuracy": legible(self.test.value),
            "windows": {"train": self.train.count, "validation": self.validation.count, "test": self.test.count},
            "looks": self.looks,
        }

    def _drawn(self, count: int, seed: int) -> Rows:
        """A few test images, others at each look."""
        rng = np.random.default_rng((seed, self.looks))
        return np.sort(rng.choice(count, min(PREDICTED, count), replace=False))

    def _check(self, step: int, scores: NDArray[np.float64], labels: Rows, loss: Loss) -> None:
        """What it says of held-out images."""
        found = loss.posterior(scores).argmax(axis=1)
        right = int((found == labels).sum())
        if step:
            self.validation.add(right, len(labels))
            self.answers.extend(zip(labels.tolist(), found.tolist(), strict=True))
        self.curves["validation_loss"].add(step, float(loss.value(scores, labels)))
        self.curves["validation_accuracy"].add(step, right / len(labels))

    def _predict(self, step: int, shares: NDArray[np.float64], test: Dataset, rows: Rows) -> None:
        """What it says of test images."""
        for row, share in zip(rows.tolist(), shares, strict=True):
            label, order = int(test.labels[row]), np.argsort(-share, kind="stable")[:3]
            self.test.add(int(order[0] == label), 1)
            top = [[test.classes[k], round(float(share[k]), 4), bool(k == label)] for k in order]
            self.predictions.appendleft({"number": row, "label": test.classes[label], "top": top, "step": step})

    def _note_figures(self, weight_decay: float, weights: Weights) -> None:
        squares = sum(float(np.square(w, dtype=np.float64).sum()) for w in weights.values() if w.ndim > 1)
        self.figures["decay_loss"] = 0.5 * weight_decay * squares
        images, seconds = (math.fsum(part) for part in zip(*self._speed, strict=True)) if self._speed else (0.0, 0.0)
        if seconds:
            forward = self.figures["forward_ms"] or 0.0
            self.figures["images_per_second"] = images / seconds
            # both are measured, apart from each other: a busy machine's may say nothing of the difference
            rest = 1e3 * seconds / images - forward
            self.figures["backward_ms"] = rest if rest > 0 else None


def _next(count: int, first: int) -> Rows:
    """The numbers of the next images to be checked, round and round."""
    return np.arange(first, first + min(CHECKED, count)) % count
