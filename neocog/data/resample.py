"""Images at another size: averaged over areas where they shrink, interpolated linearly where they grow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]


Part = slice
"""Places along an axis, from and to: of an image, or of what is made of it."""


def resized(images: NDArray[Any], size: tuple[int, int]) -> Grey:
    """Images (..., h, w, C) as (..., H, W, C) in float32; each output pixel is a weighted mean of input pixels."""
    result: NDArray[Any] = images
    for axis, length in ((-3, size[0]), (-2, size[1])):
        if result.shape[axis] != length:
            result = _along(result, axis, length)
    return np.ascontiguousarray(result, np.float32)


def resized_part(
    read: Callable[[Part, Part], NDArray[Any]], old: tuple[int, int], new: tuple[int, int], part: tuple[Part, Part]
) -> Grey:
    """A part (rows, columns) of what `resized` makes of an image of size `old` at size `new`, to rounding.

    A pixel has the same bits in whichever part it lies.

    Only those pixels are read, as `read(rows, columns)` (h, w, C), that the part covers.
    """
    scales = [_Scale(*sizes) for sizes in zip(old, new, strict=True)]
    covered = [scale.covered(wanted) for scale, wanted in zip(scales, part, strict=True)]
    result = read(covered[0], covered[1])
    for axis, scale, wanted, there in zip((-3, -2), scales, part, covered, strict=True):
        if scale.old != scale.new:
            result = _part_along(result, axis, scale, wanted, there.start)
    return np.ascontiguousarray(result, np.float32)


class _Scale(NamedTuple):
    """An axis of `old` pixels that becomes one of `new`."""

    old: int
    new: int

    def covered(self, wanted: Part) -> Part:
        """The old pixels of which new ones are made."""
        if self.old == self.new:
            return wanted
        step = self.old / self.new
        if self.new < self.old:
            return slice(max(0, math.floor(wanted.start * step) - 1), min(self.old, math.ceil(wanted.stop * step) + 1))
        low, high = (wanted.start + 0.5) * step - 0.5, (wanted.stop - 0.5) * step - 0.5
        return slice(max(0, math.floor(low) - 1), min(self.old, math.ceil(high) + 2))

    def weights(self, wanted: Part) -> tuple[NDArray[np.int64], Grey]:
        """For each new pixel k the old one `first[k]` from which on others have a part in it, and the parts (k, old).

        Rows sum to 1.
        """
        step, k = self.old / self.new, np.arange(wanted.start, wanted.stop)
        if self.new < self.old:  # the length that each old pixel [i, i+1) shares with the new one [k step, (k+1) step)
            starts = (step * k)[:, None]
            first, width = np.floor(starts[:, 0]).astype(np.int64) - 1, math.ceil(step) + 3
            pixels = first[:, None] + np.arange(width)
            shared = np.minimum(starts + step, pixels + 1) - np.maximum(starts, pixels)
            parts = np.clip(shared, 0, None) / step
        else:
            centres = np.clip((k + 0.5) * step - 0.5, 0, self.old - 1)
            first = np.floor(centres).astype(np.int64) - 1
            pixels = first[:, None] + np.arange(4)
            parts = np.clip(1 - np.abs(centres[:, None] - pixels), 0, None)
        parts[(pixels < 0) | (pixels >= self.old)] = 0
        return first, np.asarray(parts, np.float32)


def _along(images: NDArray[Any], axis: int, length: int) -> Grey:
    """One axis at another length. Each place reads the few that it covers, so a large photo is never copied whole."""
    old = np.moveaxis(images, axis, 0)
    new = np.empty((length, *old.shape[1:]), np.float32)
    for row, weights in zip(new, shares(len(old), length), strict=True):
        covered = slice((used := np.flatnonzero(weights))[0], used[-1] + 1)
        row[...] = np.tensordot(weights[covered], old[covered].astype(np.float32), 1)
    return np.moveaxis(new, 0, axis)


def shares(old: int, new: int) -> Grey:
    """Along an axis, which part (new, old) each old pixel has in each new one; rows sum to 1."""
    first, parts = _Scale(old, new).weights(slice(0, new))
    places = first[:, None] + np.arange(parts.shape[1])
    inside = (places >= 0) & (places < old)
    table = np.zeros((new, old), np.float32)
    table[np.nonzero(inside)[0], places[inside]] = parts[inside]
    return table


def _part_along(images: NDArray[Any], axis: int, scale: _Scale, wanted: Part, begin: int) -> Grey:
    """The same for new places `wanted`, of which the old ones are there from `begin` on.

    Products are added one after another: in which order a library does it depends on how many stand beside each other.
    """
    old = np.moveaxis(images, axis, 0)
    new = np.zeros((wanted.stop - wanted.start, *old.shape[1:]), np.float32)
    for row, first, parts in zip(new, *scale.weights(wanted), strict=True):
        for k in np.flatnonzero(parts):
            row += parts[k] * old[first + k - begin].astype(np.float32)
    return np.moveaxis(new, 0, axis)
