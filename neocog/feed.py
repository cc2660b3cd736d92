r"""What training steps are fed: images as bytes, where their pixels come from, and how a byte becomes a number.

    x[n, c, i, j] = moved(image n)[i, j, c] * scale[c] + shift[c]

in single precision, product and sum each rounded. A move says, in units of 1/65536 of a pixel, which place (s, t) of an
image its pixel (i, j) is to show:

    s = m0 + m1 i + m2 j,   t = m3 + m4 i + m5 j,   each clipped to the image, so that its edge goes on behind it

Between pixels the four around are interpolated, by weights of 8 bits, and the result is a byte again:

    row_k = 256 a + f (b - a) for the two rows,   (256 row_0 + g (row_1 - row_0) + 32768) >> 16

with f and g the fractions of t and s in 256ths. So it is arithmetic of whole numbers, the same on every engine. Sides
are shorter than 8,192 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 16
"""A pixel, in the units of moves."""

Images = NDArray[np.uint8]
Moves = NDArray[np.int32]


def moved(images: Images, moves: Moves) -> Images:
    """Images (N, H, W, C), each by its own move (N, 6)."""
    height, width = images.shape[1:3]
    i, j = np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)
    m = moves.astype(np.int32)[:, :, None, None]
    s = np.clip(m[:, 0] + m[:, 1] * i + m[:, 2] * j, 0, (height - 1) * ONE)
    t = np.clip(m[:, 3] + m[:, 4] * i + m[:, 5] * j, 0, (width - 1) * ONE)
    rows = [_between(images, row, t) for row in (s >> 16, np.minimum((s >> 16) + 1, height - 1))]
    g = (s >> 8 & 255)[..., None]
    made: Images = ((rows[0] * 256 + (rows[1] - rows[0]) * g + ONE // 2) >> 16).astype(np.uint8)
    return made


def _between(images: Images, row: NDArray[np.int32], t: NDArray[np.int32]) -> NDArray[np.int32]:
    """256 times what stands in a row between the pixels left and right of t: (N, H, W, C)."""
    n, left = np.arange(len(images))[:, None, None], t >> 16
    a, b = (images[n, row, k].astype(np.int32) for k in (left, np.minimum(left + 1, images.shape[2] - 1)))
    between: NDArray[np.int32] = a * 256 + (b - a) * (t >> 8 & 255)[..., None]
    return between


class Pixels(NamedTuple):
    """Images (N, H, W, C) of a network's input size, and for each channel what its bytes are scaled and shifted by."""

    images: Images
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]

    def numbers(self, images: Images) -> NDArray[np.float32]:
        """Bytes (N, H, W, C) as x (N, C, H, W)."""
        table = np.arange(256, dtype=np.float32)[:, None] * self.scale + self.shift
        x = np.empty((len(images), images.shape[3], *images.shape[1:3]), np.float32)
        for c in range(images.shape[3]):  # a byte is always in the table; "wrap" spares numpy the copy that asks
            np.take(table[:, c], images[..., c], out=x[:, c], mode="wrap")
        return x


@dataclass(frozen=True, eq=False)
class Course:
    """Training steps one after the other: mini-batches of the given `sizes` (S,), and a learning rate for each (S,).

    `rows` say which of the images they consist of, in order; there are as many `labels`, and `moves` (·, 6) unless
    images are taken as they are. Raises ValueError where these do not belong together.
    """

    pixels: Pixels
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    moves: Moves | None
    sizes: NDArray[np.int64]
    rates: NDArray[np.float64]

    def __post_init__(self) -> None:
        total, images = int(self.sizes.sum()), self.pixels.images
        counts = [len(self.rows), len(self.labels), total if self.moves is None else len(self.moves)]
        if set(counts) != {total} or len(self.rates) != len(self.sizes) or self.sizes.min() < 1:
            raise ValueError(f"mini-batches of {total} images, {counts} rows, labels and moves")
        if images.dtype != np.uint8 or self.rows.min() < 0 or self.rows.max() >= len(images):
            raise ValueError(f"rows {self.rows.min()} to {self.rows.max()} of {len(images)} images, {images.dtype}")

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What a step learns from, as numbers: x (N, C, H, W) and labels (N,)."""
        end = int(self.sizes[: step + 1].sum())
        part = slice(end - int(self.sizes[step]), end)
        images = self.pixels.images[self.rows[part]]
        if self.moves is not None:
            images = moved(images, self.moves[part])
        return self.pixels.numbers(images), self.labels[part]

    def batches(self) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64], float]]:
        """Every step's x, labels and learning rate."""
        for step, rate in enumerate(self.rates):
            yield *self.batch(step), float(rate)


class Taken(NamedTuple):
    """What came of the steps that were made: each one's mean loss, and how many images it got right.

    Where the last loss is not finite, it ended the course, and its step changed no weight.
    """

    losses: NDArray[np.float64]
    right: NDArray[np.int64]
