"""Classes with few images: how much each image counts in the loss.

    w_k = N / (K n_k),   with n_k of the N training images in class k, of K classes that have any

is `balanced`: every class counts as much as any other, and an image 1 on average. A text such as `cat=2, dog=0.5` gives
the weights itself; classes that it does not name have 1. A step lowers the mean of w_D E over its images, with D an
image's class and E its loss.

Source: King and Zeng, "Logistic regression in rare events data", 2001; `class_weight` of scikit-learn.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import NeocogError

NONE, BALANCED = "none", "balanced"


def parse_class_weights(text: str) -> dict[str, float]:
    """Weights by class name, as far as a text has them. Raises NeocogError for one that is no class weights."""
    if text.strip() in (NONE, BALANCED):
        return {}
    given: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().rpartition("=")  # a name may have the sign in it, a number has not
        weight = _number(value)
        if not name.strip() or not 0 <= weight < math.inf:
            raise NeocogError(
                f"class_weights is {NONE}, {BALANCED}, or of class=weight, with weights from 0",
                received=f"class_weights={part.strip()[:40]!r}",
                hint=BALANCED,
            )
        given[name.strip()] = weight
    return given


def class_weights(text: str, dataset: Dataset) -> NDArray[np.float32] | None:
    """How much an image of each class counts (K,); None where all count alike.

    Raises NeocogError for a class that is not there.
    """
    if text.strip() == NONE:
        return None
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    if text.strip() == BALANCED:
        balanced: NDArray[np.float32] = (len(dataset) / np.maximum(1, counts) / (counts > 0).sum()).astype(np.float32)
        return balanced
    weights = np.ones(len(dataset.classes), np.float32)
    for name, weight in parse_class_weights(text).items():
        if name not in dataset.classes:
            hint = ", ".join(dataset.classes)
            raise NeocogError("no class has this name", where="class_weights", received=name[:40], hint=hint)
        weights[dataset.classes.index(name)] = weight
    return weights


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
