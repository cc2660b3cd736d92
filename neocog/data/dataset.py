"""Labelled images: in memory, or read from where they are when they are asked for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..wording import count_of

BLOCK = 4 * 2**20
"""About how many bytes of images that are not in memory are looked at together."""

Told = Callable[[str, int, int], None]
"""Is told of progress: what is being done, how much of it is done, and how much there is."""


def silence(what: str, done: int, of: int) -> None:
    """Nothing."""


class Images(Protocol):
    """Bytes of shape (N, H, W, C): an array, or what is read like one when it is indexed along its first axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class Rows:
    """Some of the rows of images that are not in memory, in the given order."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: Images, ids: NDArray[np.int64]) -> None:
        self.images, self.ids = images, ids
        self.shape = (len(ids), *images.shape[1:])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any, /) -> Any:
        return self.images[self.ids[rows]]


def in_memory(images: Images) -> bool:
    """Whether images are an array in memory, of which any row is at hand."""
    return isinstance(images, np.ndarray) and not isinstance(images, np.memmap)


def content(images: Images) -> Iterator[bytes | memoryview]:
    """What images consist of, in order: their bytes, or what stands for the files that they are decoded from."""
    of_files = getattr(images, "content", None)
    if of_files is not None:
        yield from of_files()
        return
    step = max(1, BLOCK * len(images) // max(1, nbytes(images)))
    for start in range(0, len(images), step):
        yield np.ascontiguousarray(images[start : start + step]).data


def nbytes(images: Images) -> int:
    """How many bytes images have."""
    return math.prod(images.shape)


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
    images: Images
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    reading: Reading | None = None

    def __post_init__(self) -> None:
        where = f"{self.name} ({self.split})"
        if len(self.images.shape) != 4 or self.images.dtype != np.uint8 or self.images.shape[3] not in (1, 3):
            received = f"{self.images.dtype} {self.images.shape}"
            raise DataError("images are bytes of shape (N, H, W, 1 or 3)", where=where, received=received)
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(
                "there is one label for each image",
                where=where,
                received=f"{count_of(len(self.labels), 'label')} for {count_of(len(self.images), 'image')}",
            )
        if not nbytes(self.images):
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

    @property
    def streamed(self) -> bool:
        """Whether images are decoded from files each time they are needed."""
        return hasattr(self.images, "content")

    def subset(self, ids: NDArray[np.int64]) -> Dataset:
        """The images of these numbers (n,), in this order."""
        images = self.images[ids] if in_memory(self.images) else Rows(self.images, ids)
        return replace(self, images=images, labels=self.labels[ids])

    def fingerprint(self) -> str:
        """A SHA-256 of images, labels and class names: the same content gives the same text anywhere.

        Of images that are decoded from files when needed, the files' names and sizes stand for them.
        """
        digest = hashlib.sha256("\n".join(self.classes).encode())
        digest.update(str(self.images.shape).encode())
        for part in content(self.images):
            digest.update(part)
        digest.update(np.ascontiguousarray(self.labels.astype("<i8")).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Splits:
    """The images a network learns from, those it is tested on, and those it is measured on meanwhile if they differ.

    `source` is what `load_data` finds them by from any folder. It unpacks into the first two.
    """

    train: Dataset
    test: Dataset
    validation: Dataset | None = None
    source: str | None = None

    def __iter__(self) -> Iterator[Dataset]:
        """Training and test images."""
        return iter((self.train, self.test))

    def named(self) -> dict[str, Dataset]:
        """Those that there are, by the words for them."""
        found = {"training": self.train, "validation": self.validation, "test": self.test}
        return {name: dataset for name, dataset in found.items() if dataset is not None}
