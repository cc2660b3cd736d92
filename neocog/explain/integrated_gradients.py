r"""Integrated gradients: the gradient averaged on the straight way from a baseline, times the way.

    M = (x - x0) * integral from 0 to 1 of  d s / d x at (x0 + a (x - x0))  da

The values sum to s(x) - s(x0): completeness. x0 is 0, the data set's mean colour. The integral is taken by the
trapezoid rule, whose intervals are halved, using all points again, until the sum is right to `GAP`, or at `MOST_STEPS`.

Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", arXiv 1703.01365.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..wording import Text
from .method import Asked, Attributed, Attribution
from .subject import Subject

GAP = 1e-3
FIRST_STEPS, MOST_STEPS = 16, 2048
INTERVALS = Text("{0} steps", "{0} 步")


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """Images whose sum is right are done; the others go on with half the intervals."""
    target = asked.target
    expected = (subject.scores(x, target) - subject.scores(torch.zeros_like(x), target)).double()
    ends = _mean_gradient(subject, x, asked, torch.tensor([0.0, 1.0], device=x.device))
    inner = _mean_gradient(subject, x, asked, torch.arange(1, FIRST_STEPS, device=x.device) / FIRST_STEPS)
    mean = (ends + (FIRST_STEPS - 1) * inner) / FIRST_STEPS
    steps = np.full(len(x), FIRST_STEPS)
    while True:
        gap = _gap(x * mean, expected)
        open_ = np.flatnonzero((gap > GAP) & (steps < MOST_STEPS))
        if not len(open_):
            return Attributed(x * mean, gap, tuple(map(INTERVALS.filled, steps)))
        n, rows = int(steps[open_[0]]), torch.from_numpy(open_).to(x.device)
        middles = (torch.arange(n, device=x.device) + 0.5) / n
        found = _mean_gradient(subject, x[rows], Asked(target.of(open_)), middles)
        mean[rows] = (mean[rows] + found) / 2
        steps[open_] = 2 * n


def _mean_gradient(subject: Subject, x: Tensor, asked: Asked, at: Tensor) -> Tensor:
    """The mean of the gradients at shares `at` of the way from 0 to x."""
    total = torch.zeros_like(x)
    for images, points in subject.variants(len(x), len(at), backward=True):
        share = at[points].view(-1, *(1,) * (x.dim() - 1))
        total.index_add_(0, images, subject.gradient(share * x[images], asked.target.of(images.cpu().numpy())))
    return total / len(at)


def _gap(values: Tensor, expected: Tensor) -> NDArray[np.float64]:
    """By what part of the difference of the scores the sum of the values misses it."""
    missed = (values.flatten(1).double().sum(1) - expected).abs() / expected.abs().clamp(min=1e-12)
    gap: NDArray[np.float64] = missed.cpu().numpy()
    return gap


METHOD = Attribution(
    name="integrated-gradients",
    says=Text(
        "gradients averaged on the way from the mean colour; they sum to the score's change",
        "从平均颜色出发沿途的平均梯度；总和等于得分的变化",
    ),
    source="Sundararajan et al., 2017",
    attribute=attribute,
)
