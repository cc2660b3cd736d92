"""Local response normalization across maps on a CPU, several times as fast as `nn.LocalResponseNorm`.

    y = x d^-beta,   d = k + (alpha / n) * (sum of x^2 over n neighbouring maps)

    dx = dy d^-beta - 2 (alpha / n) beta x * (sum over the neighbours of dy x d^(-beta-1))

One image goes after the other, so that what is between two steps stays in the cache, and maps lie last, so that
neighbours are next to each other. Only x is kept for the way back: d is computed again.

Source: Krizhevsky, Sutskever and Hinton, 2012, section 3.3, with torch's alpha.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Energy(NamedTuple):
    """The neighbourhood and its power; `alpha` is for the plain sum."""

    size: int
    alpha: float
    beta: float
    k: float

    def of(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """d and d^-beta of an image (*size, C)."""
        d = self.summed(image * image).mul_(self.alpha).add_(self.k)
        return d, d.log().mul_(-self.beta).exp_()  # quicker than a power

    def summed(self, values: Tensor) -> Tensor:
        """Over the neighbours of each map of (*size, C)."""
        channels, padded = values.shape[-1], F.pad(values, (self.size // 2, self.size // 2))
        found = padded[..., :channels].clone()
        for shift in range(1, self.size):
            found += padded[..., shift : shift + channels]
        return found


class _Normed(torch.autograd.Function):
    """A batch (N, *size, C), which may be of lower precision, in single precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, energy: Energy) -> Tensor:
        ctx.save_for_backward(x)
        ctx.energy = energy
        y = torch.empty_like(x)
        for image, normed in zip(x, y, strict=True):
            exact = image.float()
            normed.copy_(energy.of(exact)[1].mul_(exact))
        return y

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> tuple[Tensor, None]:
        (x,), energy = ctx.saved_tensors, ctx.energy
        dx = torch.empty_like(x)
        for image, dy, gradient in zip(x, dys[0], dx, strict=True):
            exact = image.float()
            d, power = energy.of(exact)
            direct = power.mul_(dy)
            spread = energy.summed(direct.mul(exact).div_(d))
            gradient.copy_(direct.addcmul_(exact, spread, value=-2 * energy.alpha * energy.beta))
        return dx, None


class ResponseNorm(nn.Module):
    """What a `nn.LocalResponseNorm` does to volumes (N, C, *size). The result has the type of x."""

    def __init__(self, of: nn.LocalResponseNorm) -> None:
        super().__init__()
        self.plain = of
        self.energy = Energy(of.size, of.alpha / of.size, of.beta, of.k)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *size) -> (N, C, *size), with channels last; elsewhere than on a CPU as torch does it."""
        if x.device.type != "cpu":
            there: Tensor = self.plain(x)
            return there
        y: Tensor = _Normed.apply(x.movedim(1, -1), self.energy)  # type: ignore[no-untyped-call]
        return y.movedim(-1, 1)
