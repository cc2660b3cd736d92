"""Pixels of a large image, a part at a time: from memory, or row by row from a file that holds them as they are.

Files whose pixels stand uncompressed in rows are never read whole: NPY, binary PPM and PGM, BMP of 8 or 24 bits, and
TIFF whose strips follow each other. Others are decoded into memory, all of it.
"""

from __future__ import annotations

import ast
import os
import re
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, escaped
from ..wording import Text
from .decode import PIXELS, check_file, check_size, check_tags, decode_noted, quiet

Bytes = NDArray[np.uint8]
HEADER_BYTES = 2**16
STRIPS = 2**20
UNCOMPRESSED, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, SAMPLES, PER_STRIP, COUNTS, PLANES = (
    1,
    256,
    257,
    258,
    259,
    262,
    273,
    277,
    278,
    279,
    284,
)


class Raster(Protocol):
    """An image (height, width, channels), grey or RGB, of which parts can be read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        ...

    def read(self, rows: slice, columns: slice) -> Bytes:
        """The part (h, w, C)."""
        ...


@dataclass(frozen=True, eq=False)
class Held:
    """An image in memory (H, W, C)."""

    pixels: Bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.pixels.shape
        return height, width, channels

    def read(self, rows: slice, columns: slice) -> Bytes:
        """A view."""
        return self.pixels[rows, columns]


@dataclass(frozen=True)
class Filed:
    """Rows of pixels in a file: `offset` of the first, `stride` bytes from one to the next, negative from bottom up.

    `reverse` says that channels stand as blue, green, red, and `inverted` that 0 is white. Parts are read
    instead of mapped, so that what was read does not stay in memory.
    """

    path: Path
    shape: tuple[int, int, int]
    offset: int
    stride: int
    reverse: bool = False
    inverted: bool = False

    @cached_property
    def _handle(self) -> int:
        return os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def __del__(self) -> None:
        if "_handle" in self.__dict__:
            os.close(self._handle)

    def read(self, rows: slice, columns: slice) -> Bytes:
        """Row by row. Raises DataError where the file has become shorter."""
        channels = self.shape[2]
        width = columns.stop - columns.start
        part = np.empty((rows.stop - rows.start, width, channels), np.uint8)
        for k, row in enumerate(range(rows.start, rows.stop)):
            place = self.offset + row * self.stride + columns.start * channels
            os.lseek(self._handle, place, os.SEEK_SET)
            content = os.read(self._handle, width * channels)
            if len(content) != width * channels:
                raise DataError("this file is cut off within its pixels", where=escaped(self.path))
            part[k] = np.frombuffer(content, np.uint8).reshape(width, channels)
        part = part[..., ::-1] if self.reverse else part
        return 255 - part if self.inverted else part


def open_raster(path: Path, pixels: int = PIXELS) -> tuple[Raster, tuple[Text, ...]]:
    """The image in a file of at most so many pixels, and what was done to it that a person may not expect.

    Raises DataError naming the file.
    """
    where = escaped(path)
    check_file(path, where, sys.maxsize)  # rows are read as they are needed; what is decoded is checked there
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
            found = next((raster for kind in (_npy, _ppm, _bmp, _tiff) if (raster := kind(path, file, start))), None)
    except OSError as error:
        raise DataError("this file cannot be read", where=where, received=error.strerror or "") from None
    if found is None:
        image = decode_noted(path, pixels)
        return Held(image.pixels), image.notes
    height, width, _ = found.shape
    check_size((width, height), where, pixels)
    _check_length(found, where)
    return found, ()


def _check_length(raster: Filed, where: str) -> None:
    height, width, channels = raster.shape
    last = raster.offset + max(0, raster.stride * (height - 1)) + width * channels
    first = raster.offset + min(0, raster.stride * (height - 1))
    if first < 0 or last > os.path.getsize(raster.path):
        raise DataError("this file is cut off within its pixels", where=where, received=f"{height} rows of {width}")


def _npy(path: Path, file: BinaryIO, start: bytes) -> Filed | None:
    """NumPy's own format: bytes (H, W), (H, W, 1) or (H, W, 3). Raises DataError for another array."""
    if not start.startswith(b"\x93NUMPY"):
        return None
    wide = start[6:7] != b"\1"
    length = int.from_bytes(start[8 : 12 if wide else 10], "little")
    offset = (12 if wide else 10) + length
    rule = "an array as an image is bytes of shape (H, W), (H, W, 1) or (H, W, 3), row by row"
    try:
        header = ast.literal_eval(start[offset - length : offset].decode("latin-1"))
        shape, kind, columns = header["shape"], header["descr"], header["fortran_order"]
        sound = all(isinstance(n, int) and n > 0 for n in shape)
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        raise DataError("the header of this array is damaged", where=escaped(path)) from None
    channels = shape[2] if len(shape) == 3 else 1
    if kind not in ("|u1", "u1", "<u1") or columns or len(shape) not in (2, 3) or not sound or channels not in (1, 3):
        raise DataError(rule, where=escaped(path), received=f"{kind} {shape}"[:80])
    return Filed(path, (shape[0], shape[1], channels), offset, shape[1] * channels)


