r"""Guided backpropagation: only what raises the score passes each activation function on the way back.

    dx = f'(x) * max(0, dy)         with f the activation function; for RELU f'(x) = [x > 0]

Source: Springenberg et al., "Striving for simplicity: the all convolutional net", arXiv 1412.6806, section 3.4. It
sharpens edges whatever the upper layers are (Adebayo et al., arXiv 1810.03292), so its sanity score must be read with
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..layer import Activation
from ..layers.auxiliary import Auxiliary
from ..layers.dropout import Dropout
from ..layers.identity import Identity
from ..layers.softmax import Softmax
from ..network import Node
from ..wording import Text
from . import gradient
from .method import Attribution
from .subject import Function


class _Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> Tensor:
        return dys[0].clamp(min=0)


def rectified_back(x: Tensor) -> Tensor:
    """The identity, whose gradient loses what is negative: dx = max(0, dy)."""
    y: Tensor = _Rectified.apply(x)  # type: ignore[no-untyped-call]  # torch's
    return y


def bends(node: Node) -> bool:
    """Whether a layer is an activation function of each value by itself."""
    layer = node.layer
    return isinstance(layer, Activation) and not isinstance(layer, Auxiliary | Dropout | Identity | Softmax)


def guided(node: Node, run: Function, inputs: Sequence[Tensor]) -> Tensor:
    """The layer, with a rectified gradient arriving at activation functions."""
    y = run(*inputs)
    return rectified_back(y) if bends(node) else y


METHOD = Attribution(
    name="guided-backprop",
    says=Text(
        "the gradient through paths on which every activation raises the score",
        "只经由每个激活都使得分升高的路径的梯度",
    ),
    source="Springenberg et al., 2014",
    attribute=partial(gradient.attribute, rule=guided),
    signed=False,
    edges=True,
)
