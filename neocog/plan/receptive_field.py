"""Which input pixels one output position can see (fact C11).

Along each axis, with windows of extent E = D(F-1) + 1, stride S and padding P over an input spread out U times
(U = 1 but for layers that enlarge), from the input inwards:

    size  <- size + (E/U - 1) * jump
    start <- start + ((E - 1)/2 - P)/U * jump
    jump  <- jump * S/U

`size` is how many input pixels one output position sees, `jump` how far apart two neighbouring positions look
(the effective stride), `start` the centre of the first position's view, in pixels, the input's first pixel
having its centre at 0. All are theoretical: near a border part of the view lies on padding. Behind a layer that
enlarges, neighbouring positions may see unequally many pixels; `size` is then their mean.

Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..layer import Window


@dataclass(frozen=True)
class Axis:
    """The receptive field along one axis; `jump` is None where joined branches look at different strides."""

    size: float = 1
    jump: float | None = 1
    start: float = 0

    @property
    def reach(self) -> tuple[float, float]:
        """The centres of the first and the last pixel that the first position sees."""
        half = (self.size - 1) / 2
        return self.start - half, self.start + half


Field = tuple[Axis, ...]
"""One `Axis` for each spatial axis."""
Span = tuple[float, float]


def view(field: Field, position: Sequence[int]) -> tuple[Span, ...] | None:
    """The first and the last pixel on each axis that a position sees in theory, perhaps beyond the image.

    None where joined branches look at different strides, so that no rule says where a position looks. Behind a layer
    that enlarges, it may lie off by one position of that layer's input.
    """
    found = []
    for axis, index in zip(field, position, strict=True):
        if axis.jump is None and index:
            return None
        moved = index * (axis.jump or 0)
        found.append((axis.reach[0] + moved, axis.reach[1] + moved))
    return tuple(found)


def through(field: Field, window: Window | None) -> Field:
    """The field behind a layer with this window; a layer without one sees its own position only."""
    if window is None:
        return field
    upsampling = window.upsampling or (1,) * len(field)
    steps = zip(field, window.extent, window.stride, window.padding, upsampling, strict=True)
    return tuple(_slide(*step) for step in steps)


def _slide(axis: Axis, extent: int, stride: int, padding: int, upsampling: int) -> Axis:
    if axis.jump is None:
        return axis
    return Axis(
        size=axis.size + (extent / upsampling - 1) * axis.jump,
        jump=axis.jump * stride / upsampling,
        start=axis.start + ((extent - 1) / 2 - padding) / upsampling * axis.jump,
    )


def joined(fields: Sequence[Field]) -> Field:
    """The field where branches meet: everything that any of them sees."""
    if len(fields) == 1:
        return fields[0]
    return tuple(_union([field[axis] for field in fields]) for axis in range(len(fields[0])))


def _union(axes: Sequence[Axis]) -> Axis:
    low = min(axis.reach[0] for axis in axes)
    high = max(axis.reach[1] for axis in axes)
    jumps = {axis.jump for axis in axes}
    return Axis(size=high - low + 1, jump=jumps.pop() if len(jumps) == 1 else None, start=(low + high) / 2)


def as_numbers(field: Field) -> dict[str, object]:
    """`{"size", "jump", "start"}`: numbers when all axes agree, else a list with one for each axis."""
    return {key: _one_or_list([_tidy(getattr(axis, key)) for axis in field]) for key in ("size", "jump", "start")}


def _one_or_list(values: list[float | None]) -> object:
    return values[0] if len(set(values)) == 1 else values


def _tidy(value: float | None) -> float | None:
    return int(value) if value is not None and float(value).is_integer() else value
