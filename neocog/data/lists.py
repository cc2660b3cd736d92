"""A file that lists images with their classes: a table `path,label[,split]`, or Caffe's lines `path label`."""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from ..errors import DataError, escaped
from .entries import SPLITS, Disk, Entry, Listing, Root, split_named, unreadable

SEPARATORS = {".csv": ",;\t", ".tsv": "\t"}
"""What may stand between the columns of a table; of these the first that its first line has."""
LISTS = (".txt", ".lst", ".list")
LARGEST = 2**30
"""Bytes of such a file."""

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_name"),
    "label": ("label", "class", "classname", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
}
"""The columns of a CSV file, and what they are called where a first line names them, in any case and order."""

Row = tuple[int, list[str]]


class _Columns(NamedTuple):
    path: int
    label: int
    split: int | None


def read_list(file: Path) -> Listing:
    """The images that a file lists, in its order; paths are relative to the file's folder, or absolute within it.

    Raises DataError, with the line, for one that cannot be understood, leads out of the folder, or comes twice.
    """
    suffix = file.suffix.lower()
    if suffix in SEPARATORS:
        first = next(_text(file), "")
        separator = next((one for one in SEPARATORS[suffix] if one in first), SEPARATORS[suffix][0])
        entries = _table(file, _rows(file, separator))
    elif suffix in LISTS:
        entries = _lines(file)
    else:
        hint = f"a name ending in {', '.join((*SEPARATORS, *LISTS))}, or a folder of images"
        raise DataError("this file is no list of images", where=escaped(file), hint=hint)
    return Listing(file.parent, list(_checked(file, entries)), [], numbered=True, reader=Disk(file.parent))


def _text(file: Path) -> Iterator[str]:
    """The lines; what is no UTF-8 stays in names as the bytes it is."""
    try:
        if not file.is_file():
            raise DataError("this is not a regular file", where=escaped(file))
        if file.stat().st_size > LARGEST:
            raise DataError(f"a list has at most {LARGEST:,} bytes", where=escaped(file))
        with file.open("rb") as content:
            if content.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                hint = "the same file saved as UTF-8"
                raise DataError("a list is text in UTF-8", where=escaped(file), received="UTF-16", hint=hint)
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield from lines
    except OSError as error:
        raise unreadable(file, error) from None


def _rows(file: Path, separator: str) -> Iterator[Row]:
    reader = csv.reader(_text(file), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise _wrong(file, reader.line_num, "this line is no row of a table", str(error)) from None


def _table(file: Path, rows: Iterator[Row]) -> Iterator[tuple[int, Entry]]:
    first = next(rows, None)
    if first is None:
        return
    columns = _header(first[1])
    if columns is None:
        _check_first(file, *first)
        columns = _Columns(0, 1, 2 if len(first[1]) > 2 else None)
        yield first[0], _entry(file, *first, columns)
    for line, row in rows:
        yield line, _entry(file, line, row, columns)


def _header(row: Sequence[str]) -> _Columns | None:
    """Where the columns are, if this row names them."""
    names = [cell.strip().lower() for cell in row]
    found = {
        column: next((names.index(word) for word in words if word in names), None) for column, words in COLUMNS.items()
    }
    path, label = found["path"], found["label"]
    return None if path is None or label is None else _Columns(path, label, found["split"])


def _check_first(file: Path, line: int, row: Sequence[str]) -> None:
    """Raises DataError where a first line names neither columns nor, as it seems, an image."""
    cell = row[0].strip()
    if cell and not Path(cell).suffix and not os.path.isfile(file.parent / cell):
        hint = "path,label or path,label,split as the first line"
        raise _wrong(file, line, "the first line names neither known columns nor an image", ",".join(row)[:80], hint)


def _entry(file: Path, line: int, row: Sequence[str], columns: _Columns) -> Entry:
    if len(row) <= max(column or 0 for column in columns):
        raise _wrong(file, line, "a row is path,label or path,label,split", ",".join(row)[:80])
    word = "" if columns.split is None else row[columns.split].strip()
    split = split_named(word)
    if columns.split is not None and not split:
        names = ", ".join(name for words in SPLITS.values() for name in words)
        raise _wrong(file, line, "there is no such split", word[:80], names)
    return Entry(_path(file, row[columns.path].strip()), row[columns.label].strip(), split)


def _path(file: Path, cell: str) -> Path:
    """A path as it is written, or as Windows means it where only so it names something: `cat\\1.jpg`."""
    path = Path(cell)
    if "\\" in cell and not os.path.lexists(file.parent / path):
        meant = Path(PureWindowsPath(cell).as_posix())
        return meant if os.path.lexists(file.parent / meant) else path
    return path


def _lines(file: Path) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(_text(file), 1):
        if line.strip():
            words = line.rsplit(None, 1)
            if len(words) < 2:
                raise _wrong(file, number, "a line is a path and a label", line.strip()[:80])
            yield number, Entry(Path(words[0].strip()), words[1], "")


def _checked(file: Path, entries: Iterator[tuple[int, Entry]]) -> Iterator[Entry]:
    """Entries whose paths are within the list's folder, each once."""
    root, lines = Root(file.parent), dict[Path, int]()
    for line, entry in entries:
        if not entry.label:
            raise _wrong(file, line, "this image has no label", str(entry.path))
        if "\0" in str(entry.path) or entry.path == Path():
            raise _wrong(file, line, "this is no path", str(entry.path))
        if not root.holds(entry.path):
            hint = "the list in a folder that holds all its images"
            raise _wrong(file, line, "this path leads out of the list's folder", str(entry.path), hint)
        path = entry.path
        if path.is_absolute() or ".." in path.parts:
            path = Path(os.path.relpath(os.path.realpath(root.path / path), root.real))
        if path in lines:
            raise _wrong(file, line, f"this image is in line {lines[path]} already", str(entry.path))
        lines[path] = line
        yield entry._replace(path=path)


def _wrong(file: Path, line: int, rule: str, received: str, hint: str = "") -> DataError:
    return DataError(rule, where=f"{escaped(file)}, line {line}", received=escaped(received), hint=hint)
