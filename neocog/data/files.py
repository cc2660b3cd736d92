"""A data set of image files: which files there are, of which class, in which split. No file is opened here."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, escaped
from ..wording import count_of
from .decode import Decoded
from .entries import SPLITS, Entry, Listing, Reader, shown
from .folders import read_folder
from .huggingface import is_hugging_face, read_hugging_face
from .lists import read_list
from .shards import is_shards, read_shards

TEST_SHARE = 0.2
"""How many of the images are held out for the test where the source does not say which."""

LAYOUTS = "train/CLASS/1.jpg and test/CLASS/2.jpg, or CLASS/1.jpg, or a CSV file of path,label"


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """The image files of one split: `paths` relative to `root`, and `labels` (N,), their numbers in `classes`.

    `notes` are sentences on how they were found, for people: what was left out, held out, or is missing.
    """

    root: Path
    split: str
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    reader: Reader
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.paths)

    def name(self, k: int) -> str:
        """What a file is called, as it can be shown."""
        return escaped(self.paths[k])

    def read(self, k: int) -> Decoded:
        """The image in a file, for threads that work within one `quiet`. Raises DataError naming it."""
        return self.reader.read(self.paths[k])

    def stands_for(self, k: int) -> bytes:
        """A file's name and size, which stand for its content in a fingerprint."""
        path = self.paths[k]
        return f"{path.as_posix()}\0{self.reader.stands_for(path)}\n".encode("utf-8", "surrogateescape")


def list_files(source: Path, seed: int = 0) -> dict[str, ImageFiles]:
    """The splits of a source of image files: those there are of train, validation and test.

    A folder holds a folder for each class, or a folder for each split (train, val, test and what else these are
    called, see `SPLITS`) which holds those. A file is CSV of path,label[,split] or has lines `path label`.
    Classes are those of the training split, sorted, and the same in all splits. Where there is neither a test
    nor a validation split, a test split is held out of the training one: see `_held_out`.

    Raises DataError where the source cannot be read, has no images, gives a class two names that differ in case or
    Unicode form only, has a class that the training split lacks, or has one class alone.
    """
    return in_splits(listed(source), source, seed)


def in_splits(listing: Listing, source: Path, seed: int = 0) -> dict[str, ImageFiles]:
    """The splits of what a source lists. Raises DataError as `list_files` does."""
    if not listing.entries:
        raise DataError("there are no images", where=escaped(source), received="; ".join(listing.notes), hint=LAYOUTS)
    entries = [entry._replace(split=entry.split or "train") for entry in listing.entries]
    _check_spellings(listing.root, entries)
    entries = [entry._replace(label=_class_name(entry.label)) for entry in entries]
    there = {entry.split for entry in entries}
    notes: dict[str, list[str]] = {split: [] for split in SPLITS}
    notes[next(split for split in SPLITS if split in there)] += listing.notes
    if there == {"train"}:
        entries = _held_out(entries, seed, source)
        held = _count(entries, "test")
        of = f"{held:,} of {count_of(len(entries), 'image')} {'is' if held == 1 else 'are'}"
        notes["train"].append(f"{of} held out for the test, each by a hash of its name ({TEST_SHARE:.0%})")
    classes = _classes(listing, entries)
    return {
        split: _image_files(listing, split, [entry for entry in entries if entry.split == split], classes, said)
        for split, said in notes.items()
        if _count(entries, split)
    }


def listed(source: Path) -> Listing:
    """What a folder, a list, tar files or a set of Hugging Face list. Raises DataError where it cannot be read."""
    if is_hugging_face(source):
        return read_hugging_face(source)
    if is_shards(source):
        return read_shards(source)
    return read_folder(source) if source.is_dir() else read_list(source)


def _image_files(
    listing: Listing, split: str, entries: Sequence[Entry], classes: tuple[str, ...], notes: list[str]
) -> ImageFiles:
    number = {name: k for k, name in enumerate(classes)}
    labels = np.array([number[entry.label] for entry in entries], np.int64)
    counts = np.bincount(labels, minlength=len(classes))
    if missing := [name for name, count in zip(classes, counts, strict=True) if not count]:
        notes = [*notes, f"the {split} split has no images of {shown(missing, 10)}"]
    paths = tuple(entry.path for entry in entries)
    return ImageFiles(listing.root, split, paths, labels, classes, listing.reader, tuple(notes))


