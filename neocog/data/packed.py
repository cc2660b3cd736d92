"""A data set in one file, whose images are read by mapping it into memory.

The file is a safetensors file, which other libraries read too: for each split an array of images, uint8 (N, H, W, C),
and one of labels, int64 (N,), and at the end `about`, JSON in bytes: name, classes, what there is to say of the files
the images came from, and the SHA-256 of every block of every array. The SHA-256 of `about` is in the header. So every
byte is covered, and a damaged file is refused with the place of the damage before anything is learned from it.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ModelFileError, NeocogError, escaped
from ..files import read_header, read_json
from ..resources import cores
from .dataset import BLOCK, Dataset, Reading, Splits
from .threads import in_threads

SUFFIX = ".safetensors"
FORMAT = "neocog data set 1"
HEADER = 4096
"""Bytes before the first image, the header filled up with spaces: images begin on a page of memory."""
LARGEST_ABOUT = 2**28
CHECKERS = min(8, cores())
CHECK_LIMIT = 120.0
"""Seconds without a block after which the file's disk counts as gone."""
DTYPES: dict[str, Any] = {"U8": np.uint8, "I64": np.dtype("<i8")}


def rows_of_a_block(row: tuple[int, ...], dtype: Any) -> int:
    """How many rows of an array, each of this shape, are checked together."""
    size: int = math.prod(row) * np.dtype(dtype).itemsize
    return max(1, BLOCK // max(1, size))


def read_packed(path: Path) -> Splits:
    """The data set in a file, every block of it checked; images are a read-only memory map.

    Raises DataError for another file, and for a damaged one with the block in which it is.
    """
    try:
        about, offsets = _about(path)
        arrays = {name: _array(path, name, array, offsets) for name, array in about["arrays"].items()}
        _check_blocks(path, about["arrays"], arrays)
        found = {split: _dataset(split, about, arrays) for split in about["splits"]}
        return Splits(found["train"], found["test"], found.get("validation"))
    except (ModelFileError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        rule = error.rule if isinstance(error, NeocogError) else "this data set is damaged: its parts do not fit"
        raise DataError(rule, where=escaped(path)) from None
    except OSError as error:
        raise DataError("this file cannot be read", where=escaped(path), received=error.strerror or "") from None


def _about(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says of itself, and the header's arrays; the two say the same."""
    header, size = read_header(path)
    said = header.pop("__metadata__", {})
    if said.get("format") != FORMAT:
        hint = "a file that neocog data pack has written"
        raise DataError("this safetensors file is no data set", where=escaped(path), hint=hint)
    begin, end = header["about"]["data_offsets"]
    described = {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
    if header["about"] != described or end != size or not 0 <= begin <= end or end - begin > LARGEST_ABOUT:
        raise DataError("this data set is cut off, or its header damaged", where=escaped(path))
    with path.open("rb") as file:
        file.seek(HEADER + begin)
        text = file.read(end - begin)
    if hashlib.sha256(text).hexdigest() != said.get("sha256"):
        raise DataError("this data set is damaged where it describes itself", where=escaped(path))
    return read_json(text, "the description"), header


def _array(path: Path, name: str, array: dict[str, Any], header: dict[str, Any]) -> NDArray[Any]:
    told = {key: array[key] for key in ("dtype", "shape", "data_offsets")}
    begin, end = array["data_offsets"]
    shape, dtype = tuple(array["shape"]), np.dtype(DTYPES[array["dtype"]])
    if header.get(name) != told or math.prod(shape) * dtype.itemsize != end - begin:
        raise DataError(f"this data set is damaged: its header contradicts it about {name}", where=escaped(path))
    mapped: NDArray[Any] = np.memmap(path, dtype, "r", HEADER + begin, shape)
    return mapped


def _check_blocks(path: Path, said: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Raises DataError for the first block that is not what was written. The threads' hashing is not Python's."""
    blocks = []
    for name, array in arrays.items():
        rows = rows_of_a_block(array.shape[1:], array.dtype)
        starts = range(0, len(array), rows)
        blocks += [(name, start, rows, k, said[name]["blocks"][k]) for k, start in enumerate(starts)]

    def check(block: tuple[str, int, int, int, str]) -> None:
        name, start, rows, k, expected = block
        part = arrays[name][start : start + rows]
        if hashlib.sha256(np.ascontiguousarray(part).data).hexdigest() != expected:
            raise DataError(
                "this data set is damaged",
                where=escaped(path),
                received=f"block {k + 1} of {name}, rows {start:,} to {start + len(part) - 1:,}",
                hint="pack it again",
            )

    in_threads(check, blocks, CHECKERS, CHECK_LIMIT, lambda block: f"{escaped(path)}, {block[0]}")


def _dataset(key: str, about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Dataset:
    said = about["splits"][key]
    found = said["reading"]
    reading = found and Reading(tuple(found["notes"]), tuple((file, why) for file, why in found["skipped"]))
    labels = np.array(arrays[f"{key}.labels"], np.int64)
    return Dataset(about["name"], said["split"], arrays[f"{key}.images"], labels, tuple(about["classes"]), reading)
