"""Image files -> a data set of images of one size: decoded by threads, turned upright, fitted; once, or when needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, escaped
from ..layer import Shape
from ..resources import available_memory, cores
from ..wording import count_of
from .dataset import Dataset, Reading, Splits, Told, silence
from .decode import MISSING, Decoded, quiet
from .files import LAYOUTS, ImageFiles, list_files
from .huggingface import PREFIX
from .preprocessing import Preprocessing
from .streamed import LIMIT, Streamed
from .threads import Item, Result, in_threads

SKIPPED_SHARE = 0.1
"""How many of the files, rounded up, may be unusable: they are skipped and listed. With more, something is wrong."""
AT_ONCE = 512
"""Files that are given to the threads together, so that a million do not wait in memory."""
FEW = 10
"""Classes whose images are counted one by one in a sentence."""
MOST = 100
"""Skipped files that are named: the names go into the model file too."""
THREADS = min(8, cores())


class How(NamedTuple):
    """How image files are read: `stream`, whether they are decoded each time they are needed instead of once.

    None is to do so where they would take more than half of the memory. `threads` is how many decode.
    """

    stream: bool | None = None
    threads: int = THREADS


HOW = How()


def read_splits(source: Path, shape: Shape | None, told: Told = silence, how: How = HOW) -> Splits:
    """The images of a source that `list_files` takes, each fitted to a network's input shape.

    Without a test split the validation split is what is tested on. Raises DataError as `list_files` and `read_files`
    do, and where there is no training split or no shape of an image.
    """
    splits = training_files(source)
    fit = fit_to(shape, source)
    read = {split: read_files(files, fit, name_of(source), told, how) for split, files in splits.items()}
    check_classes(source, splits["train"].classes, read["train"].labels)
    return joined(read)


def training_files(source: Path) -> dict[str, ImageFiles]:
    """As `list_files`. Raises DataError where there is nothing to train on."""
    splits = list_files(source)
    if "train" not in splits:
        there = f"{' and '.join(splits)} alone"
        raise DataError("there is no training split", where=escaped(source), received=there, hint=LAYOUTS)
    return splits


def check_classes(source: Path, classes: tuple[str, ...], labels: NDArray[np.int64]) -> None:
    """Raises DataError where none of a class's training images could be used."""
    for k in sorted(set(range(len(classes))) - set(np.unique(labels).tolist())):
        rule = "none of this class's training images can be used"
        raise DataError(rule, where=escaped(source), received=classes[k])


def joined(read: Mapping[str, Dataset]) -> Splits:
    """The splits that there are; the validation split is what is tested on where there is no other."""
    test = read.get("test") or read["validation"]
    return Splits(read["train"], test, read["validation"] if "test" in read and "validation" in read else None)


def name_of(source: Path) -> str:
    """What a data set is called: as its folder or file, without what says where and of which kind it is."""
    path = source.resolve()
    name = path.name if path.is_dir() else path.stem
    return name.removeprefix(PREFIX).split("{")[0].rstrip("-_.") or path.parent.name


def read_split(
    source: Path,
    split: str,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    told: Told = silence,
    how: How = HOW,
) -> Dataset:
    """One split of a source as a model takes it: fitted by its preprocessing, with its classes, matched by name.

    `split` "all" is every image there is; "test" is the validation split where there is no other. Raises DataError
    for a split that there is not, and for a class that the model does not know.
    """
    return read_files(_as_known(files_of(source, split), classes), preprocessing, name_of(source), told, how)


def files_of(source: Path, split: str) -> ImageFiles:
    """The files of one split of a source, or of "all" there are; "test" is the validation split if there is no other.

    Raises DataError for a split that there is not.
    """
    splits = list_files(source)
    chosen = [*splits.values()] if split == "all" else [splits[name] for name in (split,) if name in splits]
    if split == "test" and not chosen and "validation" in splits:
        chosen = [splits["validation"]]
    if not chosen:
        raise DataError(
            f"there is no {split} split", where=escaped(source), received=", ".join(splits), hint="--split all"
        )
    return _joined(chosen, split)


def _joined(parts: list[ImageFiles], split: str) -> ImageFiles:
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        split=split,
        paths=sum((part.paths for part in parts), ()),
        labels=np.concatenate([part.labels for part in parts]),
        notes=(),
    )


def _as_known(files: ImageFiles, classes: tuple[str, ...]) -> ImageFiles:
    """The same files with a model's classes: its numbers, found by name."""
    for label in np.unique(files.labels):
        if files.classes[label] not in classes:
            path = files.paths[int((files.labels == label).argmax())]
            raise DataError(
                "the model knows no such class",
                where=escaped(files.root / path.parent),
                received=files.classes[label],
                hint=", ".join(classes)[:160],
            )
    numbers = np.array([classes.index(name) if name in classes else -1 for name in files.classes], np.int64)
    return replace(files, labels=numbers[files.labels], classes=classes)


def fit_to(shape: Shape | None, source: Path) -> Preprocessing:
    """What fits images to an input shape: just what `standardise` does in a model that learned from them."""
    if shape is None:
        hint = "--size 224x224x3, as the network's INPUT; in Python load_data(source, network.input_shape)"
        raise DataError("image files are fitted to a network's input: which?", where=escaped(source), hint=hint)
    if shape.rank != 2 or shape.channels not in (1, 3):
        raise DataError(
            "image files need an input of height, width and 1 or 3 channels",
            where=escaped(source),
            received=f"INPUT[{shape}]",
        )
    size = (shape.spatial[0], shape.spatial[1])
    return Preprocessing(size, size, (0.5,) * shape.channels, (0.5,) * shape.channels)


