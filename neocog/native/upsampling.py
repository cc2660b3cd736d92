"""Upsampling: each output is one input, or up to two along each axis, by weights that repeat with the factor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..layer import Shape, per_axis
from ..layers.upsample import Upsample
from . import passes
from .expressions import Index, Type, Value, constant, load
from .kernel import Function
from .layout import Margins, Volume
from .lone import LonePart
from .program import Program
from .stages import Stage


class Phase(NamedTuple):
    """Outputs first, first + factor, ... along an axis: how many, and what they read: (input of the first, weight)."""

    first: int
    outputs: int
    taps: tuple[tuple[int, float], ...]


def phases(size: int, factor: int, *, interpolates: bool) -> list[Phase]:
    """All outputs along an axis. Beyond the first and the last input there is nothing between which to interpolate."""
    found = []
    for k in range(factor):
        centre = (k + 0.5) / factor - 0.5 if interpolates else 0.0
        low, share = math.floor(centre), centre - math.floor(centre)
        first, last = max(0, -low), size - 1 - max(0, low + (share > 0))  # inputs whose neighbours are there
        if share and first <= last:
            taps = ((first + low, 1 - share), (first + low + 1, share))
            found.append(Phase(k + first * factor, last - first + 1, taps))
        elif first <= last:
            found.append(Phase(k + first * factor, last - first + 1, ((first, 1.0),)))
        outside = [*range(first), *range(max(last + 1, first), size)]
        found += [Phase(k + p * factor, 1, ((0 if p < first else size - 1, 1.0),)) for p in outside]
    return found


@dataclass(frozen=True)
class Stretch:
    """From a volume x to y, `factor` times as long along an axis: 0 for rows, 1 for columns."""

    x: Volume
    y: Volume
    axis: int
    factor: int
    interpolates: bool

    def places(self, f: Function) -> Iterator[tuple[Index, list[tuple[Index, float]]]]:
        """Each output, and the inputs that it is made of with their weights."""
        lengths = [self.x.height, self.x.width]
        for phase in phases(lengths[self.axis], self.factor, interpolates=self.interpolates):
            with f.loop(self.x.channels) as c, f.loop(phase.outputs) as k, f.loop(lengths[1 - self.axis]) as other:
                taps = [(self._at(self.x, c, k + p, other), weight) for p, weight in phase.taps]
                yield self._at(self.y, c, k * self.factor + phase.first, other), taps

    def _at(self, volume: Volume, c: Index, along: Index, other: Index) -> Index:
        return volume.at(c, along, other) if self.axis == 0 else volume.at(c, other, along)


def stretched(name: str, lanes: int, stretch: Stretch) -> Function:
    """`y` from `x`."""
    f, vector = Function(name, ("x", "y")), Type("f32", lanes)
    for at, taps in stretch.places(f):
        sum_: Value | None = None
        for place, weight in taps:
            value = load(vector, "x", place) * constant(vector, weight)
            sum_ = value if sum_ is None else sum_ + value
        f.store("y", at, sum_ or constant(vector, 0.0))
    return f


def gathered(name: str, lanes: int, stretch: Stretch) -> Function:
    """The gradient `dy` added to `dx`, that for x; the volumes are theirs."""
    f, vector = Function(name, ("dy", "dx")), Type("f32", lanes)
    for at, taps in stretch.places(f):
        dy = f.let(load(vector, "dy", at))
        for place, weight in taps:
            f.store("dx", place, load(vector, "dx", place) + dy * constant(vector, weight))
    return f


class UpsamplePart(LonePart):
    """Upsampling in a program: rows first, into a volume between, then columns."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        layer = self.node.layer
        assert isinstance(layer, Upsample)  # noqa: S101
        self.interpolates, rank = layer.mode == "bilinear", stage.output.rank
        self.down, self.right = (1, *per_axis(layer.factor, rank, layer))[-2:]
        self.between = Shape((self.y.height, self.x.width), self.y.channels)
        self.middle = self.x if self.down == 1 else program.arena.volume(self.between)

    def _rows(self, x: Volume, y: Volume) -> Stretch:
        return Stretch(x, y, 0, self.down, self.interpolates)

    def _columns(self, x: Volume, y: Volume) -> Stretch:
        return Stretch(x, y, 1, self.right, self.interpolates)

    def forwards(self) -> None:
        """Every output."""
        middle = self.program.at(self.middle)
        if self.down > 1:
            rows = self._rows(self.x, self.middle)
            self.forward_call(lambda name: stretched(name, self.lanes, rows), {"y": middle})
        columns = self._columns(self.middle, self.y)
        self.forward_call(lambda name: stretched(name, self.lanes, columns), {"x": middle})

    def backwards(self) -> None:
        """Every output's gradient, added up."""
        d, dx = self.gradient(), self.source.zeroed()
        if self.down > 1:
            middle = self.program.arena.dense(self.between)
            place = self.program.at(middle)
            size = middle.channels * middle.plane
            self.backward_call(lambda name: passes.clear(name, self.machine, size), {"y": place})
            columns, rows = self._columns(middle, d), self._rows(dx, middle)
            self.backward_call(lambda name: gathered(name, self.lanes, columns), {"dx": place})
            places = {"dy": place, "dx": self.program.at(dx)}
            self.backward_call(lambda name: gathered(name, self.lanes, rows), places)
        else:
            columns = self._columns(dx, d)
            self.backward_call(lambda name: gathered(name, self.lanes, columns), {"dx": self.program.at(dx)})
        self.source.done()
