"""Labelled images in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


@dataclass(frozen=True)
class Reading:
    """How image files became a data set: sentences for people, and what files were skipped, each with the reason."""

    notes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (N, H, W, 1 or 3) as bytes, labels (N,) as class numbers, and the names of the classes.

    `reading` is there where images were files of any size, of which the middle was fitted to this one.
    Raises DataError when images, labels and classes do not belong together.
    """

    name: str
    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    reading: Reading | None = None

    def __post_init__(self) -> None:
        where = f"{self.name} ({self.split})"
        if self.images.ndim != 4 or self.images.dtype != np.uint8 or self.images.shape[3] not in (1, 3):
            received = f"{self.images.dtype} {self.images.shape}"
            raise DataError("images are bytes of shape (N, H, W, 1 or 3)", where=where, received=received)
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(
                "there is one label for each image",
                where=where,
                received=f"{len(self.labels)} labels for {len(self.images)} images",
            )
        if not self.images.size:
            raise DataError("there are no images", where=where)
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise DataError("each class has a name of its own", where=where, received=f"{twice!r} more than once")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise DataError(
                f"labels are class numbers from 0 to {len(self.classes) - 1}",
                where=where,
                received=f"{self.labels.min()} to {self.labels.max()}",
            )

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    def fingerprint(self) -> str:
        """A SHA-256 of images, labels and class names: the same content gives the same text anywhere."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(str(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels.astype("<i8")).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Splits:
    """The images a network learns from, those it is tested on, and those it is measured on meanwhile if they differ.

    It unpacks into the first two.
    """

    train: Dataset
    test: Dataset
    validation: Dataset | None = None

    def __iter__(self) -> Iterator[Dataset]:
        """Training and test images."""
        return iter((self.train, self.test))
