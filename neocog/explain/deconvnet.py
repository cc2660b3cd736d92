r"""The deconvolutional network: the way back rectifies the signal itself, wherever the way forward did.

    dx = max(0, dy)                 at activation functions, whatever their input was

Convolutions are transposed and max pooling goes back to its switches, as in the gradient.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ..network import Node
from ..wording import Text
from . import gradient
from .guided_backprop import bends, rectified_back
from .method import Attribution
from .subject import Function


def deconvolved(node: Node, run: Function, inputs: Sequence[Tensor]) -> Tensor:
    """The layer; an activation function's own derivative is replaced by rectification."""
    if not bends(node):
        return run(*inputs)
    signal, forward = rectified_back(inputs[0]), run(inputs[0]).detach()
    passed: Tensor = forward + signal - signal.detach()
    return passed


METHOD = Attribution(
    name="deconvnet",
    says=Text(
        "the score sent back through transposed layers, rectified on the way",
        "把得分经转置的层送回，途中整流",
    ),
    source="Zeiler and Fergus, 2014",
    attribute=partial(gradient.attribute, rule=deconvolved),
    signed=False,
    edges=True,
)
