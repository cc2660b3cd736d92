"""TensorBoard's event file, written directly: records of protocol buffers, each with two checksums.

    record = length (uint64) · crc(length) (uint32) · Event · crc(Event) (uint32)         little-endian
    Event  = 1: wall_time (double), 2: step (int64), 3: file_version (string), 5: Summary
    Summary = 1: Value, repeated;  Value = 1: tag (string), 2: simple_value (float)

`crc` is CRC-32C (Castagnoli), rotated and shifted by a constant, so that a file of records can be a record itself.
Sources: tensorflow/core/lib/io/record_writer.h, core/util/event.proto, core/framework/summary.proto. The format is
frozen, and this much is all that curves need: a dependency on tensorboard would bring a dozen more.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path

VERSION = b"brain.Event:2"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


def append_scalars(path: Path, step: int, scalars: Mapping[str, float]) -> None:
    """Add the scalars of one step; a new file begins with the format's version. Raises OSError.

    TensorBoard looks for files with `tfevents` in their names.
    """
    with path.open("ab") as file:
        if not file.tell():
            file.write(_record(_event(_field(3, BYTES, VERSION))))
        values = b"".join(_field(1, BYTES, _value(tag, number)) for tag, number in scalars.items())
        file.write(_record(_event(_field(2, VARINT, _varint(step)) + _field(5, BYTES, values))))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(crc32c(length))) + data + struct.pack("<I", _masked(crc32c(data)))


def _event(content: bytes) -> bytes:
    return _field(1, FIXED64, struct.pack("<d", time.time())) + content


def _value(tag: str, number: float) -> bytes:
    return _field(1, BYTES, tag.encode()) + _field(2, FIXED32, struct.pack("<f", number))


def _field(number: int, kind: int, content: bytes) -> bytes:
    key = _varint(number << 3 | kind)
    return key + (_varint(len(content)) + content if kind == BYTES else content)


def _varint(number: int) -> bytes:
    """Seven bits in a byte, lowest first; the eighth says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def crc32c(data: bytes) -> int:
    """CRC-32C: the remainder by the polynomial 0x1EDC6F41, bits reversed (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_remainder, range(256)))
