"""Small pictures inside the page: PNG as data URIs, shown enlarged with their pixels visible."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray


def picture(pixels: NDArray[np.uint8], alt: str) -> str:
    """An `<img>` of pixels (H, W, 1) or (H, W, 3)."""
    from PIL import Image

    shown = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :3]
    out = BytesIO()
    Image.fromarray(np.ascontiguousarray(shown)).save(out, "PNG", optimize=True)
    data = b64encode(out.getvalue()).decode("ascii")
    return f'<img class="pixels" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def filter_pixels(weight: NDArray[Any]) -> NDArray[np.uint8]:
    """Filters (K, C, F, F) as pictures (K, F, F, C) on one scale: 0 is mid-grey, the largest is black or white."""
    largest = float(np.abs(weight).max()) or 1.0
    scaled = np.rint(127.5 + 127.5 * weight / largest)
    return np.moveaxis(scaled.astype(np.uint8), 1, -1)
