"""Mini-batches, drawn without replacement (fact A5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..changes import Mix, Touches
from ..data import Dataset, Preprocessing
from ..data.order import balanced_order, epoch_order
from ..feed import Course, Moves
from .augment import Augment

SAMPLINGS = ("shuffled", "balanced")
"""Every image once an epoch, or every class as often as any other."""


@dataclass(frozen=True)
class Batches:
    """A training set cut into mini-batches, in an order that depends on (seed, epoch, image number) alone.

    `class_weights` (K,) say how much an image of each class counts, None for all alike.
    """

    dataset: Dataset
    preprocessing: Preprocessing
    batch_size: int
    augment: Augment
    seed: int
    sampling: str = "shuffled"
    class_weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """How many mini-batches an epoch has."""
        return -(-len(self.dataset.labels) // self.batch_size)

    def epoch(self, epoch: int) -> Pass:
        """As many images as there are. Batches differ in size by at most one, so that none is too small for BN."""
        count = len(self.dataset.labels)
        if self.sampling == "balanced":
            numbers = balanced_order(self.dataset.labels, self.seed, epoch)
        else:
            numbers = epoch_order(count, self.seed, epoch)
        drawn_by = (self.seed, epoch, self.preprocessing.size)
        moves = self.augment.moves(numbers, *drawn_by)
        touches = self.augment.touches(numbers, *drawn_by)
        mix = self.augment.mix(numbers, self.dataset.labels, *drawn_by)
        sizes = np.full(len(self), count // len(self), np.int64)
        sizes[: count % len(self)] += 1
        return Pass(self, numbers % count, moves, touches, mix, sizes)


@dataclass(frozen=True, eq=False)
class Pass:
    """One epoch: its images in order, what happens to each, and the sizes of the mini-batches that they make up."""

    of: Batches
    order: NDArray[np.int64]
    moves: Moves | None
    touches: Touches | None
    mix: Mix | None
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
        touches = None if self.touches is None else self.touches.part(part)
        mix = None if self.mix is None else self.mix.part(part)
        if preprocessing.fits:
            pixels = preprocessing.pixels(dataset.images)
        else:
            wanted = rows if mix is None else np.concatenate([rows, mix.rows])
            pixels, rows = preprocessing.pixels(dataset.images[wanted]), np.arange(len(rows))
            mix = None if mix is None else mix._replace(rows=rows + len(rows))
        return Course(
            *(pixels, rows, labels, moves, sizes, np.array(rates, np.float64)),
            class_weights=self.of.class_weights,
            edge=self.of.augment.edge,
            touches=touches,
            mix=mix,
        )


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """The training set without `count` images, and those images; the same ones whatever the seed of a run."""
    order = epoch_order(len(dataset.labels), seed=0, epoch=0)
    kept, held = np.sort(order[count:]), np.sort(order[:count])
    return _subset(dataset, kept), _subset(dataset, held)


def _subset(dataset: Dataset, ids: NDArray[np.int64]) -> Dataset:
    return replace(dataset, images=dataset.images[ids], labels=dataset.labels[ids])
