"""What a source of image files lists: one entry for each file, and which files may be read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import DataError, escaped
from .decode import Decoded, read_image

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval"),
}
"""The splits of a data set, and what people call them, in any case."""
NAMED = re.compile(
    rf"(?:(?:data|images)[ _-])?({'|'.join(sum(SPLITS.values(), ()))})(?:[ _-]?(?:set|data|dataset|images))?"
)
"""Such a word, and what may stand before or behind it: `training_set`, `test images`, `images_val`."""


class Entry(NamedTuple):
    """A file (its path within the root), its class as written, and its split; "" where the source does not say."""

    path: Path
    label: str
    split: str


class Reader(Protocol):
    """Reads what a source lists: files on a disk, members of a tar file."""

    def read(self, path: Path) -> Decoded:
        """The image of an entry's path. Raises DataError naming it."""

    def stands_for(self, path: Path) -> str:
        """What stands for its content in a fingerprint, such as its size."""


class Disk:
    """Reads image files below a folder, for threads that work within one `quiet`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: Path) -> Decoded:
        """The image in a file. Raises DataError naming it."""
        return read_image(self.root / path)

    def stands_for(self, path: Path) -> str:
        """Its size."""
        try:
            return str((self.root / path).stat().st_size)
        except OSError:
            return "-1"


class Listing(NamedTuple):
    """What a source lists, and what there is to say about the rest of it.

    `numbered` is whether labels may be numbers that count, not names.
    """

    root: Path
    entries: list[Entry]
    notes: list[str]
    numbered: bool
    reader: Reader


def split_named(word: str) -> str:
    """The split that a word stands for, or "" if it is none."""
    match = NAMED.fullmatch(word.lower())
    return next((split for split, words in SPLITS.items() if match and match[1] in words), "")


class Root:
    """The folder whose files may be read: what links or paths name outside of it may not."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.real = os.path.realpath(folder)
        self._real_folder = lru_cache(maxsize=4096)(os.path.realpath)

    def holds(self, path: Path) -> bool:
        """Whether a path within the root really lies in it once all links are followed."""
        full = os.path.join(self._real_folder(self.path / path.parent), path.name)
        real = os.path.realpath(full) if os.path.islink(full) or path.name == ".." else full
        return Path(real).is_relative_to(self.real)


def shown(paths: Iterable[str | Path], most: int = 3) -> str:
    """The first few names of a list, as they can be shown, and how many more there are."""
    names = [escaped(path) for path in paths]
    rest = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def unreadable(path: Path, error: OSError) -> DataError:
    """The refusal of a folder or list that the system does not let us read."""
    return DataError("this cannot be read", where=escaped(path), received=error.strerror or "")
