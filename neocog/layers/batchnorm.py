r"""Batch normalization: each channel is brought to mean 0 and variance 1 over the batch, then scaled and shifted.

    training:   y = g * (x - m) / sqrt(v + eps) + b,   m, v = mean and variance of the channel over N, H, W
    inference:  the same with the running mean and variance, which training moves by
                running <- (1 - momentum) * running + momentum * batch     (the variance with n/(n-1), unbiased)

| letter | meaning                                    | default |
|--------|--------------------------------------------|---------|
| eps    | added to the variance                      | 1e-5    |
| m      | momentum of the running statistics         | 0.1     |
| AFFINE | whether there are g and b                  | yes     |

Shapes: any volume, unchanged; `weight` g, `bias` b, `running_mean`, `running_var` are (C,).

Gradient in training, with h = (x - m) / sqrt(v + eps) and means over N, H, W:

    db = sum of dy,   dg = sum of dy h,   dx = g / sqrt(v + eps) * (dy - mean(dy) - h * mean(dy h))

because m and v depend on x too. At inference they are constants and dx = g / sqrt(v + eps) * dy.

Source: Ioffe and Szegedy, "Batch normalization", ICML 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import SpellingError
from ..layer import MASTER, Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape
from ..spelling import FLAG, NUMBER, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Mean 0 and variance 1 for each channel over the batch: `BN`."""

    op: ClassVar[str] = "BN"
    couples_batch: ClassVar[bool] = True
    eps: float = setting("eps", NUMBER, default=1e-5)
    momentum: float = setting("m", NUMBER, default=0.1)
    affine: bool = setting("AFFINE", FLAG, default=True)

    examples = (
        Example("BN", "4x3x2"),
        Example("BN(eps=1e-3, m=0.3)", "3x3x2"),
        Example("BN(AFFINE=no)", "3x2x3"),
        Example("BN", "5x3"),
    )
    bad_examples = (
        BadExample("BN(eps=0)", says="larger than 0"),
        BadExample("BN(m=2)", says="from 0 to 1"),
    )

    def __post_init__(self) -> None:
        if self.eps <= 0:
            raise SpellingError("BN's eps is larger than 0", received=f"eps={self.eps:g}", hint="eps=1e-5")
        if not 0 <= self.momentum <= 1:
            raise SpellingError("BN's m is a share, from 0 to 1", received=f"m={self.momentum:g}", hint="m=0.1")

    def cost(self, *inputs: Shape) -> Cost:
        """Two parameters a channel; the normalised values are kept."""
        (x,) = inputs
        return Cost(parameters=2 * x.channels if self.affine else 0, kept=x.elements)

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight`, `bias`, and the running statistics that are stored but not learned by gradient."""
        shape = (inputs[0].channels,)
        learned = {"weight": Parameter(shape, value=1.0), "bias": Parameter(shape)} if self.affine else {}
        return {
            **learned,
            "running_mean": Parameter(shape, trainable=False),
            "running_var": Parameter(shape, value=1.0, trainable=False),
        }

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size), normalised by the batch's statistics in training, else by the running ones."""
        (x,) = xs
        positions = (0, *range(2, x.ndim))
        each = (-1, *(1,) * (x.ndim - 2))
        training = rng is not None
        mean = x.mean(axis=positions) if training else params["running_mean"]
        var = x.var(axis=positions) if training else params["running_var"]
        scale = 1.0 / np.sqrt(var + self.eps)
        h = (x - mean.reshape(each)) * scale.reshape(each)
        gain = params["weight"] if self.affine else np.ones_like(scale)
        y = gain.reshape(each) * h
        if self.affine:
            y = y + params["bias"].reshape(each)
        return y, (h, (gain * scale).reshape(each), mean, var, training)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The formulas above."""
        h, factor, _, _, training = cache
        positions = (0, *range(2, dy.ndim))
        grads = {"weight": (dy * h).sum(axis=positions), "bias": dy.sum(axis=positions)} if self.affine else {}
        if training:
            centred = dy - dy.mean(axis=positions, keepdims=True)
            dy = centred - h * (dy * h).mean(axis=positions, keepdims=True)
        return (factor * dy,), grads

    def updated(self, params: Arrays, cache: Any) -> dict[str, Array]:
        """The running statistics after a training pass."""
        h, _, mean, var, training = cache
        if not training:
            return {}
        count = h.size // h.shape[1]
        unbiased = var * count / max(1, count - 1)
        keep, take = 1 - self.momentum, self.momentum
        return {
            "running_mean": keep * params["running_mean"] + take * mean,
            "running_var": keep * params["running_var"] + take * unbiased,
        }

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input and the batch's mean and deviation of each channel; going back makes one volume more."""
        (x,) = inputs
        return Footprint(keeps_input=True, extra=2 * x.channels * MASTER, backward=run.volume(x))

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.BatchNorm1d` or `nn.BatchNorm2d`."""
        from torch import nn

        norm = nn.BatchNorm1d if inputs[0].rank == 1 else nn.BatchNorm2d
        return norm(inputs[0].channels, eps=self.eps, momentum=self.momentum, affine=self.affine)
