"""The fields of a protobuf message as they lie in a file, told apart without parsing what is in them.

A parser makes objects of what takes two bytes in a file, so what a stranger sends is counted first.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ModelFileError


def fields(message: memoryview, most: int) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message by number: those that have a length, as they lie there; others as nothing.

    Raises ModelFileError where there are more than `most`, or where it is no message.
    """
    at, count = 0, 0
    while at < len(message):
        count += 1
        if count > most:
            raise ModelFileError(f"there are more than {most:,} parts in this file, and its network has fewer")
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                _, at = _varint(message, at)
                yield key >> 3, message[:0]
            case 1 | 5 as kind:
                at += 8 if kind == 1 else 4
                yield key >> 3, message[:0]
            case 2:
                length, at = _varint(message, at)
                yield key >> 3, message[at : at + length]
                at += length
            case _:
                raise ModelFileError("this is no ONNX file")
    if at > len(message):
        raise ModelFileError("this file is cut off, or no ONNX file")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A whole number, and where the next thing begins."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ModelFileError("this file is cut off, or no ONNX file")
