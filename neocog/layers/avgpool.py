r"""Average pooling: the mean of each window.

    y[n,c,i,j] = 1/m * sum over u,v of  x[n, c, S*i + u - P, S*j + v - P]

| letter | meaning                                                  | default |
|--------|----------------------------------------------------------|---------|
| F      | window size                                              | required |
| S      | stride                                                   | F       |
| P      | zero padding                                             | 0       |
| ZEROS  | whether the padding's zeros count in the mean            | yes     |
| fit    | what to do when windows do not tile: exact, floor, ceil  | exact   |

m = F*F, padding included unless ZEROS=no; what `fit=ceil` lets hang beyond the padding is never counted (the
rule of Caffe and torch). Shapes: x (N, C, H, W) -> y (N, C, H', W') with H' = (H - F + 2P)/S + 1.

Gradient: dx spreads each dy evenly over its window, dy/m to each value. For windows side by side that is the
Kronecker product of dy with a block of 1/(F*F) (fact P2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Pass, Shape, Window
from ..spelling import FLAG, setting
from ._pooling import Pooling, seen_by
from ._slide import slide, unslide

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class AvgPool(Pooling):
    """The mean of each window: `AVGPOOL2`."""

    op: ClassVar[str] = "AVGPOOL"
    zeros: bool = setting("ZEROS", FLAG, default=True)

    examples = (
        Example("AVGPOOL2", "6x4x3"),
        Example("AVGPOOL3(S=2, P=1)", "5x7x2"),
        Example("AVGPOOL2x3(S=1x3)", "4x6x2"),
        Example("AVGPOOL3(S=2, fit=floor)", "6x8x2"),
        Example("AVGPOOL3(S=2, fit=ceil)", "6x8x2"),
        Example("AVGPOOL3(S=3, P=1, fit=ceil)", "6x8x1"),
        Example("AVGPOOL3(S=2, P=1, fit=ceil, ZEROS=no)", "6x8x2"),
        Example("AVGPOOL2", "8x3"),
    )
    bad_examples = (
        BadExample("AVGPOOL2", "5x5x1", says="do not tile"),
        BadExample("AVGPOOL3(P=2)", says="at most half its window"),
    )

    def cost(self, *inputs: Shape) -> Cost:
        """F*F connections an output; nothing is kept, since the gradient does not depend on x."""
        return Cost(connections=self.taps(inputs[0]) * self.output_shape(*inputs).elements)

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, *size')."""
        (x,) = xs
        window = self.window(seen_by(x))
        taps = tuple(range(-len(window.kernel), 0))
        counts = self._counts(x, window).sum(axis=taps)  # (1, 1, *size')
        return slide(x, window, self.fit).sum(axis=taps) / counts, (x.shape, window, counts)

    def _counts(self, x: Array, window: Window) -> Array:
        """Ones wherever a window covers what counts, zeros elsewhere: (1, 1, *size', *F)."""
        if not self.zeros:
            return slide(np.ones((1, 1, *x.shape[2:])), window, self.fit)
        padded = np.ones((1, 1, *(n + 2 * p for n, p in zip(x.shape[2:], window.padding, strict=True))))
        bare = Window(window.kernel, window.stride, (0,) * len(window.kernel), window.dilation)
        ones = slide(padded, bare, self.fit)
        outputs = slide(np.zeros((1, 1, *x.shape[2:])), window, self.fit).shape[2 : x.ndim]
        return ones[(slice(None), slice(None), *(slice(n) for n in outputs))]

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy / m to every value of the window."""
        shape, window, counts = cache
        share = (dy / counts).reshape(*dy.shape, *(1,) * len(window.kernel))
        spread = np.broadcast_to(share, (*dy.shape, *window.kernel))
        return (unslide(spread, shape[2:], window, self.fit),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input, though torch needs no more of it than its size."""
        return Footprint(keeps_input=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.AvgPool1d` or `nn.AvgPool2d`."""
        from torch import nn

        (x,) = inputs
        w = self.window(x)
        pool: Any = nn.AvgPool1d if x.rank == 1 else nn.AvgPool2d
        module: nn.Module = pool(
            w.kernel, w.stride, w.padding, ceil_mode=self.fit == "ceil", count_include_pad=self.zeros
        )
        return module
