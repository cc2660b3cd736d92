r"""Vanilla backpropagation: how the score changes with each input value.

    M[c,i,j] = d s / d x[c,i,j]

The picture shows max over c of |M|, and the positive and negative parts apart.

Source: Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", arXiv 1312.6034, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .method import Asked, Attributed, Attribution
from .subject import Rule, Subject


def gradients(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None = None) -> Tensor:
    """The gradients of all images (N, C, *size), as many at once as memory allows."""
    parts = subject.batches(len(x), backward=True)
    return torch.cat([subject.gradient(x[part], asked.target.of(part), rule) for part in parts])


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """The gradient itself."""
    return Attributed(gradients(subject, x, asked))


METHOD = Attribution(
    name="gradient",
    says="vanilla backpropagation: how the score changes with each pixel",
    source="Simonyan et al., 2013",
    attribute=attribute,
    signed=False,
)
