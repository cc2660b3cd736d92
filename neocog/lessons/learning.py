"""What lessons train: small digits, and plain gradient descent in the NumPy reference.

The reference computes in float64, so that every machine comes to the same digits of a short run. Digits are those that
come with the package, halved to 14 x 14 by the mean of 2 x 2 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..data import Dataset, load_data
from ..data.resample import resized
from ..losses import default_loss
from ..network import Network

SIDE = 14
SHAPE = f"INPUT[{SIDE}x{SIDE}x1]"
MEAN, DEVIATION = 0.13, 0.26
"""About those of the halved digits, where ink is 1."""

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[Any]]


class Digits(NamedTuple):
    """Digits (N, 1, 14, 14) around 0 with about unit deviation, and what they are (N,)."""

    x: Array
    labels: NDArray[np.int64]

    def shifted(self, rows: int, columns: int) -> Digits:
        """The same, moved down and to the right by so many pixels; what comes in is ground."""
        moved = np.full_like(self.x, -MEAN / DEVIATION)
        moved[:, :, max(rows, 0) : SIDE + min(rows, 0), max(columns, 0) : SIDE + min(columns, 0)] = self.x[
            :, :, max(-rows, 0) : SIDE - max(rows, 0), max(-columns, 0) : SIDE - max(columns, 0)
        ]
        return Digits(moved, self.labels)


def digits(count: int, split: str = "train") -> Digits:
    """The first so many digits of a split."""
    data: Dataset = getattr(load_data("mnist"), split)
    ink = resized(data.images[:count] / np.float32(255), (SIDE, SIDE))[..., 0]
    return Digits((np.asarray(ink, np.float64)[:, None] - MEAN) / DEVIATION, data.labels[:count])


class Learned(NamedTuple):
    """The weights at the end of a short training, and the loss of each step's mini-batch before the step."""

    weights: dict[str, Array]
    losses: list[float]


def descend(
    network: Network, weights: Weights, data: Digits, *, batch: int, steps: int, lr: float, seed: int = 0
) -> Learned:
    """Plain gradient descent, w <- w - lr dE/dw, on mini-batches drawn without replacement in each epoch (fact A5)."""
    rng, loss = np.random.default_rng(seed), default_loss(network)
    now = {name: np.asarray(w, np.float64) for name, w in weights.items()}
    order: list[int] = []
    losses = []
    for _ in range(steps):
        if len(order) < batch:
            order = list(rng.permutation(len(data.x)))
        rows, order = order[:batch], order[batch:]
        trace = reference.forward(network, now, data.x[rows])
        losses.append(loss.value(trace.output, data.labels[rows]))
        _, grads = reference.backward(trace, loss.gradient(trace.output, data.labels[rows]))
        now = {name: w - lr * grads[name] if name in grads else w for name, w in now.items()}
    return Learned(now, losses)


def accuracy(network: Network, weights: Weights, data: Digits) -> float:
    """The share of digits whose largest score is that of the right class."""
    scores = reference.forward(network, weights, data.x).output
    return float((scores.argmax(axis=1) == data.labels).mean())
