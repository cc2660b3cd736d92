"""The weights of one image's kernels: packed in the order of reading when they have changed.

A normalization behind a weighted layer is multiplied into it, by the running statistics:

    scale = g / sqrt(v + eps),   w' = w scale,   b' = b scale + beta - m scale
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..layers.batchnorm import BatchNorm
from ..network import Node
from .one_image_sums import Sums
from .program import Region
from .stages import Pool, Single, Weighted

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
VECTORS = {"SUBSAMPLE": ("weight", "bias"), "PRELU": ("weight",)}
"""The parameters that a layer has for each channel, in the order of its step's words."""


class Weights:
    """Where packed weights lie, `size` numbers in all, and how they get there."""

    def __init__(self, regions: Sequence[Region], lanes: int) -> None:
        self.lanes, self.size = lanes, 0
        self._regions: dict[str, list[Region]] = {}
        for region in regions:
            self._regions.setdefault(region.name, []).append(region)
        self._packs: list[tuple[int, int, Callable[[Floats], Floats | Numbers]]] = []

    def pack(self, kept: Floats, packed: Floats) -> None:
        """From the memory where training keeps them."""
        for start, size, made in self._packs:
            packed[start : start + size] = made(kept)

    def products(self, stage: Weighted | Single, norm: Node | None, kernel: Sums, group: int) -> int:
        """Where the weights of a group's sums of products lie."""
        name = "weight" if isinstance(stage, Weighted) else "codes"
        region = self._regions[f"{stage.node.name}.{name}"][group]
        first = group * region.count

        def made(kept: Floats) -> Floats:
            rows: Floats | Numbers = _rows(kept, region)[:, : region.count]
            if norm:
                rows = rows * self._factors(norm, kept)[0][first : first + region.count]
            return kernel.pack(rows.reshape(kernel.work.channels_in, -1, region.count))

        return self._place(kernel.size, made)

    def windows(self, stage: Weighted | Pool, norm: Node | None, channels: int) -> int:
        """Where those of windows over each channel lie: a row of channels for each position of the window."""
        units = -(-channels // self.lanes) * self.lanes
        taps = stage.frame.kernel[0] * stage.frame.kernel[1]

        def made(kept: Floats) -> Numbers:
            rows = np.zeros((taps, units))
            if isinstance(stage, Pool):  # one filter for all
                (region,) = self._regions[f"{stage.node.name}.kernel"]
                rows[:] = _rows(kept, region)[:, : region.count].T.reshape(-1, 1)
            else:
                regions = self._regions[f"{stage.node.name}.weight"]
                rows[:, :channels] = np.stack([_rows(kept, region)[:, 0] for region in regions], axis=1)
                if norm:
                    rows[:, :channels] *= self._factors(norm, kept)[0]
            return rows.ravel()

        return self._place(taps * units, made)

    def bias(self, stage: Weighted, norm: Node | None) -> int:
        """Where a weighted layer's bias lies."""

        def made(kept: Floats) -> Numbers:
            bias = self._vector(stage.node, "bias", kept) if stage.bias else np.zeros(stage.sums.channels)
            if norm:
                scale, shift = self._factors(norm, kept)
                bias = bias * scale + shift
            return bias

        return self._place(stage.sums.channels, made)

    def vectors(self, node: Node, channels: int) -> list[int]:
        """Where the parameters lie that a step has for each channel."""
        if isinstance(node.layer, BatchNorm):
            return [self._place(channels, partial(self._factor, node, k)) for k in range(2)]
        return [self._place(channels, partial(self._vector, node, name)) for name in VECTORS[node.layer.op]]

    def _place(self, size: int, made: Callable[[Floats], Floats | Numbers]) -> int:
        """Room that ends in at least as many numbers as a vector that begins at the last one needs."""
        start = self.size
        self.size += (-(-size // self.lanes) + 1) * self.lanes
        self._packs.append((start, size, made))
        return start

    def _vector(self, node: Node, name: str, kept: Floats) -> Numbers:
        (region,) = self._regions[f"{node.name}.{name}"]
        found: Numbers = _rows(kept, region)[0, : region.count].astype(np.float64)
        return found

    def _factor(self, node: Node, k: int, kept: Floats) -> Numbers:
        return self._factors(node, kept)[k]

    def _factors(self, node: Node, kept: Floats) -> tuple[Numbers, Numbers]:
        """Scale and shift of a normalization."""
        layer = node.layer
        assert isinstance(layer, BatchNorm)  # noqa: S101
        mean, variance = (self._vector(node, name, kept) for name in ("running_mean", "running_var"))
        scale = 1 / np.sqrt(variance + layer.eps)
        if not layer.affine:
            return scale, -mean * scale
        scale = self._vector(node, "weight", kept) * scale
        return scale, self._vector(node, "bias", kept) - mean * scale


def _rows(kept: Floats, region: Region) -> Floats:
    return kept[region.start : region.start + region.size].reshape(region.rows, region.padded)
