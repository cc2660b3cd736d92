r"""SmoothGrad: the mean gradient of noisy copies, so that what is a matter of chance averages out.

    M = 1/n sum over k of  d s / d x at (x + e_k),      e_k normal with deviation sigma * (max x - min x)

n = 50, sigma = 0.15 of the image's range, as in the paper's figures 3 and 4. The draws depend on seed and image alone.
The second method here averages guided gradients.

Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv 1706.03825.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from .guided_backprop import guided
from .method import Asked, Attributed, Attribution
from .subject import Rule, Subject

COPIES, SIGMA = 50, 0.15


def noise(x: Tensor, image: int, copies: int, sigma: float, seed: int) -> Tensor:
    """Noise (copies, C, *size) for one image (C, *size): its deviation is sigma times the image's range."""
    drawn = np.random.default_rng([seed, image]).standard_normal((copies, *x.shape), np.float32)
    return torch.from_numpy(drawn).to(x) * (sigma * float(x.max() - x.min()))


def smooth(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None, copies: int, sigma: float) -> Tensor:
    """The mean of the gradients of so many noisy copies of each image."""
    total = torch.zeros_like(x)
    for image in range(len(x)):
        added = noise(x[image], image, copies, sigma, asked.seed)
        target = asked.target.of(np.full(copies, image))
        for part in subject.batches(copies, backward=True):
            total[image] += subject.gradient(x[image] + added[part], target.of(part), rule).sum(0)
    return total / copies


def attribute(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None = None) -> Attributed:
    """The smoothed gradient."""
    notes = (f"{COPIES} copies, noise {SIGMA:.0%} of the range",) * len(x)
    return Attributed(smooth(subject, x, asked, rule, COPIES, SIGMA), notes=notes)


METHOD = Attribution(
    name="smoothgrad",
    says="the mean gradient of noisy copies",
    source="Smilkov et al., 2017",
    attribute=attribute,
    signed=False,
)
GUIDED = Attribution(
    name="smoothgrad-guided",
    says="the mean guided gradient of noisy copies",
    source="Smilkov et al., 2017; Springenberg et al., 2014",
    attribute=partial(attribute, rule=guided),
    signed=False,
    edges=True,
)
