r"""Group normalization: each image's channels are divided into groups, each brought to mean 0 and variance 1.

    m = mean of x over the C/G channels of the group and all positions,   v = mean of (x - m)^2
    h = (x - m) / sqrt(v + eps),   y = weight[c] * h + bias[c]

| letter | meaning                                                                | default |
|--------|------------------------------------------------------------------------|---------|
| G      | groups; `G=1` is layer, one for each channel is instance normalization | 32      |
| eps    | added to the variance                                                  | 1e-5    |
| AFFINE | whether each channel has a trained scale and shift                     | yes     |

Shapes: any volume, unchanged; weight and bias (C,). No image's output depends on another image, and inference does what
training does. Every position of a group moves its mean, so one output sees the whole input.

Gradient, with g = weight * dy and means over the group as above:

    dx = (g - mean(g) - h * mean(g * h)) / sqrt(v + eps),   dweight[c] = sum of dy * h,   dbias[c] = sum of dy

Source: Wu and He, "Group normalization", ECCV 2018, arXiv 1803.08494.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, SpellingError
from ..layer import MASTER, Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, FLAG, NUMBER, setting
from ..wording import count_of
from ._window import whole_input

if TYPE_CHECKING:
    from torch import nn

NEAR = 1000
"""How many numbers of groups are looked through for one that would do."""


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Mean 0 and variance 1 for each group of channels of each image: `GROUPNORM(G=8)`."""

    op: ClassVar[str] = "GROUPNORM"
    groups: int = setting("G", COUNT, default=32)
    eps: float = setting("eps", NUMBER, default=1e-5)
    affine: bool = setting("AFFINE", FLAG, default=True)

    examples = (
        Example("GROUPNORM(G=2)", "3x4x4"),
        Example("GROUPNORM(G=1, eps=0.5)", "2x3x3"),
        Example("GROUPNORM(G=3, AFFINE=no)", "3x2x3"),
        Example("GROUPNORM", "2x1x32"),
        Example("GROUPNORM(G=2)", "5x4"),
    )
    bad_examples = (
        BadExample("GROUPNORM", "4x4x24", says="G=32 of GROUPNORM does not divide its 24 input channels"),
        BadExample("GROUPNORM(G=4)", "1x1x4", says="single value"),
        BadExample("GROUPNORM(eps=0)", says="eps is larger than 0"),
    )

    def __post_init__(self) -> None:
        if self.eps <= 0:
            raise SpellingError("GROUPNORM's eps is larger than 0", received=f"eps={self.eps:g}", hint="eps=1e-5")

    def output_shape(self, *inputs: Shape) -> Shape:
        """The same volume, where G divides the channels."""
        (x,) = inputs
        if x.channels % self.groups:
            most = min(self.groups, x.channels)
            nearest = next((g for g in range(most, max(0, most - NEAR), -1) if x.channels % g == 0), 1)
            raise ShapeError(
                f"G={self.groups} of {self} does not divide its {count_of(x.channels, 'input channel')}",
                received=str(x),
                hint=f"G={nearest}",
            )
        if x.elements == self.groups:
            raise ShapeError(
                f"{self} would normalize groups of a single value, which leaves nothing of it",
                received=str(x),
                hint="fewer groups, or a larger volume",
            )
        return x

    def cost(self, *inputs: Shape) -> Cost:
        """Scale and shift for each channel; the input is kept."""
        (x,) = inputs
        return Cost(parameters=2 * x.channels if self.affine else 0, kept=x.elements)

    def window(self, *inputs: Shape) -> Window:
        """The whole input, from every position."""
        return whole_input(inputs[0])

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` and `bias`, one number a channel."""
        channels = (inputs[0].channels,)
        return {"weight": Parameter(channels, value=1.0), "bias": Parameter(channels)} if self.affine else {}

    def _grouped(self, x: Array) -> Array:
        """(N, C, *size) -> (N, G, values of a group)."""
        return x.reshape(len(x), self.groups, -1)

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """The formula above."""
        (x,) = xs
        grouped = self._grouped(x)
        scale = 1.0 / np.sqrt(grouped.var(axis=2, keepdims=True) + self.eps)
        h = ((grouped - grouped.mean(axis=2, keepdims=True)) * scale).reshape(x.shape)
        if not self.affine:
            return h, (h, scale)
        each = (-1, *(1,) * (x.ndim - 2))
        return params["weight"].reshape(each) * h + params["bias"].reshape(each), (h, scale)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The formulas above."""
        h, scale = cache
        weight = params["weight"].reshape(-1, *(1,) * (dy.ndim - 2)) if self.affine else 1.0
        g, grouped = self._grouped(weight * dy), self._grouped(h)
        means = g.mean(axis=2, keepdims=True), (g * grouped).mean(axis=2, keepdims=True)
        dx = ((g - means[0] - grouped * means[1]) * scale).reshape(dy.shape)
        if not self.affine:
            return (dx,), {}
        summed = (0, *range(2, dy.ndim))
        return (dx,), {"weight": (dy * h).sum(axis=summed), "bias": dy.sum(axis=summed)}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input and each group's mean and deviation."""
        value_bytes = MASTER if self.affine else run.value_bytes  # in the parameters' type, where there are any
        return Footprint(keeps_input=True, extra=2 * run.images * self.groups * value_bytes)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.GroupNorm`, kept from a crash where its input needs no gradient."""
        from . import _modules

        return _modules.GroupNorm(self.groups, inputs[0].channels, eps=self.eps, affine=self.affine)
