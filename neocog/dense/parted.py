"""The cuts of `cuts.py` in torch: a layer's input as parts side by side in the batch, and maps put together again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .cuts import Cut


class Parted(nn.Module):
    """x (N, C, *size) -> (g N, C, *trimmed): its parts one after another, the last axis' fastest."""

    def __init__(self, cut: Cut) -> None:
        super().__init__()
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """All parts have the size of the last."""
        counts, step = self.cut
        size = [n - (g - 1) * s for n, g, s in zip(x.shape[2:], counts, step, strict=True)]
        parts = []
        for place in product(*map(range, counts)):
            part = x
            for axis, (a, s, n) in enumerate(zip(place, step, size, strict=True), start=2):
                part = part.narrow(axis, a * s, n)
            parts.append(part)
        return torch.cat(parts)


def put_together(y: NDArray[np.float32], cuts: Sequence[Cut], images: int) -> NDArray[np.float32]:
    """Parts (g N, K, *cells) of cuts made in this order, as the map (N, K, *finer)."""
    rank = y.ndim - 2
    counts = [g for cut in reversed(cuts) for g in cut.parts]  # the last cut is the slowest in the batch
    y = y.reshape(*counts, images, *y.shape[1:])
    first = len(counts)
    order = [first, first + 1]
    for axis in range(rank):
        order += [first + 2 + axis, *range(axis, first, rank)]
    cells = [n * int(np.prod([cut.parts[axis] for cut in cuts], dtype=int)) for axis, n in enumerate(y.shape[-rank:])]
    return np.ascontiguousarray(y.transpose(order)).reshape(images, y.shape[first + 1], *cells)
