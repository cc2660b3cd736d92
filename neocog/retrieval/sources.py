"""The images to embed: a data set with labels, or image files, each with a name to find it again by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Splits
from ..data.decode import decode_noted, quiet
from ..data.files import ImageFiles, list_files
from ..data.folders import SUFFIXES, images_below
from ..data.sources import found
from ..errors import DataError, escaped
from ..model import Model

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """Images with their names and, where these are known, labels (N,) as numbers of `classes`."""

    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    pixels: Any
    """Bytes (N, h, w, C) of a data set; or for each image the path of its file, or a listing and its number there."""

    def batches(self, model: Model, size: int) -> Iterator[Images]:
        """All images in order, so many at a time. Raises DataError naming one that cannot be used."""
        for start in range(0, len(self.names), size):
            some = self.pixels[start : start + size]
            yield some if isinstance(some, np.ndarray) else np.stack([_fitted(model, path) for path in some])


def source_of(model: Model, given: Sequence[str], split: str = "test") -> Source:
    """What is named: a built-in data set, a folder with a folder for each class, a list; or image files and folders.

    Raises DataError where there is nothing, or images are of another size than a data set's must be.
    """
    if len(given) == 1 and not _is_image(given[0]):
        data = found(given[0])
        if isinstance(data, Splits):
            return _of_splits(model, data, split, given[0])
        if not data.is_dir() or any(entry.is_dir() for entry in data.iterdir()):
            return _of_files(list_files(data), split, data)
    return files_of(given)


def files_of(given: Sequence[str]) -> Source:
    """Image files, and those in folders, without labels. Raises DataError where there is none."""
    paths = [path for name in given for path in (images_below(Path(name)) if Path(name).is_dir() else [Path(name)])]
    if not paths:
        raise DataError("there are no images", where=given[0][:80])
    return Source(tuple(map(escaped, paths)), None, (), paths)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _of_splits(model: Model, data: Splits, split: str, name: str) -> Source:
    dataset = getattr(data, split, None)
    if dataset is None:
        raise DataError(f"there is no {split} split", where=name[:80], hint="--split test or --split train")
    wanted = (*model.preprocessing.source, model.preprocessing.channels)
    if dataset.images.shape[1:] != wanted:
        raise DataError(
            f"the model was made for images of {'x'.join(map(str, wanted))}",
            where=dataset.name,
            received=f"images of {'x'.join(map(str, dataset.images.shape[1:]))}",
        )
    names = tuple(f"{dataset.name}/{dataset.split}/{k}" for k in range(len(dataset)))
    return Source(names, dataset.labels, dataset.classes, dataset.images)


def _of_files(splits: dict[str, ImageFiles], split: str, source: Path) -> Source:
    chosen = [*splits.values()] if split == "all" else [splits[name] for name in (split,) if name in splits]
    if not chosen:
        raise DataError(
            f"there is no {split} split", where=escaped(source), received=", ".join(splits), hint="--split all"
        )
    files = [(one, k) for one in chosen for k in range(len(one))]
    labels = np.concatenate([one.labels for one in chosen])
    return Source(tuple(one.name(k) for one, k in files), labels, chosen[0].classes, files)


def _fitted(model: Model, source: Any) -> Images:
    """The image in a file as one of the training set's."""
    if isinstance(source, Path):
        name, image = escaped(source), decode_noted(source)
    else:
        files, k = source
        name = files.name(k)
        with quiet():
            image = files.read(k)
    try:
        return model.preprocessing.standardise(image.pixels)[0]
    except DataError as error:
        raise error.at(name) from None
