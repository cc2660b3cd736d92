r"""Locally connected: a convolution without sharing, in which every output position has kernels of its own.

    y[n,k,i,j] = b[k,i,j] + sum over c,u,v of  w[k,c,i,j,u,v] * x[n, c, S*i + u - P, S*j + v - P]

| letter | meaning                                             | default        |
|--------|-----------------------------------------------------|----------------|
| F      | kernel size; `LOCAL1x7-64` is 1 high and 7 wide     | required       |
| K      | number of output maps                               | required       |
| S      | stride                                              | 1              |
| P      | zero padding on each side                           | (F-1)/2, same  |
| BIAS   | whether each output value has a bias                | yes            |
| fit    | when windows do not tile: exact, floor or ceil      | exact          |

Shapes: x (N, C, H, W), w (K, C, H', W', F, F), b (K, H', W'), y (N, K, H', W') with H' = (H - F + 2P)/S + 1. On a
1-D volume (N, C, L) the same with one axis. The first layer of AlexNet, 227x227x3 with F=11, S=4, K=96, would have
290,400 neurons of 364 parameters, 105,705,600 in all, where sharing leaves 34,944 (fact C7).

Gradient, from dy. Nothing is shared, so nothing is summed over positions:

    db[k,i,j]       = sum over n of dy[n,k,i,j]
    dw[k,c,i,j,u,v] = sum over n of dy[n,k,i,j] * x[n, c, S*i + u - P, S*j + v - P]
    dx              = every dy[n,k,i,j] * w[k,c,i,j,u,v] added where x was read

Source: LeCun, "Generalization and network design strategies", 1989; Taigman et al., "DeepFace", CVPR 2014.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, FLAG, SIZE, SIZE0, Dims, setting
from ._slide import slide, unslide
from ._window import FIT, overhang, padded_shape, padding_left_out, same_padding, settled, window_at, windows

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LocallyConnected(Layer):
    """K kernels of F x F x C for every output position: `LOCAL3-16`."""

    op: ClassVar[str] = "LOCAL"
    kernel_size: Dims = setting("F", SIZE, position="head")
    out_channels: int = setting("K", COUNT, position="dash")
    stride: Dims = setting("S", SIZE, default=(1,))
    padding: Dims = setting("P", SIZE0, default=None)
    bias: bool = setting("BIAS", FLAG, default=True)
    fit: str = setting("fit", FIT, default="exact")

    examples = (
        Example("LOCAL3-4", "5x4x2"),
        Example("LOCAL3-2(S=2, P=1)", "5x5x3"),
        Example("LOCAL1x3-4(S=2x1, BIAS=no)", "5x4x2"),
        Example("LOCAL2-3(P=0)", "4x3x2"),
        Example("LOCAL3-2(S=2, fit=floor)", "6x5x2"),
        Example("LOCAL3-2(S=2, P=0, fit=ceil)", "6x5x2"),
        Example("LOCAL3-4(S=2)", "9x3"),
    )
    bad_examples = (
        BadExample("LOCAL3-4(S=3, P=0)", "7x7x1", says="(7 - 3 + 0)/3 + 1 = 2.333"),
        BadExample("LOCAL5-4(P=0)", "4x4x1", says="larger than its input"),
        BadExample("LOCAL2-4", says="LOCAL with F=2 has no default padding"),
        BadExample("LOCAL3", says="LOCAL needs K"),
        BadExample("LOCAL3-4(D=2)", says="LOCAL has no option D"),
    )

    def __post_init__(self) -> None:
        if self.padding is None:
            object.__setattr__(self, "padding", same_padding(self.op, self.kernel_size))
        object.__setattr__(self, "fit", settled(self.fit, self.stride))

    def default_of(self, name: str, declared: Any) -> Any:
        """Padding left out means the same-size padding, where there is one."""
        return padding_left_out(self.kernel_size) if name == "padding" else declared

    def window(self, *inputs: Shape) -> Window:
        """The kernel at this rank; it is never dilated."""
        return window_at(inputs[0].rank, self, self.kernel_size, self.stride, self.padding)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(H - F + 2P)/S + 1 on each axis, K channels."""
        (x,) = inputs
        return Shape(windows(x, self.window(x), self.fit, self), self.out_channels)

    def cost(self, *inputs: Shape) -> Cost:
        """F*F*C weights and a bias for each output value, each used once."""
        (x,) = inputs
        outputs = self.output_shape(x).elements
        weights = outputs * math.prod(self.window(x).kernel) * x.channels
        parameters = weights + (outputs if self.bias else 0)
        return Cost(parameters=parameters, connections=parameters, macs=weights, kept=x.elements)

    def unrolled(self, *inputs: Shape) -> int:
        """F*F*C rows and one column for each output position, as for a convolution."""
        (x,) = inputs
        return math.prod(self.window(x).kernel) * x.channels * self.output_shape(x).positions

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` (K, C, *size', *F) and `bias` (K, *size')."""
        (x,) = inputs
        kernel, outputs = self.window(x).kernel, self.output_shape(x)
        taps = math.prod(kernel)
        fan = (taps * x.channels, taps * self.out_channels)
        found = {"weight": Parameter((self.out_channels, x.channels, *outputs.spatial, *kernel), fan=fan)}
        if self.bias:
            found["bias"] = Parameter((self.out_channels, *outputs.spatial))
        return found

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, K, *size')."""
        (x,) = xs
        window = self.window(Shape(x.shape[2:], x.shape[1]))
        views = slide(x, window, self.fit)  # (N, C, *size', *F)
        taps = math.prod(window.kernel)
        flat = views.reshape(*views.shape[:2], -1, taps)
        weight = params["weight"].reshape(*params["weight"].shape[:2], -1, taps)
        y = np.einsum("ncpt,kcpt->nkp", flat, weight).reshape(len(x), -1, *views.shape[2 : x.ndim])
        return (y + params["bias"] if self.bias else y), (x.shape, window, views.shape, flat, weight)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The transposes of the forward pass, position by position."""
        shape, window, shape_of_views, flat, weight = cache
        d = dy.reshape(*dy.shape[:2], -1)  # (N, K, positions)
        dviews = np.einsum("nkp,kcpt->ncpt", d, weight).reshape(shape_of_views)
        grads = {"weight": np.einsum("nkp,ncpt->kcpt", d, flat).reshape(params["weight"].shape)}
        if self.bias:
            grads["bias"] = dy.sum(axis=0)
        return (unslide(dviews, shape[2:], window, self.fit),), grads

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps the values under every window, and the weights in the order of positions."""
        (x,) = inputs
        window = self.window(x)
        weights = run.value_bytes * math.prod(self.parameters(x)["weight"].shape)
        taps = run.value_bytes * run.images * self.unrolled(x)
        padded = padded_shape(x, window, overhang(x, window, self.output_shape(x).spatial))
        ready = run.cast(math.prod(self.parameters(x)["weight"].shape))
        return Footprint(extra=taps + weights, ready=ready, forward=taps + run.volume(padded), backward=taps)

    def module(self, *inputs: Shape) -> nn.Module:
        """Unfolded windows times a weight for each position."""
        from . import _modules

        (x,) = inputs
        window, outputs = self.window(x), self.output_shape(x)
        return _modules.LocallyConnected(
            self.parameters(x)["weight"].shape,
            window.stride,
            window.padding,
            hang=overhang(x, window, outputs.spatial),
            bias=self.bias,
        )
