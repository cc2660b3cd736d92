"""WebDataset's tar files: an image and its label are members of one name, `000017.jpg` and `000017.cls`.

Tar files that are not compressed can be read at any place. So they are gone through once for their headers, and an
image is read where it lies when it is asked for: in any order, as if it were a file. Nothing is ever extracted, and the
names in a tar file stay words. Source: https://github.com/webdataset/webdataset, "The WebDataset format".
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, escaped
from .decode import FILE_BYTES, Decoded, read_stream
from .entries import Entry, Listing, shown, split_named
from .folders import SUFFIXES

MOST_SHARDS = 100_000
MOST_MEMBERS = 10_000_000
"""Of one tar file."""
LABEL_BYTES = 2**16
LABELS = (".cls", ".json")


class Member(NamedTuple):
    """Where a member's bytes lie in a tar file."""

    shard: Path
    offset: int
    size: int


SUFFIX = ".tar"


def is_shards(source: Path) -> bool:
    """Whether a source is a tar file, several with their numbers in braces, or a folder of tar files."""
    return source.suffix.lower() == SUFFIX or bool(_inside(source))


def _inside(folder: Path) -> list[Path]:
    """The tar files in a folder, by their names; none where there are folders beside them, which may hold images."""
    try:
        with os.scandir(folder) as found:
            there = sorted((one for one in found if not one.name.startswith(".")), key=lambda one: one.name)
    except (OSError, ValueError):  # no folder, or a name that no file can have
        return []
    if any(one.is_dir() for one in there):
        return []
    return [folder / one.name for one in there if one.name.lower().endswith(SUFFIX)]


def shard_paths(source: Path) -> list[Path]:
    """The files that `shards-{000000..000003}.tar` names, those in a folder, or the one named. Raises DataError."""
    if inside := _inside(source):
        return inside
    match = re.fullmatch(r"([^{}]*)\{([0-9]{1,9})\.\.([0-9]{1,9})\}([^{}]*)", source.name, re.ASCII)
    if match is None:
        return [source]
    before, first, last, after = match.groups()
    count = int(last) - int(first) + 1
    if not 1 <= count <= MOST_SHARDS:
        raise DataError(f"there are from 1 to {MOST_SHARDS:,} shards", received=source.name[:80])
    names = (f"{before}{number:0{len(first)}d}{after}" for number in range(int(first), int(last) + 1))
    return [source.parent / name for name in names]


def read_shards(source: Path) -> Listing:
    """The images in tar files. The split is the word that a file's name begins with, as train-000.tar or val-000.tar.

    Raises DataError for a file that is no tar file or damaged, for a member that comes twice, and for too many.
    """
    members: dict[Path, Member] = {}
    entries: list[Entry] = []
    lacking: list[Path] = []
    for shard in shard_paths(source):
        split = split_named(re.split("[^A-Za-z]", shard.name, maxsplit=1)[0])
        for key, parts in _samples(shard).items():
            image = next((suffix for suffix in parts if suffix in SUFFIXES), None)
            label = next((suffix for suffix in parts if suffix in LABELS), None)
            path = Path(shard.name, f"{key}{image or ''}")
            if image is None or label is None:
                lacking.append(path)
                continue
            members[path] = parts[image]
            entries.append(Entry(path, _label(label, parts[label], f"{escaped(shard)}, {escaped(key)}{label}"), split))
    notes = [f"samples without an image or a label are left out: {shown(lacking)}"] if lacking else []
    root = source if source.suffix.lower() != SUFFIX else source.parent
    return Listing(root, entries, notes, numbered=True, reader=_Members(members))


def _samples(shard: Path) -> dict[str, dict[str, Member]]:
    """The members of a tar file that make up a sample: by what is before the first dot, and then by what follows."""
    samples: dict[str, dict[str, Member]] = {}
    for name, member in _members(shard):
        folder, _, file = name.rpartition("/")
        stem, dot, suffix = file.partition(".")
        parts = samples.setdefault(f"{folder}/{stem}" if folder else stem, {})
        suffix = f".{suffix.lower()}" if dot else ""
        if suffix in parts:
            raise DataError("a member comes twice", where=escaped(shard), received=escaped(name)[:80])
        if member.size > FILE_BYTES:
            rule = f"an image file has at most {FILE_BYTES:,} bytes"
            raise DataError(rule, where=f"{escaped(shard)}, {escaped(name)[:80]}", received=f"{member.size:,} bytes")
        parts[suffix] = member
    return samples


def _members(shard: Path) -> Iterator[tuple[str, Member]]:
    """The regular files in a tar file."""
    try:
        if not shard.is_file():
            raise DataError("there is no such file", where=escaped(shard))
        size = shard.stat().st_size
        with tarfile.open(shard, "r:") as archive:
            for count, member in enumerate(archive, 1):
                if count > MOST_MEMBERS:
                    raise DataError(f"a shard has at most {MOST_MEMBERS:,} members", where=escaped(shard))
                if member.isreg() and not member.issparse():
                    if member.offset_data + member.size > size:
                        raise DataError("this tar file is cut off", where=escaped(shard))
                    yield member.name, Member(shard, member.offset_data, member.size)
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        rule, hint = "this is no tar file, or a compressed or damaged one", "shards as tar -cf makes them"
        raise DataError(rule, where=escaped(shard), received=str(error)[:100], hint=hint) from None
    except OSError as error:
        raise DataError("this cannot be read", where=escaped(shard), received=error.strerror or "") from None


def _label(suffix: str, member: Member, where: str) -> str:
    """A class's number or name: the text of a .cls file, `label` of a .json file."""
    if member.size > LABEL_BYTES:
        raise DataError(f"a label has at most {LABEL_BYTES:,} bytes", where=where, received=f"{member.size:,} bytes")
    try:
        text = _bytes(member).decode()
        label = json.loads(text)["label"] if suffix == ".json" else text
    except (ValueError, KeyError, TypeError, RecursionError):
        label = None
    if isinstance(label, bool) or not isinstance(label, int | str) or not str(label).strip():
        hint = '7 in 000017.cls, or {"label": 7} in 000017.json'
        raise DataError("a label is a class's number or name", where=where, hint=hint)
    return str(label).strip()


def _bytes(member: Member) -> bytes:
    with member.shard.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


class _Members:
    """Reads images where they lie in tar files."""

    def __init__(self, members: dict[Path, Member]) -> None:
        self.members = members

    def stands_for(self, path: Path) -> str:
        return str(self.members[path].size)

    def read(self, path: Path) -> Decoded:
        member = self.members[path]
        where = escaped(member.shard.parent / path)
        try:
            content = _bytes(member)
        except OSError as error:
            raise DataError("this file cannot be read", where=where, received=error.strerror or "") from None
        if not content:
            raise DataError("this file is empty", where=where)
        return read_stream(io.BytesIO(content), where)
