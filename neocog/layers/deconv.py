r"""Transposed convolution: every input value adds its multiple of the kernel to the output, S apart.

    y[n,k,i,j] = b[k] + sum over c and all p,u,q,v with i = S*p + D*u - P, j = S*q + D*v - P of
                 w[c,k,u,v] * x[n,c,p,q]

It is the transpose of `CONV` with the same F, S, P and D: its forward pass is the other's gradient for x. Also called
deconvolution, though it undoes nothing.

| letter | meaning                                             | default        |
|--------|-----------------------------------------------------|----------------|
| F      | kernel size                                         | required       |
| K      | number of output maps                               | required       |
| S      | stride: how far apart the inputs lie in the output  | 1              |
| P      | how much is cut off the output at each side         | D(F-1)/2, as in CONV |
| D      | dilation; 1 is a dense kernel                       | 1              |
| BIAS   | whether each output map has a bias                  | yes            |

Shapes: x (N, C, H, W), w (C, K, F, F), y (N, K, H', W') with H' = (H-1)S - 2P + D(F-1) + 1. On a 1-D volume (N, C, L)
the same with one axis. With P left out, H' = (H-1)S + 1; twice the size is F=4, S=2, P=1.

Gradient, from dy: dx is the convolution of dy with w, and

    db[k]       = sum over n,i,j of dy[n,k,i,j]
    dw[c,k,u,v] = sum over n,p,q of x[n,c,p,q] * dy[n, k, S*p + D*u - P, S*q + D*v - P]

Sources: Dumoulin and Visin, arXiv 1603.07285, chapter 4; Long, Shelhamer and Darrell, CVPR 2015 (FCN); Radford, Metz
and Chintala, arXiv 1511.06434 (DCGAN).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, FLAG, SIZE, SIZE0, Dims, setting
from ._slide import slide, unslide
from ._window import ONEDNN_KERNELS, padding_left_out, same_padding, window_at

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Deconv(Layer):
    """The transpose of a convolution: `DECONV4-21(S=2, P=1)`."""

    op: ClassVar[str] = "DECONV"
    kernel_size: Dims = setting("F", SIZE, position="head")
    out_channels: int = setting("K", COUNT, position="dash")
    stride: Dims = setting("S", SIZE, default=(1,))
    padding: Dims = setting("P", SIZE0, default=None)
    dilation: Dims = setting("D", SIZE, default=(1,))
    bias: bool = setting("BIAS", FLAG, default=True)

    examples = (
        Example("DECONV4-3(S=2, P=1)", "3x4x2"),
        Example("DECONV3-2", "4x3x3"),
        Example("DECONV2x3-2(S=2x1, P=0, BIAS=no)", "3x4x2"),
        Example("DECONV3-2(S=2, D=2, P=1)", "3x3x2"),
        Example("DECONV1-2(S=3, P=0)", "3x2x2"),
        Example("DECONV4-3(S=2, P=1)", "5x2"),
    )
    bad_examples = (
        BadExample("DECONV3-2(P=3)", "3x3x1", says="(H - 1)S - 2P + D(F-1) + 1 = (3 - 1)*1 - 2*3 + 2 + 1 = -1"),
        BadExample("DECONV4-2", says="DECONV with F=4 has no default padding"),
        BadExample("DECONV3", says="DECONV needs K"),
        BadExample("DECONV3x5-4", "9x3", says="spatial axis"),
    )

    def __post_init__(self) -> None:
        if self.padding is None:
            object.__setattr__(self, "padding", same_padding(self.op, self.kernel_size, self.dilation))

    def default_of(self, name: str, declared: Any) -> Any:
        """Padding left out means that of a convolution which keeps the size, where there is one."""
        return padding_left_out(self.kernel_size, self.dilation) if name == "padding" else declared

    def kernel(self, rank: int) -> Window:
        """The kernel at this rank, as it lies on the output."""
        return window_at(rank, self, self.kernel_size, self.stride, self.padding, self.dilation)

    def window(self, *inputs: Shape) -> Window:
        """The turned kernel, over an input spread out S times."""
        kernel = self.kernel(inputs[0].rank)
        around = tuple(e - 1 - p for e, p in zip(kernel.extent, kernel.padding, strict=True))
        return Window(kernel.kernel, (1,) * len(around), around, kernel.dilation, upsampling=kernel.stride)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(H-1)S - 2P + D(F-1) + 1 on each axis, K channels."""
        (x,) = inputs
        window = self.kernel(x.rank)
        axes = list(zip(x.spatial, window.stride, window.padding, window.extent, strict=True))
        spatial = tuple((n - 1) * s - 2 * p + e for n, s, p, e in axes)
        if min(spatial) < 1:
            n, s, p, e = axes[spatial.index(min(spatial))]
            raise ShapeError(
                f"{self} cuts off all there is: (H - 1)S - 2P + D(F-1) + 1 = "
                f"({n} - 1)*{s} - 2*{p} + {e - 1} + 1 = {min(spatial)}",
                received=str(x),
                hint=f"P={((n - 1) * s + e - 1) // 2} or smaller",
            )
        return Shape(spatial, self.out_channels)

    def cost(self, *inputs: Shape) -> Cost:
        """F*F*K weights meet each input value; what falls on the part that is cut off is counted."""
        (x,) = inputs
        outputs = self.output_shape(x)
        weights = x.channels * self.out_channels * math.prod(self.kernel(x.rank).kernel)
        return Cost(
            parameters=weights + (self.out_channels if self.bias else 0),
            connections=weights * x.positions + (outputs.elements if self.bias else 0),
            macs=weights * x.positions,
            kept=x.elements,
        )

    def unrolled(self, *inputs: Shape) -> int:
        """F*F*K rows and one column for each input position, before they are added up."""
        (x,) = inputs
        return math.prod(self.kernel(x.rank).kernel) * self.out_channels * x.positions

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` (C, K, *F) and `bias` (K,). About 1/S of the kernel meets any one output along an axis."""
        (x,) = inputs
        window = self.kernel(x.rank)
        taps = math.prod(window.kernel)
        fan = (max(1, taps * x.channels // math.prod(window.stride)), taps * self.out_channels)
        found = {"weight": Parameter((x.channels, self.out_channels, *window.kernel), fan=fan)}
        if self.bias:
            found["bias"] = Parameter((self.out_channels,))
        return found

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, K, *size'): the turned kernel slides over x with gaps of S - 1 zeros."""
        (x,) = xs
        rank = x.ndim - 2
        kernel = self.kernel(rank)
        spread = np.zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], kernel.stride, strict=True))))
        spread[_every(kernel.stride)] = x
        around = tuple(e - 1 for e in kernel.extent)
        full = Window(kernel.kernel, (1,) * rank, around, kernel.dilation)
        views = slide(spread, full)
        views = views[_inside(kernel.padding, views.shape[2 : 2 + rank])]  # (N, C, *size', *F)
        taps = list(range(-rank, 0))
        turned = np.flip(params["weight"], axis=tuple(taps))
        y = np.moveaxis(np.tensordot(views, turned, axes=([1, *taps], [0, *taps])), -1, 1)
        if self.bias:
            y = y + params["bias"].reshape(-1, *(1,) * rank)
        return y, (kernel, full, spread.shape[2:], views, turned)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The transposes of the forward pass."""
        kernel, full, size, views, turned = cache
        rank = len(size)
        summed = [0, *range(2, 2 + rank)]
        dturned = np.tensordot(views, dy, axes=(summed, summed))  # (C, *F, K)
        grads = {"weight": np.flip(np.moveaxis(dturned, -1, 1), axis=tuple(range(2, 2 + rank)))}
        if self.bias:
            grads["bias"] = dy.sum(axis=tuple(summed))
        uncut = np.pad(dy, [(0, 0), (0, 0), *((p, p) for p in kernel.padding)])
        dviews = np.moveaxis(np.tensordot(uncut, turned, axes=([1], [1])), 1 + rank, 1)  # (N, C, *full, *F)
        return (unslide(dviews, size, full)[_every(kernel.stride)],), grads

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input. oneDNN lays out the weights anew."""
        (x,) = inputs
        weights = math.prod(self.parameters(x)["weight"].shape)
        anew = 2 * run.value_bytes * weights
        return Footprint(
            keeps_input=True,
            extra=run.cast(weights) if run.training else 0,
            ready=run.cast(weights),
            forward=anew,
            backward=anew,
            kernels=ONEDNN_KERNELS if run.training else ONEDNN_KERNELS // 2,
            relaid=run.volume(self.output_shape(x)),
        )

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.ConvTranspose1d` or `nn.ConvTranspose2d`."""
        from torch import nn

        (x,) = inputs
        w = self.kernel(x.rank)
        transposed = nn.ConvTranspose1d if x.rank == 1 else nn.ConvTranspose2d
        return transposed(
            x.channels,
            self.out_channels,
            w.kernel,  # type: ignore[arg-type]  # the hints of torch know one rank each
            w.stride,  # type: ignore[arg-type]
            w.padding,  # type: ignore[arg-type]
            bias=self.bias,
            dilation=w.dilation,  # type: ignore[arg-type]
        )


def _every(stride: Dims) -> tuple[slice, ...]:
    """Every S-th position on each axis."""
    return (slice(None), slice(None), *(slice(None, None, s) for s in stride))


def _inside(padding: Dims, size: Dims) -> tuple[slice, ...]:
    """All positions but the first and the last P."""
    return (slice(None), slice(None), *(slice(p, n - p) for p, n in zip(padding, size, strict=True)))
