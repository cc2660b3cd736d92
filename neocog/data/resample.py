"""Images at another size: averaged over areas where they shrink, interpolated linearly where they grow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]


def resized(images: NDArray[Any], size: tuple[int, int]) -> Grey:
    """Images (..., h, w, C) as (..., H, W, C) in float32; each output pixel is a weighted mean of input pixels."""
    result = images.astype(np.float32, copy=False)
    for axis, length in ((-3, size[0]), (-2, size[1])):
        if result.shape[axis] != length:
            summed = np.tensordot(_weights(result.shape[axis], length), result, axes=(1, axis))
            result = np.moveaxis(summed, 0, axis)
    return np.ascontiguousarray(result)


def _weights(old: int, new: int) -> Grey:
    """Which part (new, old) each old pixel has in each new one; rows sum to 1."""
    step = old / new
    if new < old:  # the length that each old pixel [k, k+1) shares with the new one [i step, (i+1) step)
        starts, pixels = step * np.arange(new)[:, None], np.arange(old)[None]
        shared = np.minimum(starts + step, pixels + 1) - np.maximum(starts, pixels)
        return np.asarray(np.clip(shared, 0, None) / step, np.float32)
    centres = np.clip((np.arange(new) + 0.5) * step - 0.5, 0, old - 1)
    distance = np.abs(centres[:, None] - np.arange(old)[None])
    return np.asarray(np.clip(1 - distance, 0, None), np.float32)
