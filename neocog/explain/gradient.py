r"""Vanilla backpropagation: how the score changes with each input value.

    M[c,i,j] = d s / d x[c,i,j]

The picture shows max over c of |M|, and the positive and negative parts apart.

Source: Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", arXiv 1312.6034, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from .method import Asked, Attributed, Attribution
from .subject import Rule, Subject


def attribute(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None = None) -> Attributed:
    """The gradient, as many images at once as memory allows; `rule` changes the way back through some layers."""
    parts = subject.batches(len(x), backward=True)
    return Attributed(torch.cat([subject.gradient(x[part], asked.target.of(part), rule) for part in parts]))


METHOD = Attribution(
    name="gradient",
    says=Text(
        "vanilla backpropagation: how the score changes with each pixel",
        "普通反向传播：得分随每个像素如何变化",
    ),
    source="Simonyan et al., 2013",
    attribute=attribute,
    signed=False,
)
