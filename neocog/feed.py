r"""What training steps are fed: images as bytes, where their pixels come from, and how a byte becomes a number.

    x[n, c, i, j] = moved(image n)[i, j, c] * scale[c] + shift[c]

in single precision, product and sum each rounded. A move says, in units of 1/65536 of a pixel, which place (s, t) of an
image its pixel (i, j) is to show:

    s = m0 + m1 i + m2 j,   t = m3 + m4 i + m5 j,   each clipped to the image, so that its edge goes on behind it

Between pixels the four around are interpolated, by weights of 8 bits, and the result is a byte again:

    row_k = 256 a + f (b - a) for the two rows,   (256 row_0 + g (row_1 - row_0) + 32768) >> 16

with f and g the fractions of t and s in 256ths. So it is arithmetic of whole numbers, the same on every engine. Sides
are shorter than 8,192 pixels. In place of an edge that goes on, the image may be mirrored behind it, the edge itself
not repeated (s becomes |s|, and behind the last row H-1 it becomes 2 (H-1) - s); or there is the mean colour, wherever
(s, t) is more than half a pixel outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .changes import Mix, Touches

ONE = 1 << 16
"""A pixel, in the units of moves."""

Images = NDArray[np.uint8]
Moves = NDArray[np.int32]


EXTENDED, REFLECTED, MEAN = "extend", "reflect", "mean"
EDGES = (EXTENDED, REFLECTED, MEAN)
"""What stands behind the edge of an image: the edge goes on, the image is mirrored, or the mean colour is there."""


def moved(images: Images, moves: Moves, edge: str = EXTENDED, mean: Images | int = 0) -> Images:
    """Images (N, H, W, C), each by its own move (N, 6); `mean` (C,) is the mean colour, for that edge."""
    height, width = images.shape[1:3]
    i, j = np.arange(height, dtype=np.int32)[:, None], np.arange(width, dtype=np.int32)
    m = moves.astype(np.int32)[:, :, None, None]
    s, t = (m[:, k] + m[:, k + 1] * i + m[:, k + 2] * j for k in (0, 3))
    made = _shown(images, *(_kept(at, size, edge) for at, size in ((s, height), (t, width))))
    if edge == MEAN:
        made = np.where((_outside(s, height) | _outside(t, width))[..., None], mean, made)
    return made


def _kept(at: NDArray[np.int32], size: int, edge: str) -> NDArray[np.int32]:
    """Places on an axis as places inside the image."""
    last = (size - 1) * ONE
    if edge == REFLECTED:
        at = last - np.abs(last - np.abs(at))
    return np.clip(at, 0, last)


def _outside(at: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
    return (at < -ONE // 2) | (at > (size - 1) * ONE + ONE // 2)


def _shown(images: Images, s: NDArray[np.int32], t: NDArray[np.int32]) -> Images:
    """What stands at places (s, t) of images, both (N, H, W)."""
    height = images.shape[1]
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

    @property
    def mean(self) -> Images:
        """The bytes (C,) that come nearest to the number 0: the mean colour of the training images."""
        nearest: Images = np.clip(np.rint(-self.shift / self.scale), 0, 255).astype(np.uint8)
        return nearest

    def numbers(self, images: Images) -> NDArray[np.float32]:
        """Bytes (N, H, W, C) as x (N, C, H, W)."""
        table = np.arange(256, dtype=np.float32)[:, None] * self.scale + self.shift
        x = np.empty((len(images), images.shape[3], *images.shape[1:3]), np.float32)
        for c in range(images.shape[3]):  # a byte is always in the table; "wrap" spares numpy the copy that asks
            np.take(table[:, c], images[..., c], out=x[:, c], mode="wrap")
        return x


class Shares(NamedTuple):
    """How much each image's label counts, `own` (N,); another label of it, `others` (N,), and how much that does."""

    own: NDArray[np.float32]
    others: NDArray[np.int64]
    theirs: NDArray[np.float32]

    def part(self, chosen: slice) -> Shares:
        """Those of some images."""
        return Shares(self.own[chosen], self.others[chosen], self.theirs[chosen])


@dataclass(frozen=True, eq=False)
class Course:
    """Training steps one after the other: mini-batches of the given `sizes` (S,), and a learning rate for each (S,).

    `rows` say which of the images they consist of, in order; there are as many `labels`, and `moves` (·, 6) unless
    images are taken as they are. `class_weights` (K,) say how much an image of each class counts, None for all alike.
    `edge` is what moves find behind an image's edge; `touches` and `mix` say what else happens to images, if anything.
    Raises ValueError where these do not belong together.
    """

    pixels: Pixels
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    moves: Moves | None
    sizes: NDArray[np.int64]
    rates: NDArray[np.float64]
    class_weights: NDArray[np.float32] | None = None
    edge: str = EXTENDED
    touches: Touches | None = None
    mix: Mix | None = None

    def __post_init__(self) -> None:
        total, images = int(self.sizes.sum()), self.pixels.images
        counts = [len(self.rows), len(self.labels), total if self.moves is None else len(self.moves)]
        if set(counts) != {total} or len(self.rates) != len(self.sizes) or self.sizes.min() < 1:
            raise ValueError(f"mini-batches of {total} images, {counts} rows, labels and moves")
        if images.dtype != np.uint8 or self.rows.min() < 0 or self.rows.max() >= len(images):
            raise ValueError(f"rows {self.rows.min()} to {self.rows.max()} of {len(images)} images, {images.dtype}")

    def batch(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """What a step learns from, as numbers: x (N, C, H, W) and labels (N,)."""
        part = self._part(step)
        moves = None if self.moves is None else self.moves[part]
        touches = None if self.touches is None else self.touches.part(part)
        x = self._numbers(self.rows[part], moves, touches)
        if self.mix is not None:
            mix = self.mix.part(part)
            x = mix.on(x, self._numbers(mix.rows, mix.moves, mix.touches))
        return x, self.labels[part]

    def _numbers(self, rows: NDArray[np.int64], moves: Moves | None, touches: Touches | None) -> NDArray[np.float32]:
        """Images with all that happens to each of them."""
        images, mean = self.pixels.images[rows], self.pixels.mean
        if moves is not None:
            images = moved(images, moves, self.edge, mean)
        if touches is not None:
            images = touches.on(images, mean)
        return self.pixels.numbers(images)

    @property
    def plain(self) -> bool:
        """Whether images are moved over extended edges at most, and labels all count alike."""
        return self.edge == EXTENDED and all(one is None for one in (self.touches, self.mix, self.class_weights))

    def shares(self, step: int) -> Shares | None:
        """How much the labels of a step count; None where each image has one, and all count alike."""
        if self.class_weights is None and self.mix is None:
            return None
        part = self._part(step)
        labels, others = self.labels[part], (self.labels if self.mix is None else self.mix.labels)[part]
        own = np.ones(len(labels), np.float32)
        if self.mix is not None:
            own = self.mix.part(part).own(self.pixels.images.shape[1:3])
        theirs = 1 - own
        if self.class_weights is not None:
            own, theirs = own * self.class_weights[labels], theirs * self.class_weights[others]
        return Shares(own, others, theirs)

    def _part(self, step: int) -> slice:
        """Where a step's images are among those of the course."""
        end = int(self.sizes[: step + 1].sum())
        return slice(end - int(self.sizes[step]), end)

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
