"""Mini-batches, drawn without replacement (fact A5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..changes import Mix, Touches
from ..data import Dataset, Preprocessing
from ..data.dataset import in_memory
from ..data.order import balanced_order, epoch_order, share
from ..errors import DataError
from ..feed import Course, Moves, Pixels
from ..wording import count_of
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

    @property
    def batch_bytes(self) -> int:
        """How much memory a mini-batch of images takes, at most."""
        height, width = self.preprocessing.size
        images = self.batch_size * (2 if self.augment.mixup or self.augment.cutmix else 1)
        return images * height * width * self.preprocessing.channels

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

    def of_rank(self, rank: int, world: int) -> Pass:
        """What process `rank` of `world` takes of each mini-batch: put together in the order of ranks it is all of it.

        Raises DataError where a mini-batch has fewer images than there are processes.
        """
        if self.sizes.min() < world:
            raise DataError(
                "each process has an image of each mini-batch",
                received=f"{world} processes for {count_of(int(self.sizes.min()), 'image')}",
                hint=f"batch_size={world} or more",
            )
        begins = np.cumsum(self.sizes) - self.sizes
        parts = [share(int(size), rank, world) for size in self.sizes]
        places = np.concatenate(
            [np.arange(b + part.start, b + part.stop) for b, part in zip(begins, parts, strict=True)]
        )
        return Pass(
            self.of,
            self.order[places],
            None if self.moves is None else self.moves[places],
            None if self.touches is None else self.touches.part(places),
            None if self.mix is None else self.mix.part(places),
            np.array([part.stop - part.start for part in parts], np.int64),
        )

    @property
    def at_hand(self) -> bool:
        """Whether images lie in memory as the network takes them."""
        return self.of.preprocessing.fits and in_memory(self.of.dataset.images)

    def pixels(self, first: int, steps: int = 1) -> Pixels:
        """The images of so many mini-batches from `first` on, read and made to fit into the network's input.

        Where others are mixed in, those of a mini-batch stand behind its own.
        """
        wanted = []
        for step in range(first, first + steps):
            places = self._places(step, 1)
            wanted += [self.order[places], *([] if self.mix is None else [self.mix.rows[places]])]
        return self.of.preprocessing.pixels(self.of.dataset.images[np.concatenate(wanted)])

    def ids(self, step: int) -> NDArray[np.int64]:
        """The numbers in the training set of a mini-batch's images."""
        return self.order[self._places(step, 1)]

    def course(self, first: int, rates: Sequence[float], pixels: Pixels | None = None) -> Course:
        """Steps from mini-batch `first` on, one for each learning rate.

        Where images are not at hand, `pixels` is what was read for these steps; None is to read it now.
        """
        places = self._places(first, len(rates))
        rows, sizes = self.order[places], self.sizes[first : first + len(rates)]
        mix = None if self.mix is None else self.mix.part(places)
        if self.at_hand:
            pixels, read = self.of.preprocessing.pixels(np.asarray(self.of.dataset.images)), rows
        else:
            pixels, read = pixels or self.pixels(first, len(rates)), np.arange(len(rows))
            if mix is not None:  # a mini-batch's own images were read before the others that are mixed in
                read = read + np.repeat(np.cumsum(sizes) - sizes, sizes)
                mix = mix._replace(rows=read + np.repeat(sizes, sizes))
        return Course(
            pixels=pixels,
            rows=read,
            labels=self.of.dataset.labels[rows],
            moves=None if self.moves is None else self.moves[places],
            sizes=sizes,
            rates=np.array(rates, np.float64),
            class_weights=self.of.class_weights,
            edge=self.of.augment.edge,
            touches=None if self.touches is None else self.touches.part(places),
            mix=mix,
        )

    def _places(self, first: int, steps: int) -> slice:
        """Where in the epoch's order some mini-batches stand."""
        begin = int(self.sizes[:first].sum())
        return slice(begin, begin + int(self.sizes[first : first + steps].sum()))


def hold_out(dataset: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """The training set without `count` images, and those images; the same ones whatever the seed of a run."""
    kept, held = held_out(len(dataset.labels), count)
    return dataset.subset(kept), dataset.subset(held)


def held_out(total: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the images that are left when `count` of a training set are held out, and of those."""
    order = epoch_order(total, seed=0, epoch=0)
    return np.sort(order[count:]), np.sort(order[:count])
