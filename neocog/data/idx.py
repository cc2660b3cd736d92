"""The IDX format of MNIST and Fashion-MNIST: big-endian header, then bytes; plain or gzip-compressed.

    2 bytes 0 · type (8 = unsigned byte) · number of axes · one 32-bit size for each axis · the values

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from importlib.resources.abc import Traversable
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

UNSIGNED_BYTE = 8
LARGEST = 2**31  # more bytes than any set in this format has
DEFLATE_RATIO = 1032  # zlib cannot pack more bytes into one than this, so a header that promises more is lying


def read_idx(path: Traversable, axes: int) -> NDArray[np.uint8]:
    """The array in an IDX file with that many axes. Raises DataError; sizes are checked before memory is taken."""
    try:
        with path.open("rb") as file:
            stored = file.seek(0, io.SEEK_END)
            file.seek(0)
            if path.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read(cast(BinaryIO, unpacked), str(path), axes, stored * DEFLATE_RATIO)
            return _read(cast(BinaryIO, file), str(path), axes, stored)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError("this file cannot be read", where=str(path), received=reason[:120]) from None


def _read(stream: BinaryIO, where: str, axes: int, most: int) -> NDArray[np.uint8]:
    """The array in a stream that cannot hold more than `most` bytes."""
    head = stream.read(4 + 4 * axes)
    if len(head) < 4 + 4 * axes or head[:4] != bytes((0, 0, UNSIGNED_BYTE, axes)):
        raise DataError(
            f"this is no IDX file of bytes with {axes} {'axis' if axes == 1 else 'axes'}",
            where=where,
            received=head[:4].hex(" ") or "no bytes",
            hint=f"a file whose first bytes are 00 00 08 {axes:02x}",
        )
    shape = struct.unpack(f">{axes}I", head[4:])
    size = math.prod(shape)
    if size > LARGEST:
        raise DataError(f"an IDX file holds at most {LARGEST:,} bytes", where=where, received="x".join(map(str, shape)))
    values = stream.read(size + 1) if size <= most else b""
    if len(values) != size:
        received = f"{'more' if len(values) > size else 'fewer'}; the file is damaged or cut off"
        raise DataError(f"the header promises {size:,} bytes", where=where, received=received)
    return np.frombuffer(values, np.uint8).reshape(shape)
