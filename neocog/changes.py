r"""What happens to training images besides moves: colours, squares without anything, two images in one.

Bytes b of a channel whose mean over the training set is m, a byte too, become, by an image's gain g and light l,

    b' = ((b - m) g + 128 >> 8) + m + l,   clipped to 0 ... 255

so that g = 256, l = 0 changes nothing. A box has that mean in it. Both are arithmetic of whole numbers. Then, as
numbers, an image a and another one b are mixed: inside a box it is s a + (1 - s) b, outside it is a. The label of a
counts by

    1 - (1 - s) |box| / (H W),   and that of b by the rest.

So a box of all the image with s = lambda is mixup, a smaller one with s = 0 is CutMix.

Sources: DeVries and Taylor, arXiv 1708.04552 (cutout: a square, whose centre is drawn, of the mean colour); Zhang et
al., arXiv 1710.09412 (mixup); Yun et al., arXiv 1905.04899 (CutMix).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Boxes = NDArray[np.int32]
"""Top, left, and the row and the column behind them, (N, 4); one that ends where it begins is empty."""


class Touches(NamedTuple):
    """For each image its gain and light (N, 2), and the box to be erased (N, 4); None where nothing of the kind is."""

    colours: NDArray[np.int32] | None
    boxes: Boxes | None

    def part(self, chosen: slice | NDArray[np.int64]) -> Touches:
        """Those of some images."""
        return Touches(*(None if array is None else array[chosen] for array in self))

    def on(self, images: Images, mean: Images) -> Images:
        """Images (N, H, W, C) as they become, by the mean of each channel (C,)."""
        if self.colours is not None:
            gain, light = (self.colours[:, k, None, None, None] for k in (0, 1))
            around = images.astype(np.int32) - mean
            images = np.clip(((around * gain + 128) >> 8) + mean + light, 0, 255).astype(np.uint8)
        if self.boxes is not None:
            images = np.where(inside(self.boxes, images.shape[1:3])[..., None], mean, images)
        return images


def inside(boxes: Boxes, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels are in an image's box: (N, H, W)."""
    top, left, bottom, right = (boxes[:, k, None] for k in range(4))
    rows, columns = (np.arange(n) for n in size)
    down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    found: NDArray[np.bool_] = down[:, :, None] & across[:, None, :]
    return found


class Mix(NamedTuple):
    """The other images: their rows and labels (N,), and for each the box (N, 4) and the share s of the first in it."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: Boxes
    shares: NDArray[np.float32]
    moves: NDArray[np.int32] | None
    touches: Touches | None

    def part(self, chosen: slice | NDArray[np.int64]) -> Mix:
        """That of some images."""
        touches = None if self.touches is None else self.touches.part(chosen)
        moves = None if self.moves is None else self.moves[chosen]
        rows, labels, boxes, shares = self.rows, self.labels, self.boxes, self.shares
        return Mix(rows[chosen], labels[chosen], boxes[chosen], shares[chosen], moves, touches)

    def on(self, x: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (N, C, H, W) with the others in them."""
        taken = inside(self.boxes, x.shape[2:]) * (1 - self.shares)[:, None, None]
        mixed: NDArray[np.float32] = x + taken[:, None] * (other - x)
        return mixed

    def own(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """How much the first image's label counts (N,), for images of a size (H, W)."""
        top, left, bottom, right = self.boxes.T
        area = (bottom - top) * (right - left) / (size[0] * size[1])
        return np.asarray(1 - (1 - self.shares) * area, np.float32)
