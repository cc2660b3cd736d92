"""A course's mini-batches as tensors, moved and scaled on the device that trains: `neocog/feed.py` has the formulas.

Bytes travel to a GPU once and stay there, a quarter of what floats would need; each step then takes its rows. Moves
are the same arithmetic of whole numbers as in NumPy, and numbers have the same bits: products and sums are rounded one
by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..feed import EXTENDED, MEAN, ONE, REFLECTED, Course, Images, Moves, Pixels

STAYING = 4
"""Images stay on a GPU where they fill at most this part of its free memory; else the rows of a course travel."""


class Feed:
    """What one device is fed. It keeps the images of the last course there, for the next."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._source: Images | None = None
        self._there: Tensor | None = None

    def batches(self, course: Course) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Every step's x (N, C, H, W) with channels last in memory, labels (N,), and learning rate."""
        if course.touches is not None or course.mix is not None:
            for x, own, rate in course.batches():
                yield self._tensor(x), self._tensor(own), rate
            return
        images, rows = self._placed(course.pixels.images, course.rows)
        mean = self._tensor(course.pixels.mean)
        scale, shift = self._scaling(course.pixels)
        labels = self._tensor(course.labels)
        moves = None if course.moves is None else self._tensor(course.moves)
        whole = course.moves is not None and not (course.moves & (ONE - 1)).any()
        begin = 0
        for size, rate in zip(course.sizes.tolist(), course.rates.tolist(), strict=True):
            part = slice(begin, begin + size)
            if moves is None:
                found = images[rows[part]]
            else:
                found = moved(images, rows[part], moves[part], whole=whole, edge=course.edge, mean=mean)
            yield numbers(found, scale, shift), labels[part], rate
            begin += size

    def numbers(self, pixels: Pixels, moves: Moves | None = None) -> Tensor:
        """All images as x (N, C, H, W), each by its own move (N, 6) if there are any."""
        images, rows = self._placed(pixels.images, np.arange(len(pixels.images)))
        if moves is not None:
            whole = not (moves & (ONE - 1)).any()
            images = moved(images, rows, self._tensor(moves), whole=whole)
        return numbers(images, *self._scaling(pixels))

    def _placed(self, images: Images, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Images on the device, and which of them the rows are there."""
        if self.device.type == "cpu":
            return _shared(images), self._tensor(rows)
        if images is not self._source:
            self._source = self._there = None
            if STAYING * images.nbytes > torch.cuda.mem_get_info(self.device)[0]:
                return _shared(images[rows]).to(self.device), torch.arange(len(rows), device=self.device)
            self._source, self._there = images, _shared(images).to(self.device)
        assert self._there is not None  # noqa: S101
        return self._there, self._tensor(rows)

    def _scaling(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        return self._tensor(pixels.scale), self._tensor(pixels.shift)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def moved(
    images: Tensor, rows: Tensor, moves: Tensor, *, whole: bool, edge: str = EXTENDED, mean: Tensor | int = 0
) -> Tensor:
    """Rows (n,) of images (N, H, W, C), each by its own move (n, 6): (n, H, W, C).

    `whole` says that all moves are by whole pixels, where nothing lies between two pixels and one is read instead of
    four.
    """
    height, width = images.shape[1:3]
    i = torch.arange(height, dtype=torch.int32, device=images.device)[:, None]
    j = torch.arange(width, dtype=torch.int32, device=images.device)
    m = moves[:, :, None, None]
    places = [m[:, k] + m[:, k + 1] * i + m[:, k + 2] * j for k in (0, 3)]
    s, t = (_kept(at, size, edge) for at, size in zip(places, (height, width), strict=True))
    found = _shown(images, rows, s, t, whole=whole)
    if edge == MEAN:
        outside = [
            (at < -ONE // 2) | (at > (n - 1) * ONE + ONE // 2) for at, n in zip(places, (height, width), strict=True)
        ]
        found = torch.where((outside[0] | outside[1])[..., None], mean, found)
    return found


def _kept(at: Tensor, size: int, edge: str) -> Tensor:
    """Places on an axis as places inside the image."""
    last = (size - 1) * ONE
    if edge == REFLECTED:
        at = last - (last - at.abs()).abs()
    return at.clamp(0, last)


def _shown(images: Tensor, rows: Tensor, s: Tensor, t: Tensor, *, whole: bool) -> Tensor:
    """What stands at places (s, t), both (n, H, W), of the images of some rows."""
    height, width = images.shape[1:3]
    pixels = images.view(-1, images.shape[3])
    first = (rows * (height * width))[:, None, None]
    top, left = s >> 16, t >> 16
    if whole:
        return pixels[first + top * width + left]
    bottom, right = (top + 1).clamp_(max=height - 1), (left + 1).clamp_(max=width - 1)
    f, g = (t >> 8 & 255)[..., None], (s >> 8 & 255)[..., None]

    def between(row: Tensor) -> Tensor:
        a, b = (pixels[first + row * width + k].int() for k in (left, right))
        return a * 256 + (b - a) * f

    upper = between(top)
    return ((upper * 256 + (between(bottom) - upper) * g + ONE // 2) >> 16).byte()


def numbers(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Bytes (N, H, W, C) as x (N, C, H, W), whose memory keeps the order of the bytes."""
    return images.float().mul_(scale).add_(shift).permute(0, 3, 1, 2)


def _shared(images: Images) -> Tensor:
    """The same memory as a tensor, which is only read here: of arrays that must not be written torch would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(images)
