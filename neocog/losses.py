"""Losses: how wrong the outputs y (N, K) of a batch are, as one number, and its gradient for y (fact A3).

Each is the mean over the N images. Targets are class numbers (N,), or an array (N, K) where a loss says so.
`value` and `gradient` are the NumPy reference in float64; `torch_each` is what training runs. `posterior`
gives the probability of each class, so that the predicted class is its arg max (fact A6).

With t the one-hot target of an image, D its class, sigma(y) = 1 / (1 + e^-y), and
softmax(y)_k = e^{y_k} / sum_i e^{y_i}:

| name          | E for one image                                   | dE/dy_k                             |
|---------------|---------------------------------------------------|-------------------------------------|
| cross-entropy | - sum_k t_k log softmax(y)_k                      | softmax(y)_k - t_k                  |
| sigmoid       | - sum_k t_k log sigma(y_k) + (1-t_k) log sigma(-y_k) | sigma(y_k) - t_k                 |
| squared       | 1/2 sum_k (y_k - t_k)^2                           | y_k - t_k                           |
| hinge         | sum over k != D of max(0, y_k - y_D + 1)          | [margin broken], minus their number at D |
| map           | y_D + log(e^-j + sum_i e^{-y_i})                  | t_k - e^{-y_k} / (e^-j + sum_i e^{-y_i}) |
| nll           | - log y_D                                         | - t_k / y_D                         |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .layer import Array
from .network import Network

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-30  # a probability below it counts as it; float32 can still hold its inverse


class Loss(ABC):
    """A measure of how wrong the outputs of a batch are. The module's docstring has the formulas."""

    name: ClassVar[str]

    @abstractmethod
    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """Mean loss over the batch, from y (N, K)."""

    @abstractmethod
    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """Derivative of `value` for y: (N, K)."""

    @abstractmethod
    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """E of each image (N,), with a gradient. Class numbers are int64."""

    def torch_value(self, y: Tensor, target: Tensor) -> Tensor:
        """`value` as a torch scalar with a gradient."""
        return self.torch_each(y, target).mean()

    def posterior(self, y: ArrayLike) -> Array:
        """The probability of each class, (N, K): softmax of the scores."""
        return softmax(_float(y))


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy on scores.

    `smoothing` s replaces the one-hot target by (1 - s) t + s / K (Szegedy et al., arXiv 1512.00567, section 7).
    """

    name: ClassVar[str] = "cross-entropy"
    smoothing: float = 0.0

    def _target(self, y: Array, target: ArrayLike) -> Array:
        smoothed: Array = (1.0 - self.smoothing) * one_hot(target, y.shape[1]) + self.smoothing / y.shape[1]
        return smoothed

    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """- sum_k t_k log softmax(y)_k."""
        y = _float(y)
        return -_mean(self._target(y, target) * log_softmax(y))

    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """softmax(y) - t."""
        y = _float(y)
        return (softmax(y) - self._target(y, target)) / len(y)

    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """`F.cross_entropy`."""
        from torch.nn import functional as F

        return F.cross_entropy(y, target, label_smoothing=self.smoothing, reduction="none")


@dataclass(frozen=True)
class SigmoidCrossEntropy(Loss):
    """Each output answers yes or no for itself: binary (K = 1) and multi-label problems.

    Targets are (N, K) of 0 and 1, or class numbers. With K = 1 the numbers are 0 and 1.
    """

    name: ClassVar[str] = "sigmoid"

    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """Sum over k of log(1 + e^y) - t y, which never takes the logarithm of a rounded probability."""
        y = _float(y)
        return _mean(np.logaddexp(0.0, y) - _dense(target, y.shape[1]) * y)

    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """sigma(y) - t."""
        y = _float(y)
        return (_sigmoid(y) - _dense(target, y.shape[1])) / len(y)

    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """`F.binary_cross_entropy_with_logits`, summed over the outputs."""
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits(y, _torch_dense(y, target), reduction="none").sum(1)

    def posterior(self, y: ArrayLike) -> Array:
        """(N, K): given that exactly one answer is yes, class k has odds e^{y_k}, so softmax. (N, 2) where K = 1."""
        y = _float(y)
        return softmax(np.hstack([np.zeros_like(y), y]) if y.shape[1] == 1 else y)


@dataclass(frozen=True)
class Squared(Loss):
    """Half the squared error, for regression; class numbers stand for their one-hot code.

    `posterior` is then that of classes whose outputs scatter around their codes with unit variance: |y - e_k|^2
    is |y|^2 + 1 - 2 y_k, so it is softmax(y).
    """

    name: ClassVar[str] = "squared"

    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """1/2 |y - t|^2."""
        y = _float(y)
        return _mean(0.5 * (y - _dense(target, y.shape[1])) ** 2)

    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """y - t."""
        y = _float(y)
        return (y - _dense(target, y.shape[1])) / len(y)

    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """`F.mse_loss`, summed over the outputs and halved."""
        from torch.nn import functional as F

        return F.mse_loss(y, _torch_dense(y, target), reduction="none").sum(1) / 2


@dataclass(frozen=True)
class Hinge(Loss):
    """The multi-class support vector machine: the right score should lead every other by a margin of 1.

    Source: Weston and Watkins, 1999, as in the CS231n notes. Its scores are no probabilities; `posterior`
    keeps their order.
    """

    name: ClassVar[str] = "hinge"

    def _margins(self, y: Array, target: ArrayLike) -> tuple[Array, Array]:
        """How far each wrong class breaks the margin, and the one-hot target."""
        t = one_hot(target, y.shape[1])
        right = (y * t).sum(axis=1, keepdims=True)
        return np.maximum(0.0, y - right + 1.0) * (1.0 - t), t

    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """Sum of the broken margins."""
        margins, _ = self._margins(_float(y), target)
        return _mean(margins)

    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """1 for each class that breaks the margin, and minus their number for the right one."""
        margins, t = self._margins(_float(y), target)
        broken: Array = (margins > 0.0).astype(np.float64)
        broken -= t * broken.sum(axis=1, keepdims=True)
        return broken / len(t)

    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """`F.multi_margin_loss`, which divides by K."""
        from torch.nn import functional as F

        return F.multi_margin_loss(y, target, reduction="none") * y.shape[1]


@dataclass(frozen=True)
class Map(Loss):
    """LeNet-5's maximum a posteriori criterion, for outputs that are penalties (squared distances, from RBF).

    The right penalty should be small and the others large. The constant j > 0 is the penalty of a class of
    rubbish: it keeps penalties that are already larger than j from being pushed up further.
    Source: LeCun et al., 1998, equation 9.
    """

    name: ClassVar[str] = "map"
    j: float = 1.0

    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """y_D + log(e^-j + sum_i e^{-y_i})."""
        y = _float(y)
        right = (y * one_hot(target, y.shape[1])).sum(axis=1)
        return _mean(right + self._log_sum(y))

    def _log_sum(self, y: Array) -> Array:
        """log(e^-j + sum_i e^{-y_i}) of each image: (N,)."""
        with_rubbish = np.hstack([-y, np.full((len(y), 1), -self.j)])
        log_sum: Array = np.logaddexp.reduce(with_rubbish, axis=1)
        return log_sum

    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """t - e^{-y} / (e^-j + sum_i e^{-y_i})."""
        y = _float(y)
        return (one_hot(target, y.shape[1]) - np.exp(-y - self._log_sum(y)[:, None])) / len(y)

    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """The same, with `torch.logsumexp`."""
        import torch

        with_rubbish = torch.cat([-y, y.new_full((len(y), 1), -self.j)], dim=1)
        return y.gather(1, target[:, None])[:, 0] + with_rubbish.logsumexp(1)

    def posterior(self, y: ArrayLike) -> Array:
        """softmax(-y): the smallest penalty is the most probable class."""
        return softmax(-_float(y))


@dataclass(frozen=True)
class NegativeLogLikelihood(Loss):
    """Minus the logarithm of the right class's probability, for networks that end in SOFTMAX."""

    name: ClassVar[str] = "nll"

    def value(self, y: ArrayLike, target: ArrayLike) -> float:
        """- log y_D."""
        y = _float(y)
        return -_mean(one_hot(target, y.shape[1]) * np.log(np.maximum(y, SMALLEST)))

    def gradient(self, y: ArrayLike, target: ArrayLike) -> Array:
        """- t / y, and zero where the probability has rounded to nothing."""
        y = _float(y)
        return -one_hot(target, y.shape[1]) * (y >= SMALLEST) / np.maximum(y, SMALLEST) / len(y)

    def torch_each(self, y: Tensor, target: Tensor) -> Tensor:
        """`F.nll_loss` of the logarithms."""
        from torch.nn import functional as F

        return F.nll_loss(y.clamp(min=SMALLEST).log(), target, reduction="none")

    def posterior(self, y: ArrayLike) -> Array:
        """y itself."""
        return _float(y)


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (CrossEntropy(), SigmoidCrossEntropy(), Squared(), Hinge(), Map(), NegativeLogLikelihood())
}
"""Every loss by name, with its default settings."""


