"""Spatial pyramid pooling: the largest value of each bin, and which it was, kept as a whole number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from ..layers.spp import SpatialPyramid
from .expressions import Index, Type, constant, load, number, select, splat
from .kernel import Function
from .layout import Margins, Volume
from .lone import LonePart
from .program import Program
from .stages import Stage


class Bin(NamedTuple):
    """A bin in hand: channel, the output that it becomes, and from where to where it goes."""

    channel: Index
    output: Index
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True)
class Pyramid:
    """The bins of all levels over a volume."""

    levels: tuple[int, ...]
    x: Volume
    rank: int

    def __call__(self, f: Function) -> Iterator[Bin]:
        """Each bin; channels are a loop."""
        start = 0
        for level in self.levels:
            rows = _edges(self.x.height, level if self.rank > 1 else 1)
            columns = _edges(self.x.width, level)
            bins = list(product(rows, columns))
            with f.loop(self.x.channels) as c:
                for k, (down, right) in enumerate(bins):
                    yield Bin(c, c * len(bins) + (start + k), down, right)
            start += self.x.channels * len(bins)

    def places(self, f: Function, bin_: Bin) -> Iterator[tuple[Index, Index]]:
        """The positions in a bin, by rows."""
        with f.loop(bin_.rows[1], bin_.rows[0]) as i, f.loop(bin_.columns[1], bin_.columns[0]) as j:
            yield i, j


def _edges(size: int, bins: int) -> list[tuple[int, int]]:
    """From where to where each bin goes along an axis."""
    return [(k * size // bins, -(-(k + 1) * size // bins)) for k in range(bins)]


def largest_of_bins(name: str, lanes: int, pyramid: Pyramid, y: Volume) -> Function:
    """`y`, and `which` position it was, from `x`."""
    f, vector, whole = Function(name, ("x", "y", "which")), Type("f32", lanes), Type("i32", lanes)
    x = pyramid.x
    for bin_ in pyramid(f):
        first = load(vector, "x", x.at(bin_.channel, bin_.rows[0], bin_.columns[0]))
        best, at = f.variable(first), f.variable(constant(whole, bin_.rows[0] * x.width + bin_.columns[0]))
        for i, j in pyramid.places(f, bin_):
            value = f.let(load(vector, "x", x.at(bin_.channel, i, j)))
            larger = f.let(value > best.value)
            f.set(at, select(larger, splat(number(i * x.width + j), lanes), at.value))
            f.set(best, select(larger, value, best.value))
        f.store("y", y.at(bin_.output), best.value)
        f.store("which", bin_.output, at.value)
    return f


def spread_to_bins(name: str, lanes: int, pyramid: Pyramid, d: Volume, dx: Volume) -> Function:
    """Each `dy` added to `dx` where the largest was."""
    f, vector, whole = Function(name, ("dy", "which", "dx")), Type("f32", lanes), Type("i32", lanes)
    for bin_ in pyramid(f):
        dy, which = f.let(load(vector, "dy", d.at(bin_.output))), f.let(load(whole, "which", bin_.output))
        for i, j in pyramid.places(f, bin_):
            mine = which.equals(splat(number(i * dx.width + j), lanes))
            at = dx.at(bin_.channel, i, j)
            f.store("dx", at, load(vector, "dx", at) + select(mine, dy, constant(vector, 0.0)))
    return f


class PyramidPart(LonePart):
    """Spatial pyramid pooling in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        layer = self.node.layer
        assert isinstance(layer, SpatialPyramid)  # noqa: S101
        self.pyramid = Pyramid(tuple(layer.levels), self.x, stage.output.rank)
        self.which = {"which": program.vectors(program.arena.take(stage.output.channels))}

    def forwards(self) -> None:
        """Every bin."""
        self.forward_call(lambda name: largest_of_bins(name, self.lanes, self.pyramid, self.y), self.which)

    def backwards(self) -> None:
        """Every bin's gradient, added up."""
        d, dx = self.gradient(), self.source.zeroed()
        places = self.which | {"dx": self.program.at(dx)}
        self.backward_call(lambda name: spread_to_bins(name, self.lanes, self.pyramid, d, dx), places)
        self.source.done()
