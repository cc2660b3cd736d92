"""Every image of a data set looked at once: what can be known of it, in a few hundred bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, escaped
from .decode import LAID, TURNED, Decoded
from .likeness import Thumbnail, difference_hash, thumbnail
from .reading import THREADS, in_turn

KINDS = {TURNED: "turned by EXIF", LAID: "transparent"}
"""What is said of a file whose decoding is noted so."""


class Sight(NamedTuple):
    """What a file shows: why it cannot be decoded, or its size (H, W), kinds, and what others are compared with.

    `kinds` are words as grey, transparent, 16-bit, turned; `digest` is a hash of the decoded pixels; `moments` are
    their number, sum and sum of squares, (C, 3); `seconds` is how long decoding took.
    """

    trouble: str
    size: tuple[int, int] = (0, 0)
    kinds: tuple[str, ...] = ()
    digest: bytes = b""
    hashed: NDArray[np.uint16] | None = None
    small: Thumbnail | None = None
    moments: NDArray[np.float64] | None = None
    seconds: float = 0.0


def survey(paths: Sequence[Path], read: Callable[[Path], Decoded], threads: int = THREADS) -> Iterator[Sight]:
    """A sight of each image, in order, that `read` finds by a path. Raises RunError where one never comes to an end."""
    return in_turn(lambda path: look(path, read), paths, threads, escaped)


def look(path: Path, read: Callable[[Path], Decoded]) -> Sight:
    """What one image shows."""
    started = perf_counter()
    try:
        pixels, notes, kind = read(path)
    except DataError as error:
        return Sight("; ".join(filter(None, (error.rule, error.received))))
    seconds = perf_counter() - started
    grey = "grey" if pixels.shape[2] == 1 else ""
    kinds = dict.fromkeys(filter(None, (kind, *(KINDS.get(note, "") for note in notes), grey)))
    values = pixels.reshape(-1, pixels.shape[2]).astype(np.float64) / 255
    moments = np.stack([np.full(values.shape[1], len(values)), values.sum(axis=0), (values**2).sum(axis=0)], axis=1)
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    height, width = pixels.shape[:2]
    return Sight(
        "", (height, width), tuple(kinds), digest, difference_hash(pixels), thumbnail(pixels), moments, seconds
    )
