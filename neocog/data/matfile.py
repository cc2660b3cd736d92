"""Arrays of numbers in MATLAB's level 5 MAT files, as SVHN is published in them.

    128 bytes of header · elements: a tag of type and bytes, then that many bytes, filled up to a multiple of 8

An element is a matrix, or a matrix packed by zlib. A matrix is elements again: flags with its class, its sizes, its
name, and its values, the first index changing fastest. An element of up to 4 bytes may stand in its own tag.

Source: The MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

HEADER = 128
COMPRESSED, MATRIX = 15, 14
CLASSES = {6: "<f8", 9: "|u1"}
"""Classes of arrays that are read: double and unsigned byte."""
STORED = {1: "|i1", 2: "|u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 9: "<f8"}
"""Types in which values are written; MATLAB takes the smallest that holds them."""
LARGEST = 2**31
"""Bytes of one array."""
CHUNK = 1 << 20


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_mat(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file by name. Raises DataError; sizes are checked before memory is taken."""
    try:
        with path.open("rb") as file:
            return _arrays(file, path.stat().st_size)
    except (struct.error, zlib.error, ValueError, KeyError) as error:
        if isinstance(error, DataError):
            raise error.at(str(path)) from None
        raise DataError("this MAT file is damaged or cut off", where=str(path), received=str(error)[:100]) from None
    except OSError as error:
        raise DataError("this file cannot be read", where=str(path), received=error.strerror or "") from None


def _arrays(file: BinaryIO, size: int) -> dict[str, NDArray[np.generic]]:
    head = file.read(HEADER)
    if head[124:] != b"\x00\x01IM":
        raise DataError(
            "this is no MAT file of level 5, written on a little-endian machine",
            received=head[:20].decode("ascii", "replace"),
        )
    found = {}
    while (place := file.tell()) < size:
        kind, length = struct.unpack("<II", file.read(8))
        if length > size - place - 8:
            raise ValueError(f"{length:,} bytes promised, {size - place - 8:,} left")
        if kind == COMPRESSED:
            inner = _Unpacked(file, length)
            kind, _ = struct.unpack("<II", _exactly(inner, 8))
            name, values = _matrix(inner, kind)
            if inner.read(1) or not inner.inflate.eof:  # which is where its checksum is looked at
                raise ValueError("an array does not end where it should")
        else:
            name, values = _matrix(file, kind)
        found[name] = values
        file.seek(place + 8 + length)
    return found


def _matrix(stream: _Stream, kind: int) -> tuple[str, NDArray[np.generic]]:
    if kind != MATRIX:
        raise DataError("only arrays of numbers are read from MAT files", received=f"an element of type {kind}")
    flags = _element(stream, 8)[1]
    if len(flags) < 2:
        raise ValueError("an array does not say what it holds")
    sizes = np.frombuffer(_element(stream, 256)[1], "<i4").tolist()
    name = _element(stream, 256)[1].decode("ascii")
    if flags[0] not in CLASSES or flags[1] & 0x08 or min(sizes) < 0:
        raise DataError("only arrays of bytes and real numbers are read from MAT files", received=f"class {flags[0]}")
    count = math.prod(sizes)
    stored, content = _element(stream, min(LARGEST, 8 * count))
    values = np.frombuffer(content, STORED[stored])
    if len(values) != count:
        raise ValueError(f"{len(values):,} of {count:,} values")
    return name, values.astype(CLASSES[flags[0]], copy=False).reshape(sizes, order="F")


def _element(stream: _Stream, most: int) -> tuple[int, bytes]:
    """The type and the bytes of an element that has at most so many."""
    tag = _exactly(stream, 8)
    small, length = struct.unpack("<HH", tag[:4])
    if length:
        return small, tag[4 : 4 + min(length, 4)]
    kind, length = struct.unpack("<II", tag)
    if length > most:
        raise ValueError(f"{length:,} bytes where at most {most:,} can be")
    content = _exactly(stream, length)
    _exactly(stream, -length % 8)
    return kind, content


def _exactly(stream: _Stream, size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise ValueError(f"{len(content):,} of {size:,} bytes")
    return content


class _Unpacked:
    """Reads an element packed by zlib, which has so many bytes in the file."""

    def __init__(self, file: BinaryIO, stored: int) -> None:
        self.file, self.stored = file, stored
        self.inflate, self.packed = zlib.decompressobj(), b""

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size and not self.inflate.eof and (self.packed or self.stored):
            if not self.packed:
                self.packed = self.file.read(min(CHUNK, self.stored))
                self.stored -= len(self.packed)
            parts.append(self.inflate.decompress(self.packed, size))
            self.packed = self.inflate.unconsumed_tail
            size -= len(parts[-1])
        return b"".join(parts)
