"""Data sets of Hugging Face's `datasets` library: `hf:NAME` from the hub, or a folder that `save_to_disk` wrote.

The library is an extra: `pip install neocog[hf]`. It only hands over the images' bytes, which are decoded here as all
others are. Sets that are programs of their own are not run.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ..errors import DataError, escaped
from .decode import Decoded, read_image, read_stream
from .entries import Entry, Listing, split_named

PREFIX = "hf:"
SAVED = ("dataset_dict.json", "dataset_info.json")
"""What a folder that `save_to_disk` wrote holds."""


def is_hugging_face(source: Path) -> bool:
    """Whether a source is `hf:NAME`, or a folder that `save_to_disk` wrote."""
    return str(source).startswith(PREFIX) or any((source / name).is_file() for name in SAVED)


def read_hugging_face(source: Path) -> Listing:
    """The images of a set. Raises DataError where the library is missing, or the set has no image or no class."""
    parts, name = _loaded(str(source)), str(source).removeprefix(PREFIX)
    tables: dict[str, tuple[Any, str]] = {}
    entries: list[Entry] = []
    for part, table in parts.items():
        image, label = _column(table, "Image", source), _column(table, "ClassLabel", source)
        tables[part] = (table.cast_column(image, type(table.features[image])(decode=False)), image)
        names = table.features[label].names
        for k, number in enumerate(table[label]):
            if number is not None and number >= 0:  # -1 stands for an image without a label, as in many test sets
                entries.append(Entry(Path(part, str(k)), names[number], split_named(part)))
    return Listing(Path(name), entries, [], numbered=False, reader=_Tables(name, tables))


def _loaded(source: str) -> dict[str, Any]:
    """The tables of a set by their splits' names."""
    try:
        import datasets
    except ImportError:
        rule = "sets of Hugging Face are read by its library"
        raise DataError(rule, received=source[:80], hint="pip install 'neocog[hf]'") from None
    try:
        if source.startswith(PREFIX):
            found = datasets.load_dataset(source.removeprefix(PREFIX))
        else:
            found = datasets.load_from_disk(source)
    except Exception as error:  # whatever a network, a hub and a cache can fail by
        reason = str(error).split("\n")[0][:160] or type(error).__name__
        raise DataError("this set cannot be had", where=escaped(source), received=reason) from None
    return dict(found) if isinstance(found, dict) else {"train": found}


def _column(table: Any, kind: str, source: Path) -> str:
    """The name of the first column that holds images, or classes."""
    kinds: dict[str, str] = {name: type(feature).__name__ for name, feature in table.features.items()}
    for name, found in kinds.items():
        if found == kind:
            return name
    columns = ", ".join(f"{name} ({found})" for name, found in kinds.items())
    raise DataError(f"the set has a column of kind {kind}", where=escaped(source), received=columns)


class _Tables:
    """Reads images of tables whose image columns give a file's bytes, or its path."""

    def __init__(self, name: str, tables: dict[str, tuple[Any, str]]) -> None:
        self.name, self.tables = name, tables

    def stands_for(self, path: Path) -> str:
        table, _ = self.tables[path.parts[0]]
        fingerprint: str = table._fingerprint
        return fingerprint

    def read(self, path: Path) -> Decoded:
        cell = self._cell(path)
        if cell["bytes"] is None:
            return read_image(Path(cell["path"]))
        return read_stream(io.BytesIO(cell["bytes"]), f"{self.name}, {escaped(path)}")

    def _cell(self, path: Path) -> Any:
        table, column = self.tables[path.parts[0]]
        return table[int(path.parts[1])][column]
