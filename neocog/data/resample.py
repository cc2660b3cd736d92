"""Images at another size: averaged over areas where they shrink, interpolated linearly where they grow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]


def resized(images: NDArray[Any], size: tuple[int, int]) -> Grey:
    """Images (..., h, w, C) as (..., H, W, C) in float32; each output pixel is a weighted mean of input pixels."""
    result: NDArray[Any] = images
    for axis, length in ((-3, size[0]), (-2, size[1])):
        if result.shape[axis] != length:
            result = _along(result, axis, length)
    return np.ascontiguousarray(result, np.float32)


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
    step = old / new
    if new < old:  # the length that each old pixel [k, k+1) shares with the new one [i step, (i+1) step)
        starts, pixels = step * np.arange(new)[:, None], np.arange(old)[None]
        shared = np.minimum(starts + step, pixels + 1) - np.maximum(starts, pixels)
        return np.asarray(np.clip(shared, 0, None) / step, np.float32)
    centres = np.clip((np.arange(new) + 0.5) * step - 0.5, 0, old - 1)
    distance = np.abs(centres[:, None] - np.arange(old)[None])
    return np.asarray(np.clip(1 - distance, 0, None), np.float32)
