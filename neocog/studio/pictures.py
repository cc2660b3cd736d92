"""Arrays on their way to the page: bytes that stand for values between a lowest and a highest, map by map."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset

MOST_MAPS, MOST_SIDE = 32, 64
"""Of a volume that is shown: as many channels at once, each thinned out to so many pixels along a side."""
LARGEST = 1e300
"""What stands for infinity on a scale."""
SAMPLES = 12
"""Test images that are shown at once."""


def maps(values: NDArray[Any], first: int = 0, most: int = MOST_MAPS) -> dict[str, Any]:
    """Maps (n, h, w) from number `first` on, each on a scale of its own that stands beside it.

    A byte b stands for low + b/255 (high - low).
    """
    chosen = thinned(np.asarray(values, np.float64)[first : first + most])
    shown = np.nan_to_num(chosen, posinf=LARGEST, neginf=-LARGEST)
    lows, highs = shown.min(axis=(1, 2)), shown.max(axis=(1, 2))
    spread = np.where(highs > lows, highs - lows, 1.0)[:, None, None]
    scaled = np.rint(255 * (shown - lows[:, None, None]) / spread).astype(np.uint8)
    return {
        "shape": list(shown.shape),
        "first": first,
        "total": len(values),
        "low": short(lows),
        "high": short(highs),
        "data": b64encode(scaled.tobytes()).decode("ascii"),
    }


def image(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """An image (H, W, 1 or 3) as it is."""
    height, width, channels = pixels.shape
    return {"shape": [height, width, channels], "data": b64encode(pixels.tobytes()).decode("ascii")}


def samples(test: Dataset, first: int) -> dict[str, Any]:
    """A dozen test images with their labels, from number `first` on."""
    chosen = [(first + k) % len(test) for k in range(min(SAMPLES, len(test)))]
    images = [
        {"number": k, "label": test.classes[int(test.labels[k])], "image": image(np.asarray(test.images[k]))}
        for k in chosen
    ]
    return {"total": len(test), "images": images}


def thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every k-th pixel along each side of maps (n, h, w), so that they are not too large to send."""
    steps = [-(-side // MOST_SIDE) for side in values.shape[1:]]
    return values[:, :: steps[0], :: steps[1]]


def flat(volume: NDArray[Any]) -> NDArray[Any]:
    """A volume (C, H, W) or (C, L) as maps: a vector as one row, a sequence's channels as rows of one pixel."""
    if all(n == 1 for n in volume.shape[1:]):
        return volume.reshape(1, 1, -1)
    return volume[:, None, :] if volume.ndim == 2 else volume


def short(values: NDArray[Any]) -> Any:
    """Numbers with nine digits, as lists."""
    return np.array([float(f"{v:.9g}") for v in np.ravel(values)]).reshape(np.shape(values)).tolist()
