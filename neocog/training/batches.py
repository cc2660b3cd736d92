"""Mini-batches, drawn without replacement (fact A5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Preprocessing
from ..data.order import epoch_order, sample_keys
from .augment import shifted

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Batches:
    """A training set cut into mini-batches, in an order that depends on (seed, epoch, image number) alone."""

    dataset: Dataset
    preprocessing: Preprocessing
    batch_size: int
    shift: int
    seed: int

    def __len__(self) -> int:
        """How many mini-batches an epoch has."""
        return -(-len(self.dataset.labels) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Every image once: x (N, C, H, W) with labels (N,).

        Batches differ in size by at most one image, so that none is too small for BN.
        """
        order = epoch_order(len(self.dataset.labels), self.seed, epoch)
        for ids in np.array_split(order, len(self)):
            images = shifted(self.dataset.images[ids], sample_keys(ids, self.seed, epoch), self.shift)
            yield self.preprocessing(images), self.dataset.labels[ids]


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """The training set without `count` images, and those images; the same ones whatever the seed of a run."""
    order = epoch_order(len(dataset.labels), seed=0, epoch=0)
    kept, held = np.sort(order[count:]), np.sort(order[:count])
    return _subset(dataset, kept), _subset(dataset, held)


def _subset(dataset: Dataset, ids: NDArray[np.int64]) -> Dataset:
    return replace(dataset, images=dataset.images[ids], labels=dataset.labels[ids])
