r"""Parameter-free shortcut (option A of He et al.): every S-th position, and zeros for the maps that are new.

    y[n,k,i,j] = x[n,k,S*i,S*j]  for k < C,   0  for C <= k < K

| letter | meaning                                  | default  |
|--------|------------------------------------------|----------|
| K      | output channels, at least C              | required |
| S      | stride                                   | 2        |

Shapes: x (N, C, H, W) -> y (N, K, ceil(H/S), ceil(W/S)), the size a padded convolution with that stride gives.
Gradient: the forward pass copies values, so dx holds dy where a value was copied from and zeros elsewhere.

Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, section 3.3. The paper
does not say where the zero maps stand; here they follow the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Pass, Shape, Window, per_axis
from ..spelling import COUNT, SIZE, Dims, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Shortcut(Layer):
    """Subsample by a stride and append zero maps up to K: `SHORTCUT(K=32)`."""

    op: ClassVar[str] = "SHORTCUT"
    out_channels: int = setting("K", COUNT)
    stride: Dims = setting("S", SIZE, default=(2,))

    examples = (
        Example("SHORTCUT(K=5)", "6x7x3"),
        Example("SHORTCUT(K=3, S=1)", "4x4x3"),
        Example("SHORTCUT(K=4, S=3x2)", "7x5x2"),
        Example("SHORTCUT(K=4)", "7x2"),
    )
    bad_examples = (
        BadExample("SHORTCUT(K=2)", "4x4x3", says="K=2 is fewer than its 3 input channels"),
        BadExample("SHORTCUT", says="SHORTCUT needs K"),
    )

    def output_shape(self, *inputs: Shape) -> Shape:
        """ceil(size / S) on each axis, K channels."""
        (x,) = inputs
        if self.out_channels < x.channels:
            raise ShapeError(
                f"{self} only adds maps, but K={self.out_channels} is fewer than its {x.channels} input channels",
                received=str(x),
                hint=f"K={x.channels} or more, or a projection CONV1-{self.out_channels}",
            )
        stride = per_axis(self.stride, x.rank, self)
        return Shape(tuple(-(-n // s) for n, s in zip(x.spatial, stride, strict=True)), self.out_channels)

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing: values are copied."""
        return Cost()

    def window(self, *inputs: Shape) -> Window:
        """One input position for each output position."""
        rank = inputs[0].rank
        return Window((1,) * rank, per_axis(self.stride, rank, self), (0,) * rank, (1,) * rank)

    def _picked(self, rank: int) -> tuple[slice, ...]:
        steps = per_axis(self.stride, rank, self)
        return (slice(None), slice(None), *(slice(None, None, s) for s in steps))

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, K, *size')."""
        (x,) = xs
        y = x[self._picked(x.ndim - 2)]
        new = [(0, 0), (0, self.out_channels - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
        return np.pad(y, new), x.shape

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy of the copied values, where they were copied from."""
        dx = np.zeros(cache)
        dx[self._picked(dy.ndim - 2)] = dy[:, : cache[1]]
        return (dx,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps nothing; going back, zeros are laid out axis by axis."""
        return Footprint(backward=run.volume(*inputs) // 2)

    def module(self, *inputs: Shape) -> nn.Module:
        """Slicing and `F.pad`."""
        from . import _modules

        (x,) = inputs
        return _modules.Shortcut(per_axis(self.stride, x.rank, self), self.out_channels)
