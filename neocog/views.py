"""Test-time augmentation: an image is looked at several times, and the network's outputs are averaged.

| written   | the views                                                                                          |
|-----------|----------------------------------------------------------------------------------------------------|
| `flip`    | the image and its mirror, left and right exchanged, half each                                        |
| `shift=1` | the image, half; moved by 1 pixel up and left, a quarter; by 1 pixel down and right, a quarter     |

Both together are six views. Moves are those of `feed.py`, behind whose edges the edge goes on.

Sources: Krizhevsky et al., 2012, section 4.1 (mirrored crops, averaged); Jordan, arXiv 2404.00498 (these six).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import NeocogError
from .feed import ONE, Images, Moves, Pixels, moved

NONE = "none"
FARTHEST = 64

Answers = Callable[[Pixels, Moves | None], NDArray[np.float32]]
"""A network's outputs (N, K) for images, each by its own move (N, 6) if there are any."""


@dataclass(frozen=True)
class Views:
    """How an image is looked at; as it is and no more unless something is asked for."""

    flip: bool = False
    shift: int = 0

    @classmethod
    def parse(cls, text: str) -> Views:
        """What a text such as `flip, shift=1` asks for; `none` is nothing. Raises NeocogError for another text."""
        flip, shift = False, 0
        for part in [] if text.strip() == NONE else text.split(","):
            asked = re.fullmatch(r"shift *= *([0-9]{1,2})", part.strip(), re.ASCII)
            if asked and not shift and 1 <= int(asked[1]) <= FARTHEST:
                shift = int(asked[1])
            elif part.strip() == "flip" and not flip:
                flip = True
            else:
                raise NeocogError(
                    f"tta is {NONE}, or of flip and shift=..., 1 to {FARTHEST} pixels, each once",
                    received=f"tta={text[:40]!r}",
                    hint="flip, shift=1",
                )
        return cls(flip, shift)

    def scores(self, pixels: Pixels, answers: Answers) -> NDArray[np.float32]:
        """The outputs (N, K) for images, averaged over their views."""
        count, _, width, _ = pixels.images.shape
        seen = [
            np.float32(share) * answers(pixels, _moves(count, width, mirrored, shift))
            for share, mirrored, shift in self._all()
        ]
        return np.sum(seen, axis=0, dtype=np.float32) if len(seen) > 1 else seen[0]

    def seen(self, images: Images) -> list[tuple[float, Images]]:
        """Every view of images (N, H, W, C): its share, and the images as it shows them."""
        count, _, width, _ = images.shape
        moves = [(share, _moves(count, width, mirrored, shift)) for share, mirrored, shift in self._all()]
        return [(share, images if one is None else moved(images, one)) for share, one in moves]

    def _all(self) -> list[tuple[float, bool, int]]:
        """Every view: its share, whether it is mirrored, and by how much it is moved down and right."""
        shifts = [(0.5, 0), (0.25, -self.shift), (0.25, self.shift)] if self.shift else [(1.0, 0)]
        mirrors = [(0.5, False), (0.5, True)] if self.flip else [(1.0, False)]
        return [(a * b, mirrored, shift) for a, shift in shifts for b, mirrored in mirrors]


ONE_VIEW = Views()


def _moves(count: int, width: int, mirrored: bool, shift: int) -> Moves | None:
    """The move of so many images that are mirrored, then moved down and right; None where they stay as they are."""
    if not mirrored and not shift:
        return None
    columns = [(width - 1 + shift) * ONE, 0, -ONE] if mirrored else [-shift * ONE, 0, ONE]
    return np.tile(np.array([-shift * ONE, ONE, 0, *columns], np.int32), (count, 1))
