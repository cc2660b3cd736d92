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
Fill = Callable[[Floats, Floats], None]
"""Writes from the memory where training keeps weights."""
VECTORS = {"BN": ("scale", "shift"), "SUBSAMPLE": ("weight", "bias"), "PRELU": ("weight",)}
"""What a layer has for each channel, in the order of its step's words: parameters, or what is made of them."""


class Weights:
    """Where packed weights lie, `size` numbers in all, and how they get there."""

    def __init__(self, regions: Sequence[Region], lanes: int) -> None:
        self.lanes, self.size = lanes, 0
        self._regions: dict[str, list[Region]] = {}
        for region in regions:
            self._regions.setdefault(region.name, []).append(region)
        self._fills: list[tuple[int, int, Fill]] = []

    def pack(self, kept: Floats, packed: Floats) -> None:
        """From the memory where training keeps them, into what held zeros at first."""
        for start, size, fill in self._fills:
            fill(kept, packed[start : start + size])

    def products(self, stage: Weighted | Single, norm: Node | None, kernel: Sums, group: int) -> int:
        """Where the weights of a group's sums of products lie."""
        name = "weight" if isinstance(stage, Weighted) else "codes"
        region = self._regions[f"{stage.node.name}.{name}"][group]
        first = group * region.count

        def fill(kept: Floats, packed: Floats) -> None:
            rows: Floats | Numbers = region.rows_in(kept)[:, : region.count]
            if norm:
                rows = rows * self._factors(norm, kept)[0][first : first + region.count]
            kernel.pack(rows.reshape(kernel.work.channels_in, -1, region.count), packed)

        return self._place(kernel.size, fill)

    def windows(self, stage: Weighted | Pool, norm: Node | None, channels: int) -> int:
        """Where those of windows over each channel lie: a row of channels for each position of the window."""
        units = -(-channels // self.lanes) * self.lanes
        taps = stage.frame.kernel[0] * stage.frame.kernel[1]

        def fill(kept: Floats, packed: Floats) -> None:
            rows = packed.reshape(taps, units)
            if isinstance(stage, Pool):  # one filter for all
                (region,) = self._regions[f"{stage.node.name}.kernel"]
                rows[:] = region.rows_in(kept)[:, : region.count].T.reshape(-1, 1)
            else:
                regions = self._regions[f"{stage.node.name}.weight"]
                rows[:, :channels] = np.stack([region.rows_in(kept)[:, 0] for region in regions], axis=1)
                if norm:
                    rows[:, :channels] *= self._factors(norm, kept)[0]

        return self._place(taps * units, fill)

    def bias(self, stage: Weighted, norm: Node | None) -> int:
        """Where a weighted layer's bias lies."""

        def fill(kept: Floats, packed: Floats) -> None:
            bias = self._vector(stage.node, "bias", kept) if stage.bias else np.zeros(stage.sums.channels)
            if norm:
                scale, shift = self._factors(norm, kept)
                bias = bias * scale + shift
            packed[:] = bias

        return self._place(stage.sums.channels, fill)

    def vectors(self, node: Node, channels: int) -> list[int]:
        """Where the parameters lie that a step has for each channel."""

        def fill(k: int, kept: Floats, packed: Floats) -> None:
            if isinstance(node.layer, BatchNorm):
                packed[:] = self._factors(node, kept)[k]
            else:
                packed[:] = self._vector(node, VECTORS[node.layer.op][k], kept)

        count = len(VECTORS[node.layer.op])
        return [self._place(channels, partial(fill, k)) for k in range(count)]

    def _place(self, size: int, fill: Fill) -> int:
        """Room that ends in at least as many numbers as a vector that begins at the last one needs."""
        start = self.size
        self.size += (-(-size // self.lanes) + 1) * self.lanes
        self._fills.append((start, size, fill))
        return start

    def _vector(self, node: Node, name: str, kept: Floats) -> Numbers:
        (region,) = self._regions[f"{node.name}.{name}"]
        found: Numbers = region.rows_in(kept)[0, : region.count].astype(np.float64)
        return found

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
