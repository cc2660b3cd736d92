r"""Sum of branches: `ADD[ a | b ]`.

    y = x_1 + x_2 + ...        dx_i = dy

Shapes: all branches (N, C, H, W), as is the output. No weights, hence no connections or macs of its own.
Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016.
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
class Add(Layer):
    """The sum of branches of one shape."""

    op: ClassVar[str] = "ADD"
    joins: ClassVar[bool] = True

    examples = (Example("ADD", "4x3x2", "4x3x2"), Example("ADD", "5x2", "5x2", "5x2"))
    bad_examples = (
        BadExample("ADD", "4x4x2", "4x4x3", says="ADD needs branches of one shape"),
        BadExample("ADD", "8x8x2", "4x4x2", says="8x8x2 | 4x4x2"),
        BadExample("ADD", "8x8x2", says="two or more"),
    )

    def output_shape(self, *inputs: Shape) -> Shape:
        """The one shape of all branches."""
        if len(inputs) < 2 or len(set(inputs)) > 1:
            raise ShapeError(
                "ADD needs branches of one shape, two or more",
                received=" | ".join(map(str, inputs)),
                hint=_fix(inputs),
            )
        return inputs[0]

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing, and nothing kept."""
        return Cost()

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """The sum."""
        return np.sum(xs, axis=0), len(xs)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy to every branch."""
        return (dy,) * cache, {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps nothing; of three branches or more, all but the last sum is thrown away. Each gradient is dy itself."""
        return Footprint(forward=run.volume(inputs[0]) if len(inputs) > 2 else 0, shares_gradient=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """A module with several inputs."""
        from . import _modules

        return _modules.Add()


def _fix(inputs: tuple[Shape, ...]) -> str:
    """The projection that would bring the last branch to the first one's shape, where a convolution can."""
    if len(inputs) < 2:
        return "ADD[ a | ID ]"
    wanted, other = inputs[0], next(x for x in inputs if x != inputs[0])
    small, large = sorted((wanted, other), key=lambda x: x.positions)
    pairs = list(zip(large.spatial, small.spatial, strict=False))
    stride = next((s for s in range(1, 9) if all(-(-a // s) == b for a, b in pairs)), 0)
    if not stride or len(small.spatial) != len(large.spatial):
        return "strides and paddings that give all branches the same height and width"
    option = f"(S={stride}, fit=floor)" if stride > 1 else ""
    return f"a projection CONV1-{small.channels}{option} in the branch that gives {large}"
