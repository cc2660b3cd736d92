r"""Guided Grad-CAM: the fine detail of guided backpropagation where Grad-CAM looks.

    M = guided gradient * Grad-CAM over the image

Source: Selvaraju et al., "Grad-CAM", ICCV 2017, section 3.2.
"""

from __future__ import annotations

from torch import Tensor

from ..wording import Text
from . import grad_cam, guided_backprop
from .method import Asked, Attributed, Attribution
from .subject import Subject


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """The product of both."""
    where, guided = (method.attribute(subject, x, asked).values for method in (grad_cam.METHOD, guided_backprop.METHOD))
    return Attributed(where * guided)


METHOD = Attribution(
    name="guided-grad-cam",
    says=Text(
        "guided backpropagation where Grad-CAM looks",
        "Grad-CAM 所看之处的引导反向传播",
    ),
    source="Selvaraju et al., 2017",
    attribute=attribute,
    signed=False,
    layer="reads",
    edges=True,
)
