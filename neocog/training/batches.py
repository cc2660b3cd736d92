"""Mini-batches, drawn without replacement (fact A5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Preprocessing
from ..data.order import epoch_order
from ..feed import Course, Moves
from .augment import Augment


@dataclass(frozen=True)
class Batches:
    """A training set cut into mini-batches, in an order that depends on (seed, epoch, image number) alone."""

    dataset: Dataset
    preprocessing: Preprocessing
    batch_size: int
    augment: Augment
    seed: int

    def __len__(self) -> int:
        """How many mini-batches an epoch has."""
        return -(-len(self.dataset.labels) // self.batch_size)

    def epoch(self, epoch: int) -> Pass:
        """Every image once. Batches differ in size by at most one image, so that none is too small for BN."""
        count = len(self.dataset.labels)
        order = epoch_order(count, self.seed, epoch)
        moves = None
        if self.augment.changes:
            moves = self.augment.moves(order, self.seed, epoch, self.preprocessing.size)
        sizes = np.full(len(self), count // len(self), np.int64)
        sizes[: count % len(self)] += 1
        return Pass(self, order, moves, sizes)


@dataclass(frozen=True, eq=False)
class Pass:
    """One epoch: its images in order, how each is moved, and the sizes of the mini-batches that they make up."""

    of: Batches
    order: NDArray[np.int64]
    moves: Moves | None
    sizes: NDArray[np.int64]

    def course(self, first: int, rates: Sequence[float]) -> Course:
        """Steps from mini-batch `first` on, one for each learning rate.

        Images that must be made to fit into the network's input are so now, for these steps alone.
        """
        dataset, preprocessing = self.of.dataset, self.of.preprocessing
        sizes = self.sizes[first : first + len(rates)]
        begin = int(self.sizes[:first].sum())
        part = slice(begin, begin + int(sizes.sum()))
        rows = self.order[part]
        labels, moves = dataset.labels[rows], None if self.moves is None else self.moves[part]
        if preprocessing.fits:
            pixels = preprocessing.pixels(dataset.images)
        else:
            pixels, rows = preprocessing.pixels(dataset.images[rows]), np.arange(len(rows))
        return Course(pixels, rows, labels, moves, sizes, np.array(rates, np.float64))


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """The training set without `count` images, and those images; the same ones whatever the seed of a run."""
    order = epoch_order(len(dataset.labels), seed=0, epoch=0)
    kept, held = np.sort(order[count:]), np.sort(order[:count])
    return _subset(dataset, kept), _subset(dataset, held)


def _subset(dataset: Dataset, ids: NDArray[np.int64]) -> Dataset:
    return replace(dataset, images=dataset.images[ids], labels=dataset.labels[ids])
