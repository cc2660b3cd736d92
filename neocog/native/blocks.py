"""Which block of images holds which image, for the steps of a call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .program import Program


class Blocks:
    """Where the images of steps of such sizes lie: each step's in blocks of its own, the last of which may have room.

    For each step `counts` are its blocks and `starts` those before it, `groups` how many parts its blocks are in, and
    `borders` the addresses of where these begin. `places` is how many images there is room for.
    """

    def __init__(self, sizes: NDArray[np.int64], program: Program) -> None:
        lanes = program.machine.lanes
        self.sizes, self.counts, self.steps = sizes, -(-sizes // lanes), np.arange(len(sizes))
        self.scale = (1 / sizes).astype(np.float32)
        self.starts = np.cumsum(self.counts) - self.counts
        self.total, self.most = int(self.counts.sum()), int(self.counts.max())
        self.places = self.total * lanes
        before = self.starts * lanes - (np.cumsum(sizes) - sizes)
        self._to = np.arange(int(sizes.sum())) + np.repeat(before, sizes)
        counts = self.counts.tolist()
        self.groups = [program.groups(count) for count in counts]
        kinds = {(count, groups) for count, groups in zip(counts, self.groups, strict=True)}
        self._borders = {count: np.arange(groups + 1, dtype=np.int64) * count // groups for count, groups in kinds}
        self.borders = [self._borders[count].ctypes.data for count in counts]

    def spread(self, values: NDArray[Any], into: NDArray[Any]) -> NDArray[Any]:
        """What belongs to each image, at its place; returns `into`."""
        into[self._to] = values
        return into
