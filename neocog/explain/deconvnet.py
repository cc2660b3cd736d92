r"""The deconvolutional network: the way back rectifies the signal itself, wherever the way forward did.

    dx = max(0, dy)                 at activation functions, whatever their input was

Convolutions are transposed and max pooling goes back to its switches, as in the gradient.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ..network import Node
from .gradient import gradients
from .guided_backprop import Rectified, bends
from .method import Asked, Attributed, Attribution
from .subject import Subject


def deconvolved(node: Node, module: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """The layer; an activation function's own derivative is replaced by rectification."""
    if not bends(node):
        y: Tensor = module(*inputs)
        return y
    signal: Tensor = Rectified.apply(inputs[0])  # type: ignore[no-untyped-call]  # torch's
    forward: Tensor = module(inputs[0]).detach()
    return forward + signal - signal.detach()


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """What the deconvolutional network gives at the input."""
    return Attributed(gradients(subject, x, asked, deconvolved))


METHOD = Attribution(
    name="deconvnet",
    says="the score sent back through transposed layers, rectified on the way",
    source="Zeiler and Fergus, 2014",
    attribute=attribute,
    signed=False,
    edges=True,
)