def read_files(files: ImageFiles, fit: Preprocessing, name: str, told: Told = silence, how: How = HOW) -> Dataset:
    """The images of files, each as `fit.standardise` makes it; files that cannot be used are skipped, and listed.

    Raises DataError where these are more than `SKIPPED_SHARE`, with the first of them and why.
    """
    if how.stream if how.stream is not None else _too_large(len(files) * math.prod(fit.source) * fit.channels):
        streamed = Streamed(files, fit, how.threads, _most_skipped(files))
        return Dataset(name, files.split, streamed, files.labels, files.classes, Reading(files.notes, ()))
    images = np.empty((len(files), *fit.source, fit.channels), np.uint8)
    usable = Usable(files, fit, told, how.threads)
    for row, image in enumerate(usable):
        images[row] = image
    images = images[: len(usable.kept)]
    images.setflags(write=False)
    return Dataset(name, files.split, images, usable.labels, files.classes, usable.reading)


def _too_large(needed: int) -> bool:
    available = available_memory()
    return available is not None and 2 * needed > available


def in_turn(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int, named: Callable[[Item], str]
) -> Iterator[Result]:
    """As `in_threads` within `quiet`, for so many files that their images should not all wait in memory."""
    for start in range(0, len(items), AT_ONCE):
        with quiet():
            results = in_threads(work, items[start : start + AT_ONCE], threads, LIMIT, named)
        yield from results


class Usable:
    """The images of files, in order, without those of files that cannot be used; what these are is known afterwards.

    Raises DataError on the way as `read_files` does.
    """

    def __init__(self, files: ImageFiles, fit: Preprocessing, told: Told = silence, threads: int = THREADS) -> None:
        self.files, self.fit, self.told, self.threads = files, fit, told, threads
        self.kept: list[int] = []
        self.skipped: list[tuple[str, str]] = []
        self.done: Counter[str] = Counter()

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for k, result in enumerate(self._results()):
            if isinstance(result, DataError):
                self.skipped.append((self.files.name(k), f"{result.rule}{_reason(result)}"))
                _check_share(self.files, self.skipped)
            else:
                self.kept.append(k)
                self.done.update(note.en for note in result.notes)
                yield result.pixels
            self.told(f"reading {self.files.split}", k + 1, len(self.files))

    def _results(self) -> Iterator[Decoded | DataError]:
        """For each file its image, or why there is none."""

        def one(k: int) -> Decoded | DataError:
            try:
                image = self.files.read(k)
                return Decoded(self.fit.standardise(image.pixels)[0], image.notes)
            except DataError as error:
                return error

        return in_turn(one, range(len(self.files)), self.threads, self.files.name)

    @property
    def split(self) -> str:
        """What the split is called."""
        return self.files.split

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of the files that were used."""
        return self.files.labels[self.kept]

    @property
    def reading(self) -> Reading:
        """What there is to say of the files."""
        total = count_of(len(self.kept), "image")
        done = (f"{note}: {count:,} of {total}" for note, count in sorted(self.done.items()))
        return Reading((*self.files.notes, *done), tuple(self.skipped))


def _most_skipped(files: ImageFiles) -> int:
    return math.ceil(SKIPPED_SHARE * len(files))


def _reason(error: DataError) -> str:
    return f": {error.received}" if error.received else ""


def _check_share(files: ImageFiles, skipped: list[tuple[str, str]]) -> None:
    if len(skipped) > _most_skipped(files):
        first = "; ".join(f"{path} ({reason})" for path, reason in skipped[:3])
        absent = all(reason == MISSING for _, reason in skipped)
        there = count_of(len(files), "file")
        raise DataError(
            f"at most {SKIPPED_SHARE:.0%} of the {there} of the {files.split} split may be unusable",
            where=escaped(files.root),
            received=f"{len(skipped)} so far: {first}{', ...' if len(skipped) > 3 else ''}",
            hint="paths that begin in this folder" if absent else "these files whole, or removed",
        )


def in_words(dataset: Dataset) -> list[str]:
    """What there is to say about how files became a data set, a line for each thing; nothing for other data sets."""
    if dataset.reading is None:
        return []
    said = [f"{count_of(len(dataset), 'image')}, {_counts(dataset)}", *dataset.reading.notes]
    if skipped := [f"{path} ({reason})" for path, reason in dataset.reading.skipped]:
        files = len(dataset) + len(skipped)
        rest = f"; and {len(skipped) - MOST:,} more" if len(skipped) > MOST else ""
        said.append(f"skipped: {len(skipped):,} of {count_of(files, 'file')}: {'; '.join(skipped[:MOST])}{rest}")
    return [f"{dataset.split}: {sentence}" for sentence in said]


def _counts(dataset: Dataset) -> str:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes)).tolist()
    if len(counts) > FEW:
        return f"from {min(counts):,} to {max(counts):,} in each of {len(counts):,} classes"
    return ", ".join(f"{name} ({count:,})" for name, count in zip(dataset.classes, counts, strict=True))
