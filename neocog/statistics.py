"""What right and wrong answers say of a classifier: by class, with intervals, as probabilities, and against another."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""95 % of a normal distribution lie within so many standard deviations."""
BINS = 15
"""Of confidence, as Guo et al. (2017) have them."""
LEAST = 1e-12
"""A probability that was held for impossible counts as this one, so that its logarithm is a number."""


class Interval(NamedTuple):
    """Where a share lies, at 95 % confidence."""

    low: float
    high: float


def confusion_matrix(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """How often each class (row) was taken for each class (column): two (N,) -> (K, K)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def share_interval(right: int, total: int) -> Interval:
    """The score interval of a share (Wilson, 1927): it stays within 0 and 1, and holds where mistakes are few too."""
    share, spread = right / total, Z95**2 / total
    middle = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    return Interval(max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread)))


class ClassScore(NamedTuple):
    """One class: its images (`support`) and how many were found; None where a share would be of nothing."""

    support: int
    right: int
    precision: float | None
    recall: float | None
    f1: float | None


def scores_by_class(confusion: NDArray[np.int64]) -> list[ClassScore]:
    """For each class: recall, of its images; precision, of what was taken for it; F1, their harmonic mean."""
    right, true, said = confusion.diagonal().tolist(), confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist()
    return [
        ClassScore(t, r, _share(r, s), _share(r, t), _share(2 * r, t + s))
        for r, t, s in zip(right, true, said, strict=True)
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


class Confused(NamedTuple):
    """Images of one class that were taken for another, and their share of the class."""

    true: int
    said: int
    times: int
    share: float


def most_confused(confusion: NDArray[np.int64], most: int) -> list[Confused]:
    """The commonest mistakes, at most so many."""
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(flat), len(wrong)) for flat in order]
    return [Confused(k, j, int(wrong[k, j]), wrong[k, j] / confusion[k].sum()) for k, j in pairs if wrong[k, j]]


class Bin(NamedTuple):
    """Answers about equally sure: how many, how sure on average, and the share of right ones among them."""

    answers: int
    confidence: float
    accuracy: float


class Calibration(NamedTuple):
    """How far a classifier can be believed how sure it is.

    `bins` are of confidence from 0 to 1, equally wide, None where no answer was so sure; `ece` is the expected
    calibration error, the mean distance between confidence and accuracy (Guo et al., "On calibration of modern neural
    networks", 2017); `nll` the mean negative log-likelihood of the right class, in nats.
    """

    bins: tuple[Bin | None, ...]
    ece: float
    nll: float


def calibration(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Calibration:
    """Of the probabilities (N, K) given to images with these labels (N,)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = [
        Bin(int(within.sum()), float(sure[within].mean()), float(right[within].mean())) if within.any() else None
        for within in (places == k for k in range(BINS))
    ]
    ece = sum(b.answers * abs(b.confidence - b.accuracy) for b in bins if b) / len(labels)
    truth = probabilities[np.arange(len(labels)), labels]
    return Calibration(tuple(bins), ece, float(-np.log(np.maximum(truth, LEAST)).mean()))


class Contest(NamedTuple):
    """Two classifiers: by how much the second is more often right, where that lies, and how likely chance alone is.

    `only_first` and `only_second` count the images that one alone got right, None where the images were not the same;
    `p` is then None too.
    """

    difference: float
    interval: Interval
    only_first: int | None
    only_second: int | None
    p: float | None

    @property
    def decided(self) -> bool:
        """Whether chance alone would do as well less than once in twenty times."""
        return not self.interval.low <= 0 <= self.interval.high if self.p is None else self.p < 0.05


def same_images(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Contest:
    """From what each got right (N,) of the same images.

    The interval is the adjusted Wald interval for paired shares (Bonett and Price, 2012), `p` McNemar's test in its
    exact form: were both equally good, each image that one alone got right would be either's with probability 1/2.
    """
    only_first, only_second, count = int((first & ~second).sum()), int((second & ~first).sum()), len(first)
    middle, more = (only_second - only_first) / (count + 2), only_first + only_second + 2
    half = Z95 * math.sqrt((more / (count + 2) - middle**2) / (count + 2))
    interval = Interval(max(-1.0, middle - half), min(1.0, middle + half))
    difference = (only_second - only_first) / count
    return Contest(difference, interval, only_first, only_second, sign_test(only_first, only_second))


def other_images(first: tuple[int, int], second: tuple[int, int]) -> Contest:
    """From how many each got right of how many images of its own: (right, total).

    The interval is Newcombe's (1998, method 10), made from Wilson's.
    """
    p1, p2 = first[0] / first[1], second[0] / second[1]
    one, two = share_interval(*first), share_interval(*second)
    low = p2 - p1 - math.hypot(p2 - two.low, one.high - p1)
    high = p2 - p1 + math.hypot(two.high - p2, p1 - one.low)
    return Contest(p2 - p1, Interval(low, high), None, None, None)


def sign_test(heads: int, tails: int) -> float:
    """How likely a fair coin would fall at least as unevenly as this, to either side."""
    count, fewer = heads + tails, min(heads, tails)
    k = np.arange(1, fewer + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log((count - k + 1) / k))])  # of the binomial coefficients
    return float(min(1.0, 2 * np.exp(np.logaddexp.reduce(logs) - count * math.log(2))))
