r"""Branches side by side: `CONCAT[ a | b | c ]` stacks their channels.

    y = (x_1, x_2, ...) along channels        dx_i is its own part of dy

Shapes: branches (N, C_i, H, W), output (N, sum of C_i, H, W).
Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Pass, Shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Concat(Layer):
    """The channels of all branches."""

    op: ClassVar[str] = "CONCAT"
    joins: ClassVar[bool] = True

    examples = (Example("CONCAT", "4x3x2", "4x3x5"), Example("CONCAT", "5x2", "5x1", "5x3"))
    bad_examples = (BadExample("CONCAT", "4x4x2", "2x2x2", says="CONCAT needs branches of one height and width"),)

    def output_shape(self, *inputs: Shape) -> Shape:
        """The common height and width, all channels together."""
        if len(inputs) < 2 or len({x.spatial for x in inputs}) > 1:
            raise ShapeError(
                "CONCAT needs branches of one height and width, two or more",
                received=" | ".join(map(str, inputs)),
                hint="strides and paddings that keep one size in every branch, as CONV's default padding does",
            )
        return Shape(inputs[0].spatial, sum(x.channels for x in inputs))

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing, and nothing kept."""
        return Cost()

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """All channels, in the order of the branches."""
        return np.concatenate(xs, axis=1), [x.shape[1] for x in xs]

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Each branch's own channels of dy."""
        return tuple(np.split(dy, np.cumsum(cache)[:-1], axis=1)), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps nothing; the gradients are parts of dy."""
        return Footprint(shares_gradient=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """A module with several inputs."""
        from . import _modules

        return _modules.Concat()
