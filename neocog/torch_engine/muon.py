r"""Muon: momentum whose step on each matrix of weights is made orthogonal, so that all directions are learned alike.

For a weight W (outputs first, its other axes as one) with gradient G, momentum mu and learning rate r:

    M <- mu M + G,   X = G + mu M,   O = orthogonal(X),   W <- |W| * unit(W - r |W| O / |O|)

`orthogonal` brings the singular values of X near 1: three turns of X <- a X + (b A + c A A) X with A = X X^T, from
X / |X|, in bfloat16 (Newton-Schulz; a, b, c = 3.4445, -4.775, 2.0315 lead to between 0.7 and 1.2; small ones need more
turns, up to five, which made no difference to accuracy on CIFAR-10). |.| is the Frobenius norm. So r is about the
angle of a step, whatever the gradient's size, and a weight keeps the norm it started with: that takes the place of its
decay.

Muon is for the weights of hidden layers. Biases, normalisations and the last layer go by AdamW at `OTHERS` of the
learning rate, and decay as there.

Sources: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024, with the coefficients; the kept
norm is that of Jordan's CIFAR-10 speed runs (arXiv 2404.00498 and their sequels).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

OTHERS = 0.08
"""Of the learning rate, for what Muon is not for: 0.016 beside 0.2."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
TURNS = 3
TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """Muon on the groups of `kernels`, AdamW on those of `others`. A group's `factor` is on the learning rate.

    With `found_inf` (a tensor, 1 where a loss was not finite, as torch's optimizers read it) nothing changes.
    """

    found_inf: Tensor | None = None

    def __init__(self, kernels: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], momentum: float) -> None:
        slower = [{**group, "factor": OTHERS * group["factor"]} for group in others]
        self._adamw = torch.optim.AdamW(slower, lr=1.0, fused=True)
        self._turned = len(kernels)
        groups = [{**group, "momentum": momentum, "lr": 1.0} for group in kernels]
        super().__init__([*groups, *self._adamw.param_groups], {})
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # closures are for line searches
        """One update from the gradients at hand."""
        self._adamw.found_inf = self.found_inf  # type: ignore[attr-defined]
        self._adamw.step()
        for group in self.param_groups[: self._turned]:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                alike[weight.shape].append(weight)
            for weights in alike.values():
                self._turn(weights, group["lr"], group["momentum"])

    def _turn(self, weights: Sequence[nn.Parameter], rate: float, momentum: float) -> None:
        """Weights of one shape, as one batch of matrices (n, rows, columns)."""
        gradients = [_given(weight.grad) for weight in weights]
        before = [self.state[w].setdefault("momentum_buffer", torch.zeros_like(w)) for w in weights]
        after = [m.mul(momentum).add_(g) for m, g in zip(before, gradients, strict=True)]
        steps = orthogonal(_matrices([g.add(m, alpha=momentum) for g, m in zip(gradients, after, strict=True)]))
        old = _matrices(weights)
        norm = _norm(old)
        new = old - rate * norm / (_norm(steps) + TINY) * steps
        new *= norm / (_norm(new) + TINY)
        for kept, value in zip([*weights, *before], [*new, *after], strict=True):
            value = value.view_as(kept)
            kept.copy_(value if self.found_inf is None else torch.where(self.found_inf > 0, kept, value))


def orthogonal(x: Tensor) -> Tensor:
    """Matrices (n, rows, columns) with the same singular vectors, and singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = x.shape[1] > x.shape[2]
    y: Tensor = (x.mT if tall else x).bfloat16()
    y = y / (_norm(y) + TINY)
    for _ in range(TURNS):
        square = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(square, square, square, beta=b, alpha=c), y, beta=a)
    return (y.mT if tall else y).float()


def _matrices(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.flatten(1) for tensor in tensors])


def _norm(matrices: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    return norm


def _given(gradient: Tensor | None) -> Tensor:
    assert gradient is not None  # noqa: S101  # a step follows a backward pass
    return gradient
