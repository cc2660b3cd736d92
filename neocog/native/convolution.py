"""What a convolution gathers: forwards, and on the way back through its stride.

The gradient for the input is a gather again once positions are told apart by their remainders: with stride S, positions
r, r + S, r + 2S, ... of the input are read by the same taps, at neighbouring positions of the output's gradient g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .gather import Gather, Source
from .layout import Margins, Volume, extent
from .packing import Order
from .stages import Frame, Weighted
from .weight_gradient import WeightGradient


def forward_gather(
    frame: Frame, x: Volume, size: tuple[int, int], outputs: int, inputs: int, pool: tuple[int, int] = (1, 1)
) -> Gather:
    """So many channels of a size from so many of x, pooled at the end."""
    rows, columns = (
        tuple(k * d - p for k in range(f)) for f, d, p in zip(frame.kernel, frame.dilation, frame.padding, strict=True)
    )
    return Gather(Source.of(x), *size, outputs, inputs, *frame.stride, rows, columns, pool)


def forward_order(frame: Frame, padded: int) -> Order:
    """Where it finds its weights among rows of so many numbers, one for each input and tap."""
    taps = math.prod(frame.kernel)
    return Order(tuple(range(taps)), output=1, input=taps * padded, tap=padded)


def weight_gradient(frame: Frame, x: Source, g: Source, inputs: int, outputs: int, row: int) -> WeightGradient:
    """The sums of products of so many channels of x and of the output's gradient, in rows of so many numbers."""
    return WeightGradient(x, g, inputs, outputs, frame.kernel, frame.stride, frame.dilation, frame.padding, row)


@dataclass(frozen=True)
class Phase:
    """The input positions that have one remainder by the stride, and the taps that read them: (offset in g, tap)."""

    first: tuple[int, int]
    size: tuple[int, int]
    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]

    def gather(self, g: Volume, outputs: int, inputs: int) -> Gather:
        """So many channels of the input's gradient, from so many of g."""
        rows, columns = (tuple(offset for offset, _ in taps) for taps in (self.rows, self.columns))
        return Gather(Source.of(g), *self.size, outputs, inputs, 1, 1, rows, columns)

    def order(self, frame: Frame, padded: int) -> Order:
        """Where it finds its weights among rows of so many numbers, one for each of its outputs and each tap."""
        taps = tuple(u * frame.kernel[1] + v for _, u in self.rows for _, v in self.columns)
        return Order(taps, output=math.prod(frame.kernel) * padded, input=1, tap=padded)


def phases_of(stage: Weighted) -> list[Phase]:
    """One phase for each remainder on both axes."""
    frame = stage.frame
    axes = [
        [_along_axis(*axis, remainder) for remainder in range(min(axis[0], axis[4]))]
        for axis in zip(frame.stride, frame.kernel, frame.dilation, frame.padding, extent(stage.inputs), strict=True)
    ]
    return [
        Phase((y, x), (height, width), rows, columns) for y, height, rows in axes[0] for x, width, columns in axes[1]
    ]


def _along_axis(
    stride: int, kernel: int, dilation: int, padding: int, size: int, remainder: int
) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    """Of positions remainder, remainder + stride, ...: how many there are, and which taps read them from where in g."""
    reached = (remainder + padding - k * dilation for k in range(kernel))
    taps = [(place // stride, k) for k, place in enumerate(reached) if place % stride == 0]
    return remainder, len(range(remainder, size, stride)), tuple(sorted(taps))


def reach(stage: Weighted) -> Margins:
    """The zeros that the gather of the input's gradient reads around g."""
    return Margins() if stage.sees_all else reach_of_phases(stage)


def reach_of_phases(stage: Weighted) -> Margins:
    """The same where no other kernel takes the place of those of the phases."""
    height, width = extent(stage.sums)
    margins = Margins()
    for phase in phases_of(stage):
        low = [max(0, *(-offset for offset, _ in taps), 0) for taps in (phase.rows, phase.columns)]
        high = [
            max(0, *(offset + count - size for offset, _ in taps), 0)
            for taps, count, size in zip((phase.rows, phase.columns), phase.size, (height, width), strict=True)
        ]
        margins = margins.with_(Margins(low[0], low[1], high[0], high[1]))
    return margins
