"""Which taps reach which positions on the way back through a convolution with a stride.

The gradient for the input is a gather again once positions are told apart by their remainders: with stride S, positions
r, r + S, r + 2S, ... of the input are read by the same taps, at neighbouring positions of the output's gradient g.
"""

from __future__ import annotations

from dataclasses import dataclass

from .layout import Margins, extent
from .stages import Weighted


@dataclass(frozen=True)
class Phase:
    """The input positions that have one remainder by the stride, and the taps that read them: (offset in g, tap)."""

    first: tuple[int, int]
    size: tuple[int, int]
    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]


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
