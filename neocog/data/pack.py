"""A data set decoded once and written into one file: see `packed.py`, which reads it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RunError, escaped
from ..layer import Shape
from .dataset import Dataset, Reading, Splits, Told, silence
from .download import check_space
from .packed import DTYPES, FORMAT, HEADER, SUFFIX, rows_of_a_block
from .reading import HOW, How, Usable, check_classes, fit_to, name_of, training_files
from .sources import found


class Part(Protocol):
    """A split whose images are gone through once; what its labels are, and what to say, is known afterwards."""

    def __iter__(self) -> Iterator[NDArray[np.uint8]]: ...

    @property
    def split(self) -> str:
        """What the split is called."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels of the images that came."""

    @property
    def reading(self) -> Reading | None:
        """How files became images, where they were files."""


@dataclass(frozen=True)
class _Whole:
    """A data set that is there already, as a part."""

    dataset: Dataset

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for k in range(len(self.dataset)):
            yield self.dataset.images[k]

    @property
    def split(self) -> str:
        return self.dataset.split

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.dataset.labels

    @property
    def reading(self) -> Reading | None:
        return self.dataset.reading


def pack(source: str, path: Path, shape: Shape | None = None, told: Told = silence, how: How = HOW) -> int:
    """Write what `load_data(source, shape)` would give into one file. Returns how many bytes it has.

    Image files are decoded as they are written, so that memory need not hold them. Raises DataError as `load_data`
    does, and for a file name of another kind; RunError where the file cannot be written.
    """
    if path.suffix != SUFFIX:
        raise DataError(f"the name of a packed data set ends in {SUFFIX}", received=escaped(path), hint=f"data{SUFFIX}")
    data = found(source)
    if isinstance(data, Splits):
        _check_shape(data.train, shape)
        whole = {"train": data.train, "validation": data.validation, "test": data.test}
        there: dict[str, Part] = {key: _Whole(one) for key, one in whole.items() if one is not None}
        return _write(path, data.train.name, data.train.classes, data.train.images.shape[1:], there)
    files = training_files(data)
    fit, classes = fit_to(shape, data), files["train"].classes
    decoded: dict[str, Part] = {split: Usable(one, fit, told, how.threads) for split, one in files.items()}
    if "test" not in decoded:
        decoded["test"] = decoded.pop("validation")
    row = (*fit.source, fit.channels)
    check_space(path.parent, sum(map(len, files.values())) * math.prod(row))
    check = partial(check_classes, data, classes)
    return _write(path, name_of(data), classes, row, decoded, check)


def _check_shape(dataset: Dataset, shape: Shape | None) -> None:
    size = "x".join(map(str, dataset.images.shape[1:]))
    if shape is not None and (*shape.spatial, shape.channels) != dataset.images.shape[1:]:
        rule = "this set's images have a size already, and are fitted to a network's when it is trained"
        raise DataError(rule, where=dataset.name, received=f"--size {shape}", hint=f"--size {size}, or none")


def _write(
    path: Path,
    name: str,
    classes: tuple[str, ...],
    row: tuple[int, ...],
    parts: Mapping[str, Part],
    check: Callable[[NDArray[np.int64]], None] = lambda labels: None,
) -> int:
    """Write the parts one after the other, and the header when their numbers of images are known."""
    with _written(path) as file:
        file.write(bytes(HEADER))
        arrays: dict[str, dict[str, Any]] = {}
        splits: dict[str, dict[str, Any]] = {}
        for key, part in parts.items():
            arrays[f"{key}.images"] = _append(file, part, "U8", row)
            arrays[f"{key}.labels"] = _append(file, part.labels, "I64", ())
            reading = part.reading and {"notes": part.reading.notes, "skipped": part.reading.skipped}
            splits[key] = {"split": part.split, "reading": reading}
            if key == "train":
                check(part.labels)
        described = {"name": name, "classes": classes, "splits": splits, "arrays": arrays}
        about = np.frombuffer(json.dumps(described).encode(), np.uint8)
        metadata = {"format": FORMAT, "sha256": hashlib.sha256(about.tobytes()).hexdigest()}
        arrays["about"] = _append(file, about, "U8", ())
        size = file.tell()
        told = {key: {one: array[one] for one in ("dtype", "shape", "data_offsets")} for key, array in arrays.items()}
        header = json.dumps({"__metadata__": metadata, **told}, separators=(",", ":")).encode()
        file.seek(0)
        file.write(struct.pack("<Q", HEADER - 8) + header.ljust(HEADER - 8))
    return size


def _append(file: BinaryIO, values: Iterable[Any], dtype: str, row: tuple[int, ...]) -> dict[str, Any]:
    """Write an array, row by row, at the end of a file; what the header and `about` say of it."""
    begin, count, blocks = file.tell() - HEADER, 0, []
    rows = iter(values)
    while some := list(islice(rows, rows_of_a_block(row, DTYPES[dtype]))):
        content = np.asarray(some, DTYPES[dtype]).tobytes()
        blocks.append(hashlib.sha256(content).hexdigest())
        file.write(content)
        count += len(some)
    offsets = [begin, file.tell() - HEADER]
    return {"dtype": dtype, "shape": [count, *row], "data_offsets": offsets, "blocks": blocks}


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when all went well, and is gone otherwise."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError("this file cannot be written", where=escaped(path), received=reason) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
