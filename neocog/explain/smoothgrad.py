r"""SmoothGrad: the mean gradient of noisy copies, so that what is a matter of chance averages out.

    M = 1/n sum over k of  d s / d x at (x + e_k),      e_k normal with deviation sigma * (max x - min x)

n = 50, sigma = 0.15 of the image's range, as in the paper's figures 3 and 4. The draws depend on seed and image alone.
The second method here averages guided gradients, the third shows the map for several sigma side by side (figure 3).

Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv 1706.03825.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..wording import Text
from . import colours
from .guided_backprop import guided
from .method import Asked, Attributed, Attribution, View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, as_seen
from .subject import Rule, Subject

COPIES, SIGMA = 50, 0.15
LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
NOISE = Text("{0} copies, noise {1:.0%} of the range", "{0} 份副本，噪声为取值范围的 {1:.0%}")

TITLE = Text("SmoothGrad by how much noise there is", "SmoothGrad：噪声多少的影响")
LEVEL = Text("noise {0:.0%}", "噪声 {0:.0%}")
CAPTION = Text(
    "{0}: gradients of the score of class {1}, each map the mean of {2} noisy copies and on its own scale, seed {3}; "
    "noise is a share of the image's range",
    "{0}：类别 {1} 的得分的梯度，每张热图是 {2} 份加噪副本的平均，各用各的标尺，种子 {3}；噪声按图像取值范围的比例计",
)


def noisy(subject: Subject, x: Tensor, drawing: np.random.Generator, copies: int, sigma: float) -> Tensor:
    """Copies of one image (C, *size) with noise whose deviation is sigma times its range: (copies, C, *size)."""
    noise = subject.tensor(drawing.standard_normal((copies, *x.shape), np.float32))
    low, high = x.detach().aminmax()
    return noise.mul_(sigma * float(high - low)).add_(x)


def smooth(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None, copies: int, sigma: float) -> Tensor:
    """The mean of the gradients of so many noisy copies of each image, which are made as they are needed.

    Gradients add up where the copies came from, so that no copy outlives the layer that reads it.
    """
    found = []
    for number, values in enumerate(x):
        image = values.detach().requires_grad_()
        drawing, target = np.random.default_rng([asked.seed, number]), asked.target.of(np.full(copies, number))
        for part in subject.batches(copies, backward=True):
            count = part.stop - part.start
            with torch.enable_grad():
                score = subject.score(noisy(subject, image, drawing, count, sigma), target.of(part), rule)
            torch.autograd.backward(score.sum())
        found.append(image.grad / copies)
    return torch.stack(found)


def attribute(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None = None) -> Attributed:
    """The smoothed gradient."""
    notes = (NOISE.filled(COPIES, SIGMA),) * len(x)
    return Attributed(smooth(subject, x, asked, rule, COPIES, SIGMA), notes=notes)


def show_by_noise(question: Question) -> Shown:
    """A strip for each image: the map for each level of noise, of which the first is the gradient itself."""
    subject, asked = question.subject, Asked(question.class_target(), seed=question.seed)
    with subject.working():
        smoothed = [smooth(subject, question.x, asked, None, COPIES, sigma) for sigma in LEVELS]
    maps = [Attributed(values).maps(signed=False) for values in smoothed]
    strips, rows = [], []
    for n, image in enumerate(question.images):
        panels = [as_seen(question.fitted[n])]
        for sigma, own in zip(LEVELS, maps, strict=True):
            bar = Bar(False, colours.scale_of(own[n]))
            panels.append(Panel(LEVEL.filled(sigma), colours.painted(own[n], signed=False, scale=bar.scale), bar))
            rows.append({"file": image.name, "noise": sigma, "scale": bar.scale})
        caption = CAPTION.filled(image.name, question.model.classes[question.chosen[n]], COPIES, question.seed)
        strips.append(Strip(tuple(panels), (caption,)))
    return Shown(TITLE, tuple(strips), {"maps": rows})


METHOD = Attribution(
    name="smoothgrad",
    says=Text(
        "the mean gradient of noisy copies",
        "加噪副本的平均梯度",
    ),
    source="Smilkov et al., 2017",
    attribute=attribute,
    signed=False,
)
GUIDED = Attribution(
    name="smoothgrad-guided",
    says=Text(
        "the mean guided gradient of noisy copies",
        "加噪副本的平均引导梯度",
    ),
    source="Smilkov et al., 2017; Springenberg et al., 2014",
    attribute=partial(attribute, rule=guided),
    signed=False,
    edges=True,
)
BY_NOISE = View(
    name="smoothgrad-noise",
    says=Text(
        "the mean gradient of noisy copies, for more and more noise",
        "加噪副本的平均梯度，噪声逐渐加大",
    ),
    source="Smilkov et al., 2017, figure 3",
    needs=("image",),
    takes=("target",),
    show=show_by_noise,
)
