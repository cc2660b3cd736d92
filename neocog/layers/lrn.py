r"""Local response normalization: a value is divided by a power of the energy around it.

    y = x / d^beta,   d = k + alpha * (sum of x^2 over n neighbours)

| letter | meaning                                                                        | default |
|--------|--------------------------------------------------------------------------------|---------|
| n      | neighbours, odd                                                                | 5       |
| k      | added to the energy                                                            | 2       |
| alpha  | weight of the energy                                                           | 1e-4    |
| beta   | power                                                                          | 0.75    |
| REGION | `across`: the n maps around it, same position; `within`: n x n positions, same map | across |

Beyond the first and last map, or the border, the energy is zero. Shapes: any volume, unchanged.

The paper's alpha multiplies the plain sum, and so does ours. Caffe and torch divide it by n: their alpha is n times
the paper's for the same function.

Gradient, with N(j) the neighbourhood of j, which is symmetric:

    dx_i = dy_i d_i^-beta - 2 alpha beta x_i * (sum over j in N(i) of dy_j x_j d_j^(-beta-1))

Source: Krizhevsky, Sutskever and Hinton, 2012, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import SpellingError
from ..layer import MASTER, Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Pass, Shape, Window
from ..spelling import COUNT, NUMBER, choice, setting

if TYPE_CHECKING:
    from torch import nn

REGION = choice("across", "within")


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """Divides by the energy of neighbouring maps or positions: `LRN`."""

    op: ClassVar[str] = "LRN"
    size: int = setting("n", COUNT, default=5)
    k: float = setting("k", NUMBER, default=2.0)
    alpha: float = setting("alpha", NUMBER, default=1e-4)
    beta: float = setting("beta", NUMBER, default=0.75)
    region: str = setting("REGION", REGION, default="across")

    examples = (
        Example("LRN", "3x2x7"),
        Example("LRN(n=3, k=1, alpha=0.5, beta=0.5)", "2x3x4"),
        Example("LRN(n=3, alpha=0.1, REGION=within)", "5x4x2"),
        Example("LRN(n=3, alpha=0.1)", "5x4"),
        Example("LRN(n=3, alpha=0.1, REGION=within)", "6x2"),
    )
    bad_examples = (
        BadExample("LRN(n=4)", says="n is odd"),
        BadExample("LRN(k=0)", says="k is larger than 0"),
        BadExample("LRN(alpha=-1)", says="alpha and beta are not negative"),
        BadExample("LRN(REGION=around)", says="one of across, within"),
    )

    def __post_init__(self) -> None:
        if self.size % 2 == 0:
            raise SpellingError(
                "LRN's n is odd: as many neighbours on each side", received=f"n={self.size}", hint="n=5"
            )
        if self.k <= 0:
            raise SpellingError("LRN's k is larger than 0", received=f"k={self.k:g}", hint="k=2")
        if self.alpha < 0 or self.beta < 0:
            raise SpellingError("LRN's alpha and beta are not negative", hint="alpha=1e-4, beta=0.75")

    def cost(self, *inputs: Shape) -> Cost:
        """No weights; input and energy are kept."""
        return Cost(kept=2 * inputs[0].elements)

    def window(self, *inputs: Shape) -> Window | None:
        """n x n positions within a map; across maps only its own position."""
        rank = inputs[0].rank
        if self.region == "across":
            return None
        return Window((self.size,) * rank, (1,) * rank, (self.size // 2,) * rank, (1,) * rank)

    def _neighbourhood(self, values: Array) -> Array:
        """The sum of each value's n neighbours, itself included."""
        axes = (1,) if self.region == "across" else tuple(range(2, values.ndim))
        padding = [(self.size // 2,) * 2 if axis in axes else (0, 0) for axis in range(values.ndim)]
        views = sliding_window_view(np.pad(values, padding), (self.size,) * len(axes), axis=axes)
        summed: Array = views.sum(axis=tuple(range(-len(axes), 0)))
        return summed

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x / d^beta."""
        (x,) = xs
        d = self.k + self.alpha * self._neighbourhood(x**2)
        return x * d**-self.beta, (x, d)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The formula above."""
        x, d = cache
        spread = self._neighbourhood(dy * x * d ** (-self.beta - 1))
        return (dy * d**-self.beta - 2 * self.alpha * self.beta * x * spread,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input; across maps one image at a time has volumes between, else all have energies and powers."""
        (x,) = inputs
        if self.region == "across":
            image = MASTER * x.elements
            return Footprint(keeps_input=run.training, forward=4 * image, backward=6 * image)
        volume = run.volume(x)
        if not run.training:
            return Footprint(forward=2 * volume)
        return Footprint(keeps_input=True, extra=3 * volume, forward=volume, backward=3 * volume)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.LocalResponseNorm` with n times our alpha across maps; within a map a module of our own."""
        from torch import nn

        from . import _modules

        if self.region == "across":
            return nn.LocalResponseNorm(self.size, alpha=self.alpha * self.size, beta=self.beta, k=self.k)
        return _modules.ResponseNormWithin(self.size, self.alpha, self.beta, self.k)
