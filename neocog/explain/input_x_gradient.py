r"""Input times gradient: what each value contributes, were the network linear.

    M[c,i,j] = (x[c,i,j] - x0) * d s / d x[c,i,j],     x0 = 0, the data set's mean colour

For a network without biases made of layers with f(a x) = a f(x), RELU and pooling among them, the values sum to the
score. With guided gradients in place of plain ones it is the second method here.

Source: Shrikumar et al., "Not just a black box", arXiv 1605.01713.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from ..wording import Text
from . import gradient
from .guided_backprop import guided
from .method import Asked, Attributed, Attribution
from .subject import Rule, Subject


def attribute(subject: Subject, x: Tensor, asked: Asked, rule: Rule | None = None) -> Attributed:
    """The input times its gradient."""
    return Attributed(x * gradient.attribute(subject, x, asked, rule).values)


METHOD = Attribution(
    name="input-x-gradient",
    says=Text(
        "each pixel times its gradient: its part of the score, were the network linear",
        "每个像素乘以梯度：若网络是线性的，这就是它对得分的贡献",
    ),
    source="Shrikumar et al., 2016",
    attribute=attribute,
)
GUIDED = Attribution(
    name="input-x-guided",
    says=Text(
        "each pixel times its guided gradient",
        "每个像素乘以引导梯度",
    ),
    source="Shrikumar et al., 2016; Springenberg et al., 2014",
    attribute=partial(attribute, rule=guided),
    edges=True,
)
