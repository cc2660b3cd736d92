"""What speaks for a map, beside its looks: is its sum right, does it depend on the weights, does it find what counts.

- **gap**: by what part of the score's difference the map's sum misses it; of methods that promise completeness.
- **sanity**: how alike the magnitudes of the map and those of a network with random weights are, as Spearman's rank
  correlation over the pixels: 1 is the same order, 0 none. A map that explains what was learned is far from 1 (Adebayo
  et al., "Sanity checks for saliency maps", arXiv 1810.03292).
- **deletion, insertion**: the mean probability of the target while pixels go in the map's order, or come onto a ground
  of the mean colour (Petsiuk et al., "RISE", arXiv 1806.07421). A good map deletes to less and inserts to more than
  random maps do, whose mean stands beside. Of a unit of a layer it is its value, over that on the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .subject import Subject, Target

STEPS = 28
"""Parts in which an image's pixels go or come."""
RANDOM_MAPS = 5

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves of deletion and insertion, from 0 to 1, and the means of those of random maps."""

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def lead(self) -> float:
        """By how much insertion minus deletion is more than that of random maps."""
        return (self.insertion - self.deletion) - (self.random_insertion - self.random_deletion)


@dataclass(frozen=True)
class Evidence:
    """Of one map: the module's docstring says what each number means."""

    gap: float | None
    sanity: float
    faithfulness: Faithfulness

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found = self.faithfulness
        return {
            "completeness_gap": self.gap,
            "randomised_similarity": self.sanity,
            "deletion": found.deletion,
            "insertion": found.insertion,
            "random_deletion": found.random_deletion,
            "random_insertion": found.random_insertion,
        }


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's, equal values sharing their mean rank; 0 where one of both is the same everywhere."""
    a, b = _ranks(one), _ranks(other)
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[inverse]
    return ranks


def likeness(one: Map, other: Map) -> float:
    """How alike the magnitudes of two maps lie."""
    return rank_correlation(np.abs(one), np.abs(other))


def order(values: Map, rng: np.random.Generator) -> NDArray[np.int64]:
    """The map's pixels, the largest first; equal ones in random order."""
    flat = values.ravel()
    return np.lexsort((rng.random(flat.size), -flat))


def faithfulness(subject: Subject, x: Tensor, target: Target, values: Map, seed: int) -> Faithfulness:
    """Of one image x (1, C, *size), its target and its map (*size)."""
    rng = np.random.default_rng(seed)
    own = areas(subject, x, target, order(values, rng))
    others = [areas(subject, x, target, rng.permutation(values.size)) for _ in range(RANDOM_MAPS)]
    deletion, insertion = np.mean(others, axis=0)
    return Faithfulness(*own, float(deletion), float(insertion))


def areas(subject: Subject, x: Tensor, target: Target, first: NDArray[np.int64]) -> tuple[float, float]:
    """The areas under both curves for pixels in this order."""
    place = np.empty(len(first), np.int64)
    place[first] = np.arange(len(first))
    rank = torch.from_numpy(place).reshape(x.shape[2:]).to(x.device)
    edges = np.linspace(0, len(first), min(STEPS, len(first)) + 1).round().astype(int).tolist()
    deletion = _area(subject, x, target, [rank >= edge for edge in edges])
    insertion = _area(subject, x, target, [rank < edge for edge in edges])
    return deletion, insertion


def _area(subject: Subject, x: Tensor, target: Target, kept: Sequence[Tensor]) -> float:
    """The mean height of the curve over its intervals."""
    heights: list[float] = []
    for part in subject.batches(len(kept), backward=False):
        images = x * torch.stack(list(kept[part]))[:, None]
        heights += _heights(subject, images, target, x)
    return float(np.mean((np.array(heights[1:]) + heights[:-1]) / 2))


def _heights(subject: Subject, images: Tensor, target: Target, whole: Tensor) -> list[float]:
    if target.position == subject.end:
        probabilities = subject.probabilities(images)
        return [float(p) for p in probabilities[:, class_of(subject, target)]]
    value = float(subject.scores(whole, target)) or 1.0
    copies = target.of(np.zeros(len(images), np.int64))
    return [score / value for score in subject.scores(images, copies).tolist()]


def class_of(subject: Subject, target: Target) -> int:
    """The number of the class that is the first image's target."""
    return int(target.signs[0] > 0) if subject.says_yes_or_no else int(target.maps[0])
