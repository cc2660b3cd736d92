r"""L2 pooling: the Euclidean norm of each window.

    y[n,c,i,j] = sqrt( sum over u,v of  x[n, c, S*i + u - P, S*j + v - P]^2 )

| letter | meaning                                                  | default |
|--------|----------------------------------------------------------|---------|
| F      | window size                                              | required |
| S      | stride                                                   | F       |
| P      | zero padding                                             | 0       |
| fit    | what to do when windows do not tile: exact, floor, ceil  | exact   |

Shapes: x (N, C, H, W) -> y (N, C, H', W') with H' = (H - F + 2P)/S + 1.

Gradient: dx adds dy * x / y for every window that a value lies in; where a whole window is zero, y has no
derivative and 0 is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Pass, Shape
from ._pooling import Pooling, seen_by
from ._slide import slide, unslide

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class L2Pool(Pooling):
    """The Euclidean norm of each window: `L2POOL2`."""

    op: ClassVar[str] = "L2POOL"

    examples = (
        Example("L2POOL2", "6x4x3"),
        Example("L2POOL3(S=2, P=1)", "5x7x2"),
        Example("L2POOL2x3(S=1x3)", "4x6x2"),
        Example("L2POOL3(S=2, fit=floor)", "6x8x2"),
        Example("L2POOL3(S=2, fit=ceil)", "6x8x2"),
        Example("L2POOL2", "8x3"),
    )
    bad_examples = (BadExample("L2POOL2", "5x5x1", says="do not tile"),)

    def cost(self, *inputs: Shape) -> Cost:
        """F*F connections an output; input and output are kept."""
        outputs = self.output_shape(*inputs).elements
        return Cost(connections=self.taps(inputs[0]) * outputs, kept=inputs[0].elements + outputs)

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, *size')."""
        (x,) = xs
        window = self.window(seen_by(x))
        views = slide(x, window, self.fit)
        y = np.sqrt((views**2).sum(axis=tuple(range(-len(window.kernel), 0))))
        return y, (x.shape, window, views, y)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy * x / y, added up over windows."""
        shape, window, views, y = cache
        ratio = np.divide(dy, y, out=np.zeros_like(y), where=y > 0)
        spread = views * ratio.reshape(*y.shape, *(1,) * len(window.kernel))
        return (unslide(spread, shape[2:], window, self.fit),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input, its squares, the sums and two masks of one byte a value."""
        (x,) = inputs
        y, squares = self.output_shape(x), run.volume(x)
        made = run.volume(y)
        if not run.training:
            return Footprint(forward=max(squares, 2 * made + run.images * y.elements))
        masks = 2 * run.images * y.elements
        return Footprint(keeps_input=True, extra=squares + made + masks, forward=made, backward=squares)

    def module(self, *inputs: Shape) -> nn.Module:
        """The root of a sum of squares; `nn.LPPool2d` has no padding and no derivative at zero."""
        from . import _modules

        (x,) = inputs
        w = self.window(x)
        return _modules.L2Pool(w.kernel, w.stride, w.padding, ceil=self.fit == "ceil")
