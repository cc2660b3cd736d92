"""A folder for each class, and for each split or not: `train/cat/1.jpg`, `cat/train/1.jpg`, or `cat/1.jpg`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, escaped
from .entries import SPLITS, Disk, Entry, Listing, Root, shown, split_named, unreadable

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
"""What names of image files end in, in any case; others are left out, and counted."""
FOREIGN = frozenset((".heic", ".heif", ".avif", ".jxl", ".jp2", ".tga", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"))
"""What names of photographs end in that are not read. A class that has no others must not vanish."""


def read_folder(folder: Path) -> Listing:
    """The image files below a folder, in the order of their names.

    Hidden files, files of other kinds and what is no regular file are left out and noted. Links within the folder are
    followed. Raises DataError for a link out of it and for a folder that cannot be read.
    """
    walk = _Walk(Root(folder))
    top = walk.look(Path())
    splits = {name: split for name in top.folders if (split := split_named(name.name)) and walk.look(name).folders}
    if "train" not in splits.values() and len(splits) < len(top.folders):  # then they are classes called test, valid
        entries, left = _split_within(list(walk.classes(top, ""))), []
    else:
        _check_once(folder, splits)
        inner = sorted(splits, key=lambda name: list(SPLITS).index(splits[name]))
        entries = [entry for name in inner for entry in walk.classes(walk.look(name), splits[name])]
        left = [name for name in top.folders if name not in splits]
        walk.loose += top.images
    return Listing(folder, entries, [*_left_out(left), *walk.notes()], numbered=False, reader=Disk(folder))


def _split_within(entries: list[Entry]) -> list[Entry]:
    """Entries of class folders, with their splits where all images lie in folders for these: `cat/train/1.jpg`."""
    inner = [split_named(entry.path.parts[1]) if len(entry.path.parts) > 2 else "" for entry in entries]
    if not all(inner):
        return entries
    return [entry._replace(split=split) for entry, split in zip(entries, inner, strict=True)]


def holds_images(folder: Path) -> bool:
    """Whether there is an image file anywhere below a folder."""
    return next(_Walk(Root(folder)).images(Path()), None) is not None


def images_below(folder: Path) -> list[Path]:
    """Every image file below a folder, in the order of their names, whatever its class.

    Raises DataError as `read_folder` does.
    """
    return [folder / image for image in sorted(_Walk(Root(folder)).images(Path()), key=Path.as_posix)]


def _check_once(folder: Path, splits: dict[Path, str]) -> None:
    for split in splits.values():
        names = [name for name, other in splits.items() if other == split]
        if len(names) > 1:
            raise DataError(f"there is one folder for the {split} split", where=escaped(folder), received=shown(names))


def _left_out(folders: Sequence[Path]) -> list[str]:
    return [f"folders that are no split with classes are left out: {shown(folders)}"] if folders else []


class _Content(NamedTuple):
    """What a folder holds, sorted by name; all paths are within the root."""

    folders: list[Path]
    images: list[Path]
    others: list[Path]
    irregular: list[Path]


class _Walk:
    """A walk through the folders of a root, which keeps account of what it leaves out."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.others: Counter[str] = Counter()
        self.irregular: list[Path] = []
        self.circles: list[Path] = []
        self.empty: list[Path] = []
        self.loose: list[Path] = []

    def look(self, folder: Path) -> _Content:
        """What there is in one folder."""
        content = _Content([], [], [], [])
        try:
            with os.scandir(self.root.path / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise unreadable(self.root.path / folder, error) from None
        for entry in entries:
            path = folder / entry.name
            if not entry.name.startswith("."):
                self._kind(entry, path, content).append(path)
        return content

    def _kind(self, entry: os.DirEntry[str], path: Path, content: _Content) -> list[Path]:
        if entry.is_symlink() and not self.root.holds(path):
            raise DataError(
                "this link leads out of the data's folder, and is not followed",
                where=escaped(self.root.path / path),
                received=escaped(os.path.realpath(entry.path)),
                hint="the files themselves in its place",
            )
        try:
            if entry.is_dir():
                return content.folders
            regular = entry.is_file()
        except OSError:  # a link to itself
            regular = False
        if path.suffix.lower() not in SUFFIXES:
            return content.others
        return content.images if regular else content.irregular

    def classes(self, content: _Content, split: str) -> Iterator[Entry]:
        """An entry for each image in the class folders of a split."""
        self.loose += content.images
        for folder in content.folders:
            before = self.others.copy()
            images = sorted(self.images(folder), key=Path.as_posix)
            if not images:
                self._check_foreign(folder, self.others - before)
                self.empty.append(folder)
            yield from (Entry(image, folder.name, split) for image in images)

    def _check_foreign(self, folder: Path, others: Counter[str]) -> None:
        """Raise DataError where a folder without images has photographs of other formats."""
        if foreign := {suffix: count for suffix, count in others.items() if suffix in FOREIGN}:
            raise DataError(
                "the photographs of this class are in formats that are not read",
                where=escaped(self.root.path / folder),
                received=", ".join(f"{suffix} {count:,}" for suffix, count in foreign.items()),
                hint="the same ones saved as JPEG or PNG",
            )

    def images(self, folder: Path) -> Iterator[Path]:
        """The images in a folder and all folders below it, each folder once whatever links lead to it."""
        seen, waiting = set(), [folder]
        while waiting:
            here = waiting.pop()
            status = (self.root.path / here).stat()
            if (status.st_dev, status.st_ino) in seen:
                self.circles.append(here)
                continue
            seen.add((status.st_dev, status.st_ino))
            content = self.look(here)
            self.others.update(path.suffix.lower() or "none" for path in content.others)
            self.irregular += content.irregular
            waiting += reversed(content.folders)
            yield from content.images

    def notes(self) -> list[str]:
        """What was left out, in words."""
        kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in self.others.most_common(5))
        said = {
            "files whose names do not end as images' do are left out, by their ending": kinds,
            "what is no regular file is left out": shown(self.irregular),
            "folders that were listed already are not listed again": shown(self.circles),
            "folders without images are no classes": shown(self.empty),
            "images outside of class folders are left out": shown(self.loose),
        }
        return [f"{what}: {names}" for what, names in said.items() if names]
