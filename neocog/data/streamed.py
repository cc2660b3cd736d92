"""Images of files that are decoded when they are asked for, by threads: for sets that memory does not hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..wording import count_of
from .decode import Decoded, quiet
from .preprocessing import Preprocessing
from .threads import in_threads

LIMIT = 60.0
"""Seconds without any image after which a file counts as stuck."""


class Files(Protocol):
    """Image files of one split, of any kind: see `ImageFiles`."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each file (N,)."""

    def __len__(self) -> int: ...

    def name(self, k: int) -> str:
        """What file k is called, as it can be shown."""

    def stands_for(self, k: int) -> bytes:
        """Its path and size, which stand for its content."""

    def read(self, k: int) -> Decoded:
        """Its image. Raises DataError naming it."""


class Streamed:
    """Images (N, H, W, C) of files, each as `fit.standardise` makes it, decoded when rows are asked for.

    What a row holds depends on the files alone, not on the threads. In place of a file that cannot be used stands the
    next one of its class, so that one bad file does not end a run of days; `bad` says which and why. Raises DataError
    where more than `most_bad` are so, and RunError where a file never comes to an end.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, files: Files, fit: Preprocessing, threads: int, most_bad: int, limit: float = LIMIT) -> None:
        self.files, self.fit, self.threads, self.most_bad, self.limit = files, fit, threads, most_bad, limit
        self.shape = (len(files), *fit.source, fit.channels)
        self.bad: dict[int, DataError] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: Any, /) -> NDArray[np.uint8]:
        """The images (n, H, W, C) of a slice or of row numbers (n,); of one number, its image (H, W, C)."""
        chosen = np.arange(len(self))[rows]
        images = np.empty((chosen.size, *self.shape[1:]), np.uint8)
        with quiet():
            places = list(range(chosen.size))
            numbers = chosen.ravel().tolist()

            def one(place: int) -> None:
                images[place] = self._image(numbers[place])

            in_threads(one, places, self.threads, self.limit, lambda place: self.files.name(numbers[place]))
        return images.reshape(*chosen.shape, *self.shape[1:])

    def content(self) -> Iterator[bytes]:
        """What stands for the images in a fingerprint: the files' names and sizes, and what they are fitted to."""
        yield str(self.fit.as_json()).encode()
        for k in range(len(self)):
            yield self.files.stands_for(k)

    def _image(self, k: int) -> NDArray[np.uint8]:
        """The image of file k, or of the next one of its class that can be used."""
        image = self._usable(k)
        if image is not None:
            return image
        alike = np.flatnonzero(self.files.labels == self.files.labels[k])
        for other in np.roll(alike, -int(np.searchsorted(alike, k))).tolist():
            image = self._usable(other)
            if image is not None:
                return image
        raise DataError("no image of this class can be used", where=self.files.name(k))

    def _usable(self, k: int) -> NDArray[np.uint8] | None:
        if k in self.bad:
            return None
        try:
            return self.fit.standardise(self.files.read(k).pixels)[0]
        except DataError as error:
            self._note(k, error)
            return None

    def _note(self, k: int, error: DataError) -> None:
        with self._lock:
            self.bad[k] = error
            bad = len(self.bad)
        if bad > self.most_bad:
            raise DataError(
                f"at most {self.most_bad:,} of the {count_of(len(self), 'file')} may be unusable",
                where=error.where,
                received=f"{bad:,} so far, the last of them: {error.rule}",
                hint="neocog data pack with a sound copy of the files",
            )
