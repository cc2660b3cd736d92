"""Maps as colours that people with any colour vision can tell apart, and images with maps on them.

Magnitudes run from black over purple and orange to pale yellow, brightness growing evenly (the colours of matplotlib's
inferno); what has a sign is blue below 0, white at 0, red above (RdBu of ColorBrewer).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_DARK_TO_LIGHT = "000004 280b54 65156e 9f2a63 d44842 f57d15 fac127 fcffa4"
_BLUE_TO_RED = "053061 4393c3 d1e5f0 f7f7f7 fddbc7 d6604d 67001f"


def _ramp(colours: str) -> NDArray[np.float64]:
    return np.array([list(bytes.fromhex(colour)) for colour in colours.split()], np.float64)


SEQUENTIAL, DIVERGING = _ramp(_DARK_TO_LIGHT), _ramp(_BLUE_TO_RED)
WITHIN = 0.995
"""The share of a map's pixels whose magnitude the scale covers; the rest has the colour of its end."""
MOST_OPAQUE, DIMMED, SATURATED = 0.85, 0.75, 0.7

Pixels = NDArray[np.uint8]
Map = NDArray[Any]


def scale_of(values: Map) -> float:
    """What the end of the colours stands for."""
    magnitude = np.abs(values)
    return float(np.quantile(magnitude, WITHIN)) or float(magnitude.max()) or 1.0


def painted(values: Map, *, signed: bool, scale: float) -> Pixels:
    """Colours (H, W, 3) of values (H, W): -scale to scale, or 0 to scale."""
    at = np.clip(values / scale, -1 if signed else 0, 1)
    return _mixed(at / 2 + 0.5, DIVERGING) if signed else _mixed(at, SEQUENTIAL)


def _mixed(shares: Map, colours: NDArray[np.float64]) -> Pixels:
    at = shares * (len(colours) - 1)
    channels = [np.interp(at, np.arange(len(colours)), colours[:, c]) for c in range(3)]
    found: Pixels = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return found


def overlaid(image: Pixels, values: Map, *, signed: bool, scale: float) -> Pixels:
    """The image (H, W, C) in dimmed grey, and the map over it, the more opaque the larger.

    What has a sign is one red or one blue, since paler ones would be lost in the grey.
    """
    grey = DIMMED * image.astype(float).mean(axis=2, keepdims=True)
    opacity = MOST_OPAQUE * np.clip(np.abs(values) / scale, 0, 1)[..., None]
    if signed:
        values = SATURATED * scale * np.sign(values)
    mixed: Pixels = np.rint((1 - opacity) * grey + opacity * painted(values, signed=signed, scale=scale)).astype(
        np.uint8
    )
    return mixed


def in_colour(image: Pixels) -> Pixels:
    """An image (H, W, 1 or 3) as (H, W, 3)."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def around_grey(values: Map) -> Pixels:
    """Values (C, H, W) as an image (H, W, C): 0 is mid-grey."""
    shades: Pixels = np.rint(127.5 + 127.5 * np.clip(values / scale_of(values), -1, 1)).astype(np.uint8)
    return np.moveaxis(shades, 0, -1)
