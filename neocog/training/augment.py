"""Changing training images a little, each time they are seen, so that the network does not learn them by heart.

What happens to an image is drawn from (seed, epoch, image number) alone: it is the same for any batch size, any
order and any number of processes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shifted(images: NDArray[np.uint8], keys: NDArray[np.uint64], farthest: int) -> NDArray[np.uint8]:
    """Each image (N, H, W, C) moved by -farthest to farthest pixels on each axis, by its random key (N,).

    The pixels at the edge are repeated behind it, so digits on an even ground keep it.
    """
    if not farthest:
        return images
    choices = np.uint64(2 * farthest + 1)
    down = (keys % choices).astype(np.int64) - farthest
    right = (keys // choices % choices).astype(np.int64) - farthest
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) - right[:, None], 0, width - 1)
    moved: NDArray[np.uint8] = images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved
