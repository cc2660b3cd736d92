r"""Local contrast normalization: less the local mean, over the local deviation, both across all maps.

    m[j,k]    = sum over i,p,q of  w[p,q] * x[i,j+p,k+q]                 local mean
    v[i,j,k]  = x[i,j,k] - m[j,k]
    s[j,k]    = sqrt( sum over i,p,q of  w[p,q] * v[i,j+p,k+q]^2 )       local deviation
    y[i,j,k]  = v[i,j,k] / max(c, s[j,k])

| letter | meaning                                                             | default         |
|--------|---------------------------------------------------------------------|-----------------|
| F      | window size, odd, from 3 to 255                                     | required        |
| sigma  | standard deviation of w, a Gaussian, in positions; at least F/6     | F/4             |
| c      | smallest divisor; 0 is the paper's: the mean of s over the image    | 0               |

w is divided by its sum over the C maps and over those of its F x F positions that lie on the image: a border is no
edge, and a flat image becomes zero up to the border. With c=0 the mean counts as 1e-4 where it is smaller, lest a flat
image be divided by its rounding. Shapes: any volume, unchanged; on a 1-D volume the window has F positions.

One output position sees 2F - 1 input positions along an axis, those of its window's windows; with c=0 it sees the
whole image, through the mean of s. w counts no parameters. Each of its C * F * F weights is multiplied once a
position for m and once for s, which serve all maps.

Gradient. Let d = max(c, s), G u the window sums of a map u (symmetric, so its own transpose) and r = C * G 1 what
the weights are divided by: m = G(sum_i x_i) / r and s^2 = G(sum_i v_i^2) / r. Back from the output:

    dd     = - sum over i of dy_i v_i / d^2
    ds     = dd where s > c, else 0;  with c=0 each ds also gets (sum of dd where s <= c) / (H W)
    dv_i   = dy_i / d + v_i * G(ds / (s r))        0 in place of ds / s where s = 0
    dx_i   = dv_i - G((sum over i of dv_i) / r)

Source: Jarrett, Kavukcuoglu, Ranzato and LeCun, "What is the best multi-stage architecture for object recognition?",
ICCV 2009, section 2, with F=9. The default of sigma and the rule at borders are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, SpellingError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, NUMBER, setting
from ._slide import slide
from ._window import whole_input

if TYPE_CHECKING:
    from torch import nn

LARGEST = 255
"""The longest side of a window, whose F x F weights exist as soon as the network is planned."""
FLAT = 1e-4
"""A mean deviation below it is rounding: the image is flat."""


@dataclass(frozen=True)
class LocalContrastNorm(Layer):
    """Subtracts the local mean and divides by the local deviation: `LCN9`."""

    op: ClassVar[str] = "LCN"
    size: int = setting("F", COUNT, position="head")
    sigma: float = setting("sigma", NUMBER, default=None)
    least: float = setting("c", NUMBER, default=0.0)

    examples = (
        Example("LCN3", "5x4x2"),
        Example("LCN5(sigma=2)", "4x6x3"),
        Example("LCN3(c=0.5)", "7x6x2"),
        Example("LCN9", "3x4x2"),
        Example("LCN5", "7x2"),
        Example("LCN3(sigma=1, c=1)", "8x3"),
    )
    bad_examples = (
        BadExample("LCN", says="LCN needs F"),
        BadExample("LCN4", says="F is odd"),
        BadExample("LCN1", says="F is odd and from 3 to 255"),
        BadExample("LCN257", says="F is odd and from 3 to 255"),
        BadExample("LCN3", "1x1x2", says="fewer than three values"),
        BadExample("LCN9(sigma=1)", says="at least F/6"),
        BadExample("LCN9(c=-1)", says="c is not negative"),
    )

    def __post_init__(self) -> None:
        if self.size % 2 == 0 or not 3 <= self.size <= LARGEST:
            raise SpellingError(
                f"LCN's F is odd and from 3 to {LARGEST}: positions on both sides of a middle",
                received=f"F={self.size}",
                hint=f"F={min(max(3, self.size + 1), LARGEST)}",
            )
        if self.sigma is None:
            object.__setattr__(self, "sigma", self.size / 4)
        if self.sigma < self.size / 6:
            raise SpellingError(
                "LCN's sigma is at least F/6: a narrower Gaussian leaves the window's rim without weight",
                received=f"sigma={self.sigma:g}, F={self.size}",
                hint=f"sigma={self.size / 4:g}, which is F/4, or a smaller F",
            )
        if self.least < 0:
            raise SpellingError("LCN's c is not negative", received=f"c={self.least:g}", hint="c=0 for the mean")

    def default_of(self, name: str, declared: Any) -> Any:
        """Sigma left out means F/4."""
        return self.size / 4 if name == "sigma" else declared

    def output_shape(self, *inputs: Shape) -> Shape:
        """The same volume; one or two values would all become 0, or 1 and -1."""
        (x,) = inputs
        if x.elements < 3:
            raise ShapeError(f"{self} would normalize fewer than three values", received=str(x), hint="a larger volume")
        return x

    def cost(self, *inputs: Shape) -> Cost:
        """C*F*F weights for the mean and as many for the deviation, once a position; v and s are kept."""
        (x,) = inputs
        taps = 2 * x.elements * self.size**x.rank
        return Cost(connections=taps, macs=taps, kept=x.elements + x.positions)

    def window(self, *inputs: Shape) -> Window:
        """The windows of a window, or the whole image through its mean deviation."""
        (x,) = inputs
        if self.least == 0:
            return whole_input(x)
        ones = (1,) * x.rank
        return Window((2 * self.size - 1,) * x.rank, ones, (self.size - 1,) * x.rank, ones)

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`kernel` (F, F), fixed: the Gaussian with 1 in its middle."""
        rank = inputs[0].rank
        return {"kernel": Parameter((self.size,) * rank, value=self._gaussian(rank), trainable=False)}

    def _gaussian(self, rank: int) -> Array:
        line = np.exp(-((np.arange(self.size) - self.size // 2) ** 2) / (2 * self.sigma**2))
        return line if rank == 1 else np.multiply.outer(line, line)

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """(x - m) / max(c, s)."""
        (x,) = xs
        sums = _WindowSums(params["kernel"])
        weight = x.shape[1] * sums(np.ones((1, 1, *x.shape[2:])))
        v = x - sums(x.sum(axis=1, keepdims=True)) / weight
        s = np.sqrt(sums((v**2).sum(axis=1, keepdims=True)) / weight)
        c = np.maximum(_mean(s), FLAT) if self.least == 0 else np.full((1,) * x.ndim, self.least)
        return v / np.maximum(c, s), (sums, weight, v, s, c)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The formula above."""
        sums, weight, v, s, c = cache
        d = np.maximum(c, s)
        dd = -(dy * v).sum(axis=1, keepdims=True) / d**2
        ds = np.where(s > c, dd, 0.0)
        if self.least == 0:
            ds += np.where(c > FLAT, _mean(dd - ds), 0.0)
        dv = dy / d + v * sums(np.divide(ds, s, out=np.zeros_like(s), where=s > 0) / weight)
        return (dv - sums(dv.sum(axis=1, keepdims=True) / weight),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps v, four single maps an image and one for all, three masks, and copies of the kernel under autocast."""
        (x,) = inputs
        volume, one = run.volume(x), run.volume(Shape(x.spatial, 1))
        if not run.training:
            return Footprint(forward=volume + 3 * one)
        maps = 4 * one + one // run.images + 3 * run.images * x.positions
        means = run.images * run.value_bytes if self.least == 0 else 0
        kernels = 2 * run.cast(self.size**x.rank)
        return Footprint(extra=volume + maps + means + kernels, forward=volume, backward=2 * volume)

    def module(self, *inputs: Shape) -> nn.Module:
        """Window sums by a convolution with one map; `kernel` is a buffer."""
        from . import _modules

        return _modules.LocalContrastNorm(self._gaussian(inputs[0].rank), self.least, FLAT)


@dataclass(frozen=True)
class _WindowSums:
    """The weighted sum of each position's window, of maps (N, 1, *size): G in the formula."""

    kernel: Array

    def __call__(self, maps: Array) -> Array:
        rank = self.kernel.ndim
        ones, around = (1,) * rank, tuple(n // 2 for n in self.kernel.shape)
        summed: Array = np.tensordot(slide(maps, Window(self.kernel.shape, ones, around, ones)), self.kernel, axes=rank)
        return summed


def _mean(maps: Array) -> Array:
    """The mean over positions, for each image: (N, 1, *size) -> (N, 1, 1, ...)."""
    mean: Array = maps.mean(axis=tuple(range(2, maps.ndim)), keepdims=True)
    return mean
