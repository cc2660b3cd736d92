"""Ways to a finer stride, and which one is cheaper by the plan.

    own      the network's stride j as it is: one pass
    shift    (j/N)^2 passes over the image, each beginning 0, N, 2N, ... pixels further in, interleaved (fact N3)
    dilate   one pass, the strides at the end taken out and what lies behind them dilated: `cuts.py`

All give the same numbers to rounding where padding does not reach: a pass that begins further in has its padding there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from ..errors import NeocogError, RewriteError
from ..spelling import Dims
from .form import Form
from .reach import Marks, Reach
from .sight import Sight

OWN, SHIFT, DILATE, AUTO = "own", "shift", "dilate", "auto"
METHODS = (AUTO, SHIFT, DILATE)


class Pass(NamedTuple):
    """One of a route's passes: where on the plane it begins, in pixels, and how many cells it gives; the map's cells
    `first + k * every` are its.
    """

    begin: Dims
    cells: Dims
    first: Dims
    every: Dims


@dataclass(frozen=True, eq=False)
class Route:
    """How a map of some stride is made: the form that is run, and by how many shifts along each axis."""

    method: str
    form: Form
    shifts: Dims

    @property
    def stride(self) -> Dims:
        """How many pixels the map's cells are apart."""
        return tuple(s // n for s, n in zip(self.form.stride, self.shifts, strict=True))

    @property
    def sight(self) -> Sight:
        """What the map's cells stand for and see."""
        return self.form.sight.at(self.stride)

    @property
    def group(self) -> Dims:
        """How many cells, along each axis, lie within the network's own stride."""
        return tuple(j // n for j, n in zip(self.form.sight.jump, self.stride, strict=True))

    def cells(self, size: Sequence[int]) -> Dims:
        """The map's size for a plane. Raises DataError for one smaller than the window."""
        return self.sight.cells(size)

    def passes(self, cells: Dims) -> Iterator[Pass]:
        """What is run for a map of so many cells."""
        for first in product(*map(range, self.shifts)):
            own = tuple(-(-(n - a) // s) for n, a, s in zip(cells, first, self.shifts, strict=True))
            if min(own) > 0:
                yield Pass(tuple(a * n for a, n in zip(first, self.stride, strict=True)), own, first, self.shifts)

    def macs(self, cells: Dims) -> int:
        """The multiply-adds of all passes for so many cells."""
        return sum(self.form.macs(one.cells) for one in self.passes(cells))

    def reach(self, cells: Dims) -> list[Reach]:
        """Along each axis, which cells of a map see padding, and whose."""
        return [self._reach(cells, axis) for axis in range(len(cells))]

    def _reach(self, cells: Dims, axis: int) -> Reach:
        before: dict[str, Marks] = {}
        behind: dict[str, Marks] = {}
        for shift in range(min(self.shifts[axis], cells[axis])):
            own = -(-(cells[axis] - shift) // self.shifts[axis])
            others = (*cells[:axis], own, *cells[axis + 1 :])
            for part, found in self.form.reach(others, axis):
                for into, marks in ((before, found.before), (behind, found.behind)):
                    for name, mark in marks.items():
                        whole = into.setdefault(name, np.zeros(cells[axis], bool))
                        there = whole[shift :: self.shifts[axis]][part]
                        there[:] = mark[: len(there)]
        return Reach(before, behind, cells[axis])


def route(form: Form, stride: int | None = None, method: str = AUTO, size: Dims | None = None) -> Route:
    """The way to a map of that stride; None is the network's own. `auto` takes the one of fewer operations.

    That is decided for a plane of the `size` given, else for one of 8 x 8 strides. Raises NeocogError for a stride that
    does not divide the network's, RewriteError where dilation cannot be done, DataError for a plane that is too small.
    """
    if method not in METHODS:
        raise NeocogError(f"the method is one of {', '.join(METHODS)}", received=f"{method[:40]!r}")
    jump = form.sight.jump
    if stride is None or all(j == stride for j in jump):
        return Route(OWN, form, (1,) * len(jump))
    if stride < 1 or any(j % stride for j in jump):
        raise _not_a_divisor(stride, jump)
    factor = tuple(j // stride for j in jump)
    shifted = Route(SHIFT, form, factor)
    if method == SHIFT:
        return shifted
    try:
        dilated = Route(DILATE, form.finer(factor), (1,) * len(jump))
    except RewriteError:
        if method == DILATE:
            raise
        return shifted
    cells = shifted.cells(size or form.sight.pixels((8,) * len(jump)))
    return dilated if method == DILATE or dilated.macs(cells) <= shifted.macs(cells) else shifted


def _not_a_divisor(stride: int, jump: Dims) -> NeocogError:
    shown = "x".join(map(str, jump if len(set(jump)) > 1 else jump[:1]))
    common = math.gcd(*jump)
    divisors = [str(n) for n in range(1, common + 1) if common % n == 0]
    return NeocogError(
        f"a finer stride divides the network's own, which is {shown} pixels",
        received=f"stride {stride}",
        hint=f"one of {', '.join(divisors[-12:])}",
    )
