r"""Integrated gradients: the gradient averaged on the straight way from a baseline, times the way.

    M = (x - x0) * integral from 0 to 1 of  d s / d x at (x0 + a (x - x0))  da

The values sum to s(x) - s(x0): completeness. x0 is 0, the data set's mean colour. The integral is taken by the
trapezoid rule between points on the way. At each of them the score is known too, so the error of each piece between
neighbours is known: how far the trapezoid under the gradient's share along the way misses the score's change. Pieces
are halved until the sum is right to `GAP`, or until `MOST_STEPS` gradients are computed:

- all of them, where the error is everywhere. All gradients serve again. So it is in deep networks: with RELU the score
  is piecewise linear, its thousands of kinks make the gradient a random walk along the way, and no rule of n points
  errs by less than about 1/n of its spread;
- else those with nearly all of the error, such as a few sharp kinks. That reaches any accuracy in few steps. The
  gradients at the ends of these pieces are computed anew rather than kept: they are as large as the image.

Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", arXiv 1703.01365.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..wording import Text
from .method import Asked, Attributed, Attribution
from .subject import Subject

GAP = 1e-3
FIRST_STEPS, MOST_STEPS = 16, 2048
SHORTEST = 2.0**-22
"""Pieces that are not halved any more: shares of the way are known to the precision of the images."""
INTERVALS = Text("{0} steps", "{0} 步")
OPEN = Text(
    "{0} steps; the score's change is {1:.1e} of the map's magnitudes, of which the sum is off by {2:.1e}",
    "{0} 步；得分的变化是热图绝对值之和的 {1:.1e}，总和与之相差后者的 {2:.1e}",
)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Places on an image's way, as shares of it, each with its weight in the integral."""

    at: Numbers
    weights: Numbers


class Way:
    """What is known of one image's way: points in order, there the score, and its slope along the way."""

    def __init__(self) -> None:
        self.at, self.scores, self.slopes = np.empty(0), np.empty(0), np.empty(0)
        self.steps = 0
        """Gradients computed, less one."""

    def learn(self, at: Numbers, scores: Numbers, slopes: Numbers) -> None:
        """What was found at places, new ones or not."""
        self.steps += len(at) - (not self.steps)
        self.at, first = np.unique(np.concatenate([self.at, at]), return_index=True)
        self.scores = np.concatenate([self.scores, scores])[first]
        self.slopes = np.concatenate([self.slopes, slopes])[first]

    def errors(self) -> Numbers:
        """The magnitude of each piece's error; 0 where it is too short to be halved."""
        width = np.diff(self.at)
        missed = np.abs(width * (self.slopes[1:] + self.slopes[:-1]) / 2 - np.diff(self.scores))
        return np.where(width > SHORTEST, missed, 0.0)

    def halved(self, bearable: float) -> tuple[float, Points]:
        """What to do next so that the pieces left as they are err by no more than is bearable, as far as steps allow.

        The factor for the integral as it is, and what to add to it. No points: there is nothing left to do.
        """
        errors, left = self.errors(), MOST_STEPS - self.steps
        order = np.argsort(errors, kind="stable")
        worst = order[np.cumsum(errors[order]) > bearable]
        everywhere = 3 * len(worst) >= len(errors)
        if everywhere and len(errors) <= left:
            middles = (self.at[1:] + self.at[:-1]) / 2
            return 0.5, Points(middles, np.diff(self.at) / 2)
        worst = np.sort(worst[max(0, len(worst) - left // 3) :])
        below, above = self.at[worst], self.at[worst + 1]
        width = above - below
        at, where = np.unique(np.concatenate([(below + above) / 2, below, above]), return_inverse=True)
        weights = np.zeros(len(at))
        np.add.at(weights, where, np.concatenate([width / 2, -width / 4, -width / 4]))
        return 1.0, Points(at, weights)


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """Images whose sum is right are done; the others go on."""
    ways, mean = [Way() for _ in x], torch.zeros_like(x)
    ends = np.full(FIRST_STEPS + 1, 1 / FIRST_STEPS)
    ends[[0, -1]] /= 2
    going = {k: Points(np.linspace(0, 1, FIRST_STEPS + 1), ends) for k in range(len(x))}
    while going:
        _add(subject, x, asked, ways, going, mean)
        expected = np.array([way.scores[-1] - way.scores[0] for way in ways])
        gap = _gap(x, mean, expected)
        nexts = {k: ways[k].halved(GAP * abs(float(expected[k])) / 2) for k in going if gap[k] > GAP}
        going = {k: points for k, (_, points) in nexts.items() if len(points.at)}
        for k in going:
            mean[k] *= nexts[k][0]
    values = x * mean
    return Attributed(values, gap, [_note(*one) for one in zip(ways, values, expected, gap, strict=True)])


def _add(
    subject: Subject, x: Tensor, asked: Asked, ways: Sequence[Way], going: dict[int, Points], mean: Tensor
) -> None:
    """Add the weighted gradients at the images' points to their means; the ways learn what is there."""
    images = np.concatenate([np.full(len(points.at), k) for k, points in going.items()])
    at, weights = (np.concatenate([getattr(one, name) for one in going.values()]) for name in ("at", "weights"))
    scores, slopes = np.empty(len(at)), np.empty(len(at))
    for part in subject.batches(len(at), backward=True):
        scores[part], slopes[part] = _learn(subject, x, asked, images[part], at[part], weights[part], mean)
    for k, points in going.items():
        mine = images == k
        ways[k].learn(points.at, scores[mine], slopes[mine])


def _learn(
    subject: Subject, x: Tensor, asked: Asked, images: NDArray[np.int64], at: Numbers, weights: Numbers, mean: Tensor
) -> tuple[Numbers, Numbers]:
    """Scores and slopes at places of images' ways, whose gradients are added to the means by their weights.

    A function of its own, so that nothing of it is kept in memory while the next ones are computed.
    """
    rows = torch.from_numpy(images).to(x.device)
    share, weight = (torch.from_numpy(one).to(x).view(-1, *(1,) * (x.dim() - 1)) for one in (at, weights))
    score, gradient = subject.score_and_gradient(share * x[rows], asked.target.of(images))
    slopes = _sums(gradient * x[rows])
    mean.index_add_(0, rows, gradient.mul_(weight))
    return score.cpu().numpy(), slopes


def _gap(x: Tensor, mean: Tensor, expected: Numbers) -> Numbers:
    """By what part of the difference of the scores the sum of the values misses it."""
    gap: Numbers = np.abs(_sums(x * mean) - expected) / np.abs(expected).clip(min=1e-12)
    return gap


def _sums(values: Tensor) -> Numbers:
    """Each image's sum, in float64."""
    sums: Numbers = values.flatten(1).sum(1, dtype=torch.float64).cpu().numpy()
    return sums


def _note(way: Way, values: Tensor, expected: float, gap: float) -> Text:
    """How many steps it took, and, of a sum that is not right, what it is off by in proportion to what is summed."""
    magnitudes = float(values.double().abs().sum())
    if gap <= GAP or not magnitudes:
        return INTERVALS.filled(way.steps)
    change = abs(expected) / magnitudes
    return OPEN.filled(way.steps, change, change * gap)


METHOD = Attribution(
    name="integrated-gradients",
    says=Text(
        "gradients averaged on the way from the mean colour; they sum to the score's change",
        "从平均颜色出发沿途的平均梯度；总和等于得分的变化",
    ),
    source="Sundararajan et al., 2017",
    attribute=attribute,
)
