"""A data set as a layer sees it: a row of numbers for each image, and what a line through them can tell.

A layer's volume is flattened; where that gives more than `MOST` values it is averaged over squares of positions first,
the smallest that suffice. Rows are then standardised by value.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..data import Dataset
from ..errors import NeocogError
from .question import Question

MOST = 1024
LEAST = 20
"""Fewer images than that say nothing about a data set."""
PROBE_STEPS = 300

Features = NDArray[np.float32]


def features(question: Question, dataset: Dataset, positions: tuple[int, ...]) -> dict[int, Features]:
    """For each of the layers the images' rows (N, D), as they come out of it. Raises RunError where they overflow."""
    subject = question.subject
    found: dict[int, list[Features]] = {k: [] for k in positions}
    with torch.no_grad():
        for x in question.inputs(dataset):
            for k, volume in subject.volumes(x, positions).items():
                found[k].append(_rows(subject.finite(volume, k)).cpu().numpy())
    return {k: np.concatenate(parts) for k, parts in found.items()}


def _rows(volume: Tensor) -> Tensor:
    side = 1
    while volume.shape[1] * math.prod(-(-n // side) for n in volume.shape[2:]) > MOST and side < max(volume.shape[2:]):
        side += 1
    if side > 1:
        pool: Any = F.avg_pool2d if volume.dim() == 4 else F.avg_pool1d
        volume = pool(volume, side, ceil_mode=True, count_include_pad=False)
    return volume.flatten(1).float()


def standardised(rows: Features) -> Features:
    """Each column with mean 0 and deviation 1; one that never changes is 0."""
    mean, deviation = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    scaled: Features = ((rows - mean) / np.where(deviation == 0, 1, deviation)).astype(np.float32)
    return scaled


def principal(rows: Features) -> Features:
    """The first two principal components (N, 2), each with the sign that makes its largest value positive."""
    left, strength, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    places = (left[:, :2] * strength[:2]).astype(np.float32)
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    largest = places[np.abs(places).argmax(axis=0), [0, 1]]
    signed: Features = places * np.where(largest < 0, -1, 1).astype(np.float32)
    return signed


def neighbour_map(rows: Features, seed: int) -> Features:
    """t-SNE in the plane (N, 2), started from the principal components, the same for the same seed.

    Raises NeocogError where scikit-learn is not installed.
    """
    manifold = _learn("manifold")
    perplexity = min(30.0, (len(rows) - 1) / 3)
    places = principal(rows)
    start = (1e-4 / (float(places[:, 0].std()) or 1)) * places
    made = manifold.TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(rows)
    return np.asarray(made, np.float32)


def probe(rows: Features, labels: NDArray[np.int64], train: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What a linear classifier, learned from the rows in `train`, takes every row for (Alain and Bengio, 2016).

    It is multinomial logistic regression with a small penalty. Raises NeocogError where scikit-learn is not installed,
    and where all that it could learn from is one class.
    """
    linear = _learn("linear_model")
    if len(np.unique(labels[train])) < 2:
        raise NeocogError("a linear probe needs images of two classes or more", received="one class")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _learn("exceptions").ConvergenceWarning)  # the last digits change no answer
        model = linear.LogisticRegression(C=0.1, max_iter=PROBE_STEPS).fit(rows[train], labels[train])
    return np.asarray(model.predict(rows), np.int64)


def _learn(part: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"sklearn.{part}")
    except ModuleNotFoundError:
        raise NeocogError("this method needs scikit-learn", hint="pip install 'neocog[explain]'") from None
