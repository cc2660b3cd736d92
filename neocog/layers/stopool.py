r"""Stochastic pooling: in training one value of each window, drawn in proportion to its size; at inference their mean.

With a = max(0, x) in a window of F x F and p = a / (sum of a):

    training:   y = a_l,  l drawn with probability p_l                dx gets dy at l
    inference:  y = sum over l of  p_l a_l = Q / A,  A = sum of a,  Q = sum of a^2

| letter | meaning                                                  | default |
|--------|----------------------------------------------------------|---------|
| F      | window size                                              | required |
| S      | stride                                                   | F       |
| P      | zero padding, which is never drawn                       | 0       |
| fit    | what to do when windows do not tile: exact, floor, ceil  | exact   |

The paper pools what a ReLU has made; a negative value, which has no place in it, has probability 0 here. A window with
nothing above 0 gives 0, and no gradient. Shapes: x (N, C, H, W) -> y (N, C, H', W') with H' = (H - F + 2P)/S + 1.

Gradient at inference, added up over windows: dx = dy (2 a A - Q) / A^2 where x > 0, else 0. In training the draw
counts as given, as a maximum's place does; its probabilities get no gradient.

Source: Zeiler and Fergus, "Stochastic pooling for regularization of deep convolutional neural networks", ICLR 2013,
arXiv 1301.3557.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Pass, Shape
from ._pooling import Pooling, seen_by
from ._slide import slide, unslide
from ._window import overhang

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class StochasticPool(Pooling):
    """A value drawn from each window, or at inference the mean of the draw: `STOPOOL3(S=2)`."""

    op: ClassVar[str] = "STOPOOL"

    examples = (
        Example("STOPOOL2", "6x4x3"),
        Example("STOPOOL3(S=2, P=1)", "5x7x2"),
        Example("STOPOOL2x3(S=1x3)", "4x6x2"),
        Example("STOPOOL3(S=2, fit=floor)", "6x8x2"),
        Example("STOPOOL3(S=2, fit=ceil)", "6x8x2"),
        Example("STOPOOL2", "8x3"),
    )
    bad_examples = (
        BadExample("STOPOOL2", "5x5x1", says="do not tile"),
        BadExample("STOPOOL3(P=2)", says="at most half its window"),
    )

    def cost(self, *inputs: Shape) -> Cost:
        """F*F connections an output, no weights; one switch an output is kept."""
        outputs = self.output_shape(*inputs).elements
        return Cost(connections=self.taps(inputs[0]) * outputs, kept=outputs)

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C, *size'), and how much each value of a window moves y."""
        (x,) = xs
        window = self.window(seen_by(x))
        views = slide(np.maximum(x, 0.0), window, self.fit)
        a = views.reshape(*views.shape[: x.ndim], -1)  # (N, C, *size', F*F)
        y, share = _mean(a) if rng is None else _drawn(a, rng)
        return y, (x, window, share.reshape(views.shape))

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy times that, where x is positive."""
        x, window, share = cache
        spread = share * dy.reshape(*dy.shape, *(1,) * len(window.kernel))
        return (unslide(spread, x.shape[2:], window, self.fit) * (x > 0),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps what is positive of its input, all windows side by side, and a 64-bit switch for each output."""
        (x,) = inputs
        outputs = self.output_shape(x)
        windows = self.taps(x) * run.volume(outputs)
        if not run.training:
            return Footprint(forward=run.volume(x) + 2 * windows)
        switches = 8 * run.images * outputs.elements
        return Footprint(extra=run.volume(x) + windows + switches, forward=windows, backward=windows)

    def module(self, *inputs: Shape) -> nn.Module:
        """Unfolded windows, and draws by torch's own generator."""
        from . import _modules

        (x,) = inputs
        w = self.window(x)
        hang = overhang(x, w, self.output_shape(x).spatial)
        return _modules.StochasticPool(w.kernel, w.stride, w.padding, hang=hang)


def _mean(a: Array) -> tuple[Array, Array]:
    """Q / A of windows a (..., F*F), and its derivative for each value; 0 for a window of zeros."""
    total = a.sum(axis=-1)
    safe = np.where(total > 0, total, 1.0)
    y = (a**2).sum(axis=-1) / safe
    return y, (2 * a - y[..., None]) / safe[..., None]


def _drawn(a: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """One value of each window, the first where the running sum passes a random share of the whole; and 1 there."""
    running = a.cumsum(axis=-1)
    passed = running > rng.random(a.shape[:-1])[..., None] * running[..., -1:]
    drawn = np.zeros_like(a)
    np.put_along_axis(drawn, passed.argmax(axis=-1)[..., None], 1.0, axis=-1)
    return (a * drawn).sum(axis=-1), drawn