def _count(entries: Iterable[Entry], split: str) -> int:
    return sum(entry.split == split for entry in entries)


def _class_name(label: str) -> str:
    """A label in one Unicode form, and fit to be shown: class names travel into models, reports and terminals."""
    return escaped(unicodedata.normalize("NFC", label))


def _check_spellings(root: Path, entries: Iterable[Entry]) -> None:
    """Whether no split has two names for a class that only look or sound different to a computer."""
    first: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        folded = unicodedata.normalize("NFC", entry.label).casefold()
        other = first.setdefault((entry.split, unicodedata.normalize("NFC", folded)), entry)
        if other.label != entry.label:
            raise DataError(
                "these class names differ in case or Unicode form only",
                where=escaped(root),
                received=f"{other.label!a} ({escaped(other.path)}) and {entry.label!a} ({escaped(entry.path)})",
                hint="one name for both, or names that differ",
            )


def _classes(listing: Listing, entries: Sequence[Entry]) -> tuple[str, ...]:
    """The names of the training split's classes, sorted; of all splits where that one is not there."""
    training = {entry.label for entry in entries if entry.split == "train"}
    names = training or {entry.label for entry in entries}
    for entry in entries:
        if entry.label not in names:
            alike = [name for name in names if name.casefold() == entry.label.casefold()]
            near = alike or get_close_matches(entry.label, names, n=1)
            raise DataError(
                "the training split has no such class",
                where=escaped(listing.root / entry.path.parent),
                received=f"class {entry.label} of the {entry.split} split",
                hint=near[0] if near else shown(sorted(names), 10),
            )
    if training and len(training) < 2:
        raise DataError(
            "a classifier needs two classes or more",
            where=escaped(listing.root),
            received=shown(training),
            hint=_inside(listing, entries) or LAYOUTS,
        )
    if listing.numbered and all(re.fullmatch("-?[0-9]{1,9}", name, re.ASCII) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _inside(listing: Listing, entries: Sequence[Entry]) -> str:
    """The folder within a source in which all images lie, if it holds folders that may be what is meant; or nothing."""
    common = Path(os.path.commonpath([entry.path.parent for entry in entries]))
    inner = (entry.path.relative_to(common).parts for entry in entries)
    folders = sorted({parts[0] for parts in inner if len(parts) > 1})
    if listing.numbered or not folders:
        return ""
    return f"{escaped(listing.root / common)}, if the folders in it are classes or splits: {shown(folders)}"


def _held_out(entries: Sequence[Entry], seed: int, source: Path) -> list[Entry]:
    """The same entries, some in the test split: those whose place, from 0 to 1, is below `TEST_SHARE`.

    A file's place is a hash of the seed and its path, so that the same files are held out anywhere and always, and
    a file that is added moves no other. A class of two files or more has at least one on each side: where its places
    fall otherwise, the first is held out, or the last is not.
    """
    classes: dict[str, list[tuple[float, int]]] = {}
    for k, entry in enumerate(entries):
        classes.setdefault(entry.label, []).append((_place(seed, entry.path), k))
    held: set[int] = set()
    for places in map(sorted, classes.values()):
        below = sum(place < TEST_SHARE for place, _ in places)
        held.update(k for _, k in places[: min(max(below, 1), len(places) - 1)])
    if not held:
        raise DataError(
            "a test needs images that are held out, so some class needs two", where=escaped(source), hint=LAYOUTS
        )
    return [entry._replace(split="test") if k in held else entry for k, entry in enumerate(entries)]


def _place(seed: int, path: Path) -> float:
    """From 0 to 1; the same on file systems that write names in different Unicode forms."""
    name = unicodedata.normalize("NFC", path.as_posix()).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(b"%d\0%s" % (seed, name), digest_size=8).digest(), "big") / 2**64
