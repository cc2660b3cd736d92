r"""Max pooling: the largest value of each window.

    y[n,c,i,j] = max over u,v of  x[n, c, S*i + D*u - P, S*j + D*v - P]

| letter | meaning                                                  | default |
|--------|----------------------------------------------------------|---------|
| F      | window size                                              | required |
| S      | stride; S < F is overlapping pooling                     | F       |
| P      | padding, which never wins                                | 0       |
| D      | dilation: every D-th value; 1 is a dense window          | 1       |
| fit    | what to do when windows do not tile: exact, floor, ceil  | exact   |

Shapes: x (N, C, H, W) -> y (N, C, H', W') with H' = (H - D(F-1) - 1 + 2P)/S + 1.

Gradient: the forward pass remembers which value won each window (the switches); dx collects each dy at its
winner, where windows overlap more than one (fact P2). On ties the first of the window wins.

Source: Zhou and Chellappa, 1988; Krizhevsky et al., 2012, section 3.4 (overlapping). D is what a pooling becomes behind
a stride that was taken away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Pass, Shape
from ..spelling import SIZE, Dims, setting
from ._pooling import Pooling, seen_by
from ._slide import slide, unslide
from ._window import overhang, padded_shape

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class MaxPool(Pooling):
    """The largest value of each window: `POOL2`, or overlapping `POOL3(S=2)`."""

    op: ClassVar[str] = "POOL"
    dilation: Dims = setting("D", SIZE, default=(1,))

    examples = (
        Example("POOL2", "6x4x3"),
        Example("POOL3(S=2)", "7x5x2"),
        Example("POOL3(S=2, P=1)", "5x7x2"),
        Example("POOL2x3(S=1x3)", "4x6x2"),
        Example("POOL3(S=2, fit=floor)", "6x8x2"),
        Example("POOL3(S=2, fit=ceil)", "6x8x2"),
        Example("POOL3(S=3, P=1, fit=ceil)", "6x8x1"),
        Example("POOL3(S=1, P=2, D=2)", "5x6x2"),
        Example("POOL2x3(S=2x1, fit=ceil, D=1x2)", "5x7x2"),
        Example("POOL2", "8x3"),
        Example("POOL2(S=1, D=3)", "8x3"),
    )
    bad_examples = (
        BadExample("POOL2", "5x5x1", says="(5 - 2 + 0)/2 + 1 = 2.5"),
        BadExample("POOL3", "2x2x1", says="larger than its input"),
        BadExample("POOL2(P=2)", says="at most half its window"),
        BadExample("POOL3(S=1, P=2, D=2)", "1x5x1", says="wholly on padding"),
        BadExample("POOL", says="POOL needs F"),
        BadExample("POOL2-8", says="takes no '-8' there"),
    )

    @property
    def apart(self) -> Dims:
        """D."""
        return self.dilation

    def output_shape(self, *inputs: Shape) -> Shape:
        """As of every pooling; between values that lie far apart a small volume with padding would be missed."""
        (x,) = inputs
        window = self.window(x)
        axes = zip(x.spatial, window.padding, window.dilation, strict=True)
        if any(p and n < d for n, p, d in axes):
            raise ShapeError(
                f"windows of {self} would lie wholly on padding", received=str(x), hint="P=0, or an input of D or more"
            )
        return super().output_shape(x)

    def cost(self, *inputs: Shape) -> Cost:
        """F*F connections an output, no weights; one switch an output is kept."""
        outputs = self.output_shape(*inputs).elements
        return Cost(connections=self.taps(inputs[0]) * outputs, kept=outputs)

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, *size'), and the switches."""
        (x,) = xs
        window = self.window(seen_by(x))
        views = slide(x, window, self.fit, fill=-np.inf)
        flat = views.reshape(*views.shape[: x.ndim], -1)  # (N, C, *size', F*F)
        switches = flat.argmax(axis=-1)
        y = np.take_along_axis(flat, switches[..., None], axis=-1)[..., 0]
        return y, (x.shape, window, switches)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Each dy goes to the value that won its window."""
        shape, window, switches = cache
        taps = int(np.prod(window.kernel))
        flat = np.zeros((*dy.shape, taps))
        np.put_along_axis(flat, switches[..., None], dy[..., None], axis=-1)
        return (unslide(flat.reshape(*dy.shape, *window.kernel), shape[2:], window, self.fit),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input and a 64-bit switch for each output."""
        (x,) = inputs
        switches = 8 * run.images * self.output_shape(x).elements
        if x.rank == 1 and not run.training:
            return Footprint()  # torch pools a sequence without switches then
        if self._pads_more_than_torch(x):
            padded = run.volume(padded_shape(x, self.window(x), self._hang(x)))
            return Footprint(extra=switches + padded, relaid=switches + padded)
        return Footprint(keeps_input=True, extra=switches, relaid=switches + run.volume(x))

    def _hang(self, x: Shape) -> Dims:
        return overhang(x, self.window(x), self.output_shape(x).spatial)

    def _pads_more_than_torch(self, x: Shape) -> bool:
        """Whether padding is more than half of the values of a window, as it may be where those lie apart."""
        window = self.window(x)
        return any(2 * p > f for p, f in zip(window.padding, window.kernel, strict=True))

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.MaxPool1d` or a kind of `nn.MaxPool2d`, behind padding of its own where torch allows less."""
        from torch import nn

        from . import _modules

        (x,) = inputs
        w = self.window(x)
        if x.rank == 2 and self.fit != "ceil" and w.stride == w.kernel and not any(w.padding) and max(w.dilation) == 1:
            return _modules.TilePool2d((w.kernel[0], w.kernel[1]))
        pool = nn.MaxPool1d if x.rank == 1 else nn.MaxPool2d
        if not self._pads_more_than_torch(x):
            return pool(w.kernel, w.stride, w.padding, w.dilation, ceil_mode=self.fit == "ceil")
        pad: Any = nn.ConstantPad1d if x.rank == 1 else nn.ConstantPad2d
        ends = zip(reversed(w.padding), reversed(self._hang(x)), strict=True)
        around = tuple(end for p, h in ends for end in (p, p + h))
        return nn.Sequential(pad(around, -math.inf), pool(w.kernel, w.stride, 0, w.dilation))
