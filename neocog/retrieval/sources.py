"""The images to embed: a data set with labels, or image files, each with a name to find it again by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Splits
from ..data.dataset import Told, silence
from ..data.decode import decode_noted
from ..data.entries import Disk
from ..data.files import ImageFiles
from ..data.folders import SUFFIXES, images_below
from ..data.reading import HOW, How, Usable, files_of
from ..data.sources import found
from ..errors import DataError, escaped
from ..model import Model

Images = NDArray[np.uint8]


class Source:
    """Images with their names and, where these are known, labels (N,) as numbers of `classes`.

    Files that cannot be used are left out, so names and labels are complete when all batches have been read.
    """

    def __init__(self, images: Dataset | Usable, *, labelled: bool) -> None:
        self._images = images
        self.labelled = labelled
        self.classes = (images.classes if isinstance(images, Dataset) else images.files.classes) if labelled else ()

    @property
    def count(self) -> int:
        """How many images there are at most."""
        return len(self._images) if isinstance(self._images, Dataset) else len(self._images.files)

    @property
    def names(self) -> tuple[str, ...]:
        """A file's path, or the data set, split and number of the image."""
        if isinstance(self._images, Dataset):
            return tuple(f"{self._images.name}/{self._images.split}/{k}" for k in range(len(self._images)))
        return tuple(self._images.files.name(k) for k in self._images.kept)

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """A class number for each image."""
        return self._images.labels if self.labelled else None

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """Names of files that could not be used, each with the reason."""
        return [] if isinstance(self._images, Dataset) else self._images.skipped

    def batches(self, size: int) -> Iterator[Images]:
        """All images in order, so many at a time (n, h, w, C). Raises DataError where too many cannot be used."""
        if isinstance(self._images, Dataset):
            for start in range(0, len(self._images), size):
                yield self._images.images[start : start + size]
            return
        batch: list[Images] = []
        for image in self._images:
            batch.append(image)
            if len(batch) == size:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)
        if not self._images.kept:
            name, reason = self.skipped[0]
            raise DataError("no image can be used", where=name, received=reason)


def source_of(model: Model, given: Sequence[str], split: str = "test", told: Told = silence, how: How = HOW) -> Source:
    """What is named: a built-in data set, a folder with a folder for each class, a list; or image files and folders.

    Raises DataError where there is nothing, or a data set's images are not of the size that the model was made for.
    """
    if len(given) == 1 and Path(given[0]).suffix.lower() not in SUFFIXES:
        data = found(given[0])
        if isinstance(data, Splits):
            return Source(_split_of(model, data, split, given[0]), labelled=True)
        if not data.is_dir() or any(entry.is_dir() for entry in data.iterdir()):
            return Source(Usable(files_of(data, split), model.preprocessing, told, how.threads), labelled=True)
    paths = tuple(_paths(given))
    files = ImageFiles(Path(), "given", paths, np.zeros(len(paths), np.int64), ("",), Disk(Path()))
    return Source(Usable(files, model.preprocessing, told, how.threads), labelled=False)


def queries_of(model: Model, given: Sequence[str]) -> tuple[tuple[str, ...], Images]:
    """The names of image files, and of those in folders, and their images (n, h, w, C) of the training set's size.

    Raises DataError naming the first that cannot be used.
    """
    paths = _paths(given)
    return tuple(map(escaped, paths)), np.stack([_fitted(model, path) for path in paths])


def _paths(given: Sequence[str]) -> list[Path]:
    paths = [path for name in given for path in (images_below(Path(name)) if Path(name).is_dir() else [Path(name)])]
    if not paths:
        raise DataError("there are no images", where=given[0][:80])
    return paths


def _split_of(model: Model, data: Splits, split: str, name: str) -> Dataset:
    dataset = getattr(data, split, None)
    if not isinstance(dataset, Dataset):
        raise DataError(f"there is no {split} split", where=name[:80], hint="--split test or --split train")
    wanted = (*model.preprocessing.source, model.preprocessing.channels)
    if dataset.images.shape[1:] != wanted:
        raise DataError(
            f"the model was made for images of {'x'.join(map(str, wanted))}",
            where=dataset.name,
            received=f"images of {'x'.join(map(str, dataset.images.shape[1:]))}",
        )
    return dataset


def _fitted(model: Model, path: Path) -> Images:
    """The image in a file as one of the training set's."""
    try:
        return model.preprocessing.standardise(decode_noted(path).pixels)[0]
    except DataError as error:
        raise error if error.where else error.at(escaped(path)) from None