def _ppm(path: Path, file: BinaryIO, start: bytes) -> Filed | None:
    """P5 and P6, of bytes."""
    blank = rb"(?:\s|#[^\n]*\n)+"
    found = re.match(rb"P([56])" + blank + rb"(\d{1,9})" + blank + rb"(\d{1,9})" + blank + rb"255\s", start)
    if not found:
        return None
    channels, width, height = 1 if found[1] == b"5" else 3, int(found[2]), int(found[3])
    return Filed(path, (height, width, channels), found.end(), width * channels) if width and height else None


def _bmp(path: Path, file: BinaryIO, start: bytes) -> Filed | None:
    """24 bits, uncompressed; one with a palette is decoded."""
    if start[:2] != b"BM" or len(start) < 54:
        return None
    (offset,) = struct.unpack("<I", start[10:14])
    size, width, height, planes, bits, compression = struct.unpack("<IiiHHI", start[14:34])
    if size < 40 or width < 1 or height == 0 or (planes, bits, compression) != (1, 24, 0):
        return None
    stride = (3 * width + 3) // 4 * 4
    if height < 0:
        return Filed(path, (-height, width, 3), offset, stride, reverse=True)
    return Filed(path, (height, width, 3), offset + (height - 1) * stride, -stride, reverse=True)


def _tiff(path: Path, file: BinaryIO, start: bytes) -> Filed | None:
    """Bytes in strips that follow each other, grey or RGB; what is more than that is decoded."""
    from PIL import Image
    from PIL.TiffImagePlugin import TiffImageFile

    if start[:4] not in (b"II*\0", b"MM\0*"):
        return None
    check_tags(file, escaped(path))
    file.seek(0)
    with quiet(2**62):
        try:
            with Image.open(file, formats=("TIFF",)) as image:
                turned = image.getexif().get(0x0112, 1) != 1
                tags = dict(image.tag_v2) if isinstance(image, TiffImageFile) and not turned else {}
            return _strips(path, tags)
        except Exception:  # whatever is wrong with it, the decoder says so
            return None


def _strips(path: Path, tags: Mapping[int, Any]) -> Filed | None:
    """The rows that a TIFF's tags describe; None where they are not as `_tiff` says."""
    samples, bits, offsets, counts = tags.get(SAMPLES, 1), tags[BITS], tags[OFFSETS], tags[COUNTS]
    plain = tags[COMPRESSION] == UNCOMPRESSED and tags.get(PLANES, 1) == 1 and set(bits) == {8}
    if not plain or (tags[PHOTOMETRIC], samples) not in {(0, 1), (1, 1), (2, 3)} or not 0 < len(offsets) < STRIPS:
        return None
    width, height = tags[WIDTH], tags[HEIGHT]
    full = tags.get(PER_STRIP, height) * width * samples
    after = [offset + count for offset, count in zip(offsets, counts, strict=True)]
    if list(offsets[1:]) != after[:-1] or any(count != full for count in counts[:-1]) or min(width, height) < 1:
        return None
    return Filed(path, (height, width, samples), offsets[0], width * samples, inverted=tags[PHOTOMETRIC] == 0)
