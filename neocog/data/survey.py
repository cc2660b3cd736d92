"""Every file of a data set opened once: what can be known of its image, in a few hundred bytes."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from .decode import FORMATS, TURNED, decode_noted
from .likeness import Thumbnail, difference_hash, thumbnail

MODES = {"L": "grey", "LA": "grey", "1": "1-bit", "P": "palette", "CMYK": "CMYK", "F": "floating-point", "I": "16-bit"}
"""Of Pillow's names for kinds of pixels those that are no plain colour."""


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


def survey(paths: Iterable[Path]) -> Iterator[Sight]:
    """A sight of each file, in order; as many are opened at once as there are processors."""
    with ThreadPoolExecutor(workers()) as pool:
        yield from pool.map(look, paths)


def workers() -> int:
    """How many files are opened at once."""
    return os.cpu_count() or 1


def look(path: Path) -> Sight:
    """What one file shows."""
    started = perf_counter()
    try:
        pixels, notes = decode_noted(path)
    except DataError as error:
        return Sight("; ".join(filter(None, (error.rule, error.received))))
    seconds = perf_counter() - started
    kinds = [*_header(path), *(["turned by EXIF"] if TURNED in notes else [])]
    if pixels.shape[2] == 1 and "grey" not in kinds:
        kinds.append("grey")
    values = pixels.reshape(-1, pixels.shape[2]).astype(np.float64) / 255
    moments = np.stack([np.full(values.shape[1], len(values)), values.sum(axis=0), (values**2).sum(axis=0)], axis=1)
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).digest()
    height, width = pixels.shape[:2]
    return Sight(
        "", (height, width), tuple(kinds), digest, difference_hash(pixels), thumbnail(pixels), moments, seconds
    )


def _header(path: Path) -> list[str]:
    """What the header says of a file's pixels, which decoding has made bytes of."""
    with suppress(Exception), warnings.catch_warnings():  # it could be decoded: what is odd here is said elsewhere
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            kind = "16-bit" if image.mode.startswith("I;16") else MODES.get(image.mode, "")
            see_through = "A" in image.getbands() or "transparency" in image.info
            return [*([kind] if kind else []), *(["transparent"] if see_through else [])]
    return []
