"""Several models on the same images: what each gets right, how far its scores are from the first one's, how fast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import DataError, NeocogError, RunError
from ..losses import LOSSES
from ..model import Model
from ..runtimes import RUNTIMES
from ..runtimes.base import INT8
from ..views import NONE
from .evaluate import Evaluation, Scorer, judged, scores_of

CALIBRATION = 256
"""Images that int8 is calibrated on."""


@dataclass(frozen=True, eq=False)
class Row:
    """One model on a data set: its scores (N, K), the classes that it answers with (N,), what they are worth, and how
    many images it reads a second, preprocessing included.
    """

    scores: NDArray[np.float64]
    answers: NDArray[np.int64]
    result: Evaluation
    images_per_second: float


class Deviation(NamedTuple):
    """The largest difference between scores, and how many images get another class."""

    error: float
    others: int


def measured(model: Model, dataset: Dataset, tta: str = NONE, scorer: Scorer | None = None) -> Row:
    """A model's scores of every image. Raises DataError as `evaluate`."""
    start = perf_counter()
    scores = scores_of(model, dataset, tta, scorer)
    passed = perf_counter() - start
    answers = LOSSES[model.loss].posterior(scores).argmax(1)
    return Row(scores, answers, judged(model, dataset, scores), len(dataset) / max(passed, 1e-9))


def deviation(first: Row, other: Row) -> Deviation:
    """How far one model's scores are from the first one's. Raises DataError where they are of different kinds."""
    if first.scores.shape != other.scores.shape:
        raise DataError(
            "models are compared by as many scores each",
            received=f"{first.scores.shape[1]} and {other.scores.shape[1]}",
        )
    error = float(np.abs(first.scores - other.scores).max())
    return Deviation(error, int((first.answers != other.answers).sum()))


def in_int8(model: Model, dataset: Dataset, drop: float, tta: str = NONE) -> tuple[Row, Row]:
    """A model in float32 and in int8, calibrated on the first images of the data set without their labels.

    Raises RunError where the share of right answers falls by more than `drop`, and NeocogError where there is no
    runtime for int8.
    """
    if lack := RUNTIMES["onnxruntime"].lacks(model, INT8):
        raise NeocogError("int8 is computed by ONNX Runtime", received=lack)
    from ..runtimes.quantised import quantised

    exact = measured(model, dataset, tta)
    rough = measured(replace(model, runtime=quantised(model, dataset.images[:CALIBRATION])), dataset, tta)
    if (lost := exact.result.top1 - rough.result.top1) > drop:
        raise RunError(
            f"int8 may cost {drop:.2%} of the answers on these images",
            received=f"{lost:.2%}: {rough.result.top1:.2%} right instead of {exact.result.top1:.2%}",
            hint="--dtype float32, or a larger --drop",
        )
    return exact, rough