def training_loss(name: str, smoothing: float = 0.0) -> Loss:
    """The loss that is lowered; only cross-entropy can be smoothed. What is measured is that without smoothing."""
    return CrossEntropy(smoothing) if smoothing else LOSSES[name]


def default_loss(network: Network) -> Loss:
    """What a classifier is trained with, by its last layer: `map` for RBF, `nll` for SOFTMAX, else cross-entropy."""
    by_last_layer = {"RBF": "map", "SOFTMAX": "nll"}
    return LOSSES[by_last_layer.get(network.nodes[-1].layer.op, "cross-entropy")]


def log_softmax(y: Array) -> Array:
    """log(e^{y_k} / sum_i e^{y_i}) along the last axis, safe for scores of any size."""
    shifted: Array = y - y.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def softmax(y: Array) -> Array:
    """e^{y_k} / sum_i e^{y_i} along the last axis."""
    return np.exp(log_softmax(y))


def one_hot(target: ArrayLike, classes: int) -> Array:
    """Class numbers (N,) -> (N, K) with a single 1 in each row: `one_hot([1], 3)` is `[[0, 1, 0]]`."""
    codes: Array = np.eye(classes)[np.asarray(target)]
    return codes


def _float(y: ArrayLike) -> Array:
    return np.asarray(y, np.float64)


def _mean(each: NDArray[Any]) -> float:
    """Sum over all values, divided by the number of images."""
    return float(each.sum()) / len(each)


def _sigmoid(y: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -y))


def _dense(target: ArrayLike, outputs: int) -> Array:
    """The target as (N, K): given so, or class numbers (N,), which are 0 or 1 where there is one output."""
    given = np.asarray(target)
    if given.ndim == 2:
        return _float(given)
    return _float(given)[:, None] if outputs == 1 else one_hot(given, outputs)


def _torch_dense(y: Tensor, target: Tensor) -> Tensor:
    """`_dense` in torch, in the type of y."""
    from torch.nn import functional as F

    if target.dim() == 1:
        target = target[:, None] if y.shape[1] == 1 else F.one_hot(target, y.shape[1])
    return target.to(y.dtype)
