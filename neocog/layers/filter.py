r"""A fixed filter of image processing on each channel by itself: blur, sharpen, edges, slopes.

    y[n,c,i,j] = sum over u,v of  w[u,v] * x[n, c, S*i + u - P, S*j + v - P]

| letter | meaning                                                 | default |
|--------|---------------------------------------------------------|---------|
| NAME   | which: mean, gaussian, sharpen, edge, sobel-x, sobel-y  | required |
| S      | stride                                                  | 1       |
| P      | zero padding on each side                               | 1, same |
| fit    | when windows do not tile: exact, floor or ceil          | exact   |

The kernels are 3x3 and never trained (fact C13): `mean` 1/9 everywhere, `gaussian` [1 2 1] x [1 2 1] / 16, `sharpen` 5
amid four -1, `edge` 8 amid eight -1, `sobel-x` [1 2 1] x [-1 0 1], larger where brightness grows to the right, and
`sobel-y`, where it grows downwards. Nothing is flipped.

Shapes: x (N, C, H, W) -> y (N, C, H', W') with H' = (H - 3 + 2P)/S + 1. Images only.

Gradient: dx adds every dy[n,c,i,j] * w[u,v] where x was read. There is none for w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..signal import FILTERS
from ..spelling import SIZE, SIZE0, Dims, choice, setting
from ._slide import slide, unslide
from ._window import FIT, overhang, padded_shape, settled, window_at, windows

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Filter(Layer):
    """A fixed 3x3 filter: `FILTER(gaussian)`."""

    op: ClassVar[str] = "FILTER"
    name: str = setting("NAME", choice(*FILTERS), position="arg")
    stride: Dims = setting("S", SIZE, default=(1,))
    padding: Dims = setting("P", SIZE0, default=(1,))
    fit: str = setting("fit", FIT, default="exact")

    examples = (
        Example("FILTER(mean)", "4x5x2"),
        Example("FILTER(gaussian, S=2)", "5x7x3"),
        Example("FILTER(sharpen)", "4x4x1"),
        Example("FILTER(edge, P=0)", "5x4x2"),
        Example("FILTER(sobel-x, S=2x1, fit=floor)", "6x5x2"),
        Example("FILTER(sobel-y, S=2, P=0, fit=ceil)", "6x5x2"),
    )
    bad_examples = (
        BadExample("FILTER", says="FILTER needs NAME"),
        BadExample("FILTER(emboss)", says="one of mean, gaussian, sharpen, edge, sobel-x, sobel-y"),
        BadExample("FILTER(mean, P=0)", "2x2x1", says="larger than its input"),
        BadExample("FILTER(mean)", "9x1", says="a filter for images"),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "fit", settled(self.fit, self.stride))

    def window(self, *inputs: Shape) -> Window:
        """3 x 3."""
        return window_at(inputs[0].rank, self, (3,), self.stride, self.padding)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(H - 3 + 2P)/S + 1 on each axis; channels stay."""
        (x,) = inputs
        if x.rank != 2:
            raise ShapeError(f"{self} is a filter for images", received=f"{x}, a sequence", hint="CONV3 on sequences")
        return Shape(windows(x, self.window(x), self.fit, self), x.channels)

    def cost(self, *inputs: Shape) -> Cost:
        """Nine multiplications an output. The kernel is fixed, so nothing is kept."""
        taps = 9 * self.output_shape(*inputs).elements
        return Cost(connections=taps, macs=taps)

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`kernel` (3, 3), fixed."""
        return {"kernel": Parameter((3, 3), value=FILTERS[self.name], trainable=False)}

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, H, W) -> y (N, C, H', W')."""
        (x,) = xs
        window = self.window(Shape(x.shape[2:], x.shape[1]))
        y: Array = np.tensordot(slide(x, window, self.fit), params["kernel"], axes=2)
        return y, (x.shape[2:], window)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy spread back through the kernel."""
        size, window = cache
        return (unslide(dy[..., None, None] * params["kernel"], size, window, self.fit),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps a padded copy of its input."""
        (x,) = inputs
        window = self.window(x)
        padded = padded_shape(x, window, overhang(x, window, self.output_shape(x).spatial))
        return Footprint(extra=run.volume(padded) + run.cast(9 * x.channels))

    def module(self, *inputs: Shape) -> nn.Module:
        """A convolution with one group for each channel; `kernel` is a buffer."""
        from . import _modules

        (x,) = inputs
        window = self.window(x)
        hang = overhang(x, window, self.output_shape(x).spatial)
        return _modules.Filter(FILTERS[self.name], window.stride, window.padding, hang=hang)
