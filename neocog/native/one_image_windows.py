"""What is done to each channel of one image by itself, lanes holding channels: windows, copies, and shares of a whole.

    y[c, i, j] = the largest, the sum, the sum of squares, or the sum by weights w[r, s, c], of a window on x[c]

A window of one position is a copy, for what follows to be done with. So a depthwise convolution, pooling of all kinds
and functions of each value are one kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from .elementary import exp
from .expressions import F32, Index, Value, Variable, constant, fma, largest, load, shuffle, splat, total
from .jit import Machine
from .kernel import Function
from .layout import along, extent
from .one_image import Ending, Field, LanesHoldChannels, Place
from .one_image_tasks import Task
from .pooling import Piece, averaged, pieces
from .stages import Frame, Pool, Term, Weighted

TOGETHER = 8
"""Outputs in hand, so that they do not wait for each other."""
WRITTEN_OUT = 150
"""Values that are read one by one, at most; more are a loop."""
LOWEST = -3e38

Summary = Literal["max", "sum", "squares", "weighted"]
SUMMARIES: dict[str, Summary] = {"POOL": "max", "L2POOL": "squares", "FILTER": "weighted"}


@dataclass(frozen=True)
class Windows:
    """What to compute: of windows whose positions are there as the `pieces` of rows and columns say.

    `share` gives, for a piece of each, what sums are multiplied by.
    """

    x: Field
    channels: int
    frame: Frame
    pieces: tuple[Sequence[Piece], Sequence[Piece]]
    summary: Summary
    ending: Ending
    bias: bool = False
    share: Callable[[Piece, Piece], float] | None = None


class WindowSums:
    """Windows as a function: buffers `x`, `w` if they are weighted, `b` where there is a bias, those of the ending."""

    def __init__(self, machine: Machine, work: Windows) -> None:
        self.work, self.form = work, LanesHoldChannels(machine)
        self.vector = self.form.vector
        self.units = self.form.outputs(work.channels)

    @property
    def taps(self) -> int:
        """Positions of a window."""
        return math.prod(self.work.frame.kernel)

    @property
    def cycles(self) -> float:
        """About how long it takes, in half cycles."""
        rows, columns = (sum(piece.outputs for piece in pieces) for pieces in self.work.pieces)
        return float(rows * columns * self.units * (self.taps + 3))

    def build(self, name: str) -> Function:
        """The function."""
        work = self.work
        more = ("w",) * (work.summary == "weighted") + ("b",) * work.bias
        f = Function(name, ("x", *more, *work.ending.buffers))
        most = min(TOGETHER, max(piece.outputs for piece in work.pieces[1]))
        together = max(1, min(self.units, TOGETHER // most))
        for rows, columns in product(*work.pieces):
            with f.loop(rows.outputs) as i:
                for j, count in along(f, columns.outputs, most):
                    for o, units in along(f, self.units, together):
                        first = Place(o, i + rows.first, j + columns.first)
                        self._tile(f, first, units, count, (rows, columns))
        return f

    def _tile(self, f: Function, first: Place, units: int, columns: int, pieces: tuple[Piece, Piece]) -> None:
        """Some units of channels at some columns of a row."""
        start = constant(self.vector, LOWEST if self.work.summary == "max" else 0.0)
        starts = [f.let(self.form.parameter("b", first.o + k)) if self.work.bias else start for k in range(units)]
        sums = {(k, b): f.variable(starts[k]) for k, b in product(range(units), range(columns))}
        for row, column in self._taps(f, pieces, len(sums)):
            self._tap(f, first, row, column, sums)
        values = {(k, 0, b): variable.value for (k, b), variable in sums.items()}
        if self.work.share:
            share = constant(self.vector, self.work.share(*pieces))
            values = {at: f.let(value * share) for at, value in values.items()}
        self.work.ending(f, self.form, first, values)

    def _taps(self, f: Function, pieces: tuple[Piece, Piece], sums: int) -> Iterator[tuple[Index, Index]]:
        rows, columns = (range(piece.start, piece.stop) for piece in pieces)
        if len(rows) * len(columns) * sums <= WRITTEN_OUT:
            yield from ((Index(r), Index(q)) for r, q in product(rows, columns))
        else:
            with f.loop(len(rows)) as r, f.loop(len(columns)) as q:
                yield r + rows.start, q + columns.start

    def _tap(self, f: Function, first: Place, row: Index, column: Index, sums: dict[tuple[int, int], Variable]) -> None:
        work, frame, (o, i, j) = self.work, self.work.frame, first
        (down, right), (top, left), (far, apart) = frame.stride, frame.padding, frame.dilation
        tap = row * frame.kernel[1] + column
        weights = [
            f.let(load(self.vector, "w", tap * self.units + o + k)) if work.summary == "weighted" else None
            for k in sorted({k for k, _ in sums})
        ]
        for (k, b), sum_ in sums.items():
            place = Place(o + k, i * down - top + row * far, (j + b) * right - left + column * apart)
            value = f.let(self.form.load("x", work.x, place))
            f.set(sum_, self._with(sum_.value, value, weights[k]))

    def _with(self, sum_: Value, value: Value, weight: Value | None) -> Value:
        if self.work.summary == "max":
            return largest(value, sum_)
        if self.work.summary == "sum":
            return sum_ + value
        return fma(value, weight or value, sum_)


def windows(task: Task, term: Term, x: Field, ending: Ending) -> Windows:
    """Those of a task: of a depthwise convolution, of pooling, or copies of a term."""
    stage = task.stage
    if isinstance(stage, Weighted):
        frame, sums = stage.frame, extent(stage.sums)
        return Windows(x, term.channels, frame, _uncut(frame, sums), "weighted", ending, task.biased)
    if not isinstance(stage, Pool):
        frame = Frame((1, 1), term.stride, (0, 0), (1, 1))
        return Windows(x, term.channels, frame, _uncut(frame, extent(task.output)), "sum", ending)
    frame, op = stage.frame, stage.node.layer.op
    window = (frame.kernel, frame.stride, frame.padding, frame.dilation)
    along = zip(extent(stage.output), extent(stage.inputs), *window, strict=True)
    rows, columns = _uncut(frame, extent(stage.output)) if op == "FILTER" else (pieces(*axis) for axis in along)

    def share(rows: Piece, columns: Piece) -> float:
        found = (rows.stop - rows.start) * (columns.stop - columns.start)
        return 1 / averaged(stage, (rows.first, columns.first), found)

    averages = share if op in ("AVGPOOL", "GAP") else None
    return Windows(x, term.channels, frame, (rows, columns), SUMMARIES.get(op, "sum"), ending, share=averages)


def _uncut(frame: Frame, outputs: tuple[int, int]) -> tuple[list[Piece], list[Piece]]:
    """Windows that read margins."""
    rows, columns = ([Piece(0, count, 0, size)] for count, size in zip(outputs, frame.kernel, strict=True))
    return rows, columns


def carry(name: str, x: Field, y: Field, size: tuple[int, int, int], stride: tuple[int, int] = (1, 1)) -> Function:
    """So many channels, rows and columns of `x` into `y`, number by number, however they lie in memory."""
    f = Function(name, ("x", "y"))
    channels, height, width = size
    with f.loop(height) as i, f.loop(width) as j:
        for c, count in along(f, channels, TOGETHER):
            values = [f.let(load(F32, "x", x.at(c + k, i * stride[0], j * stride[1]))) for k in range(count)]
            for k, value in enumerate(values):
                f.store("y", y.at(c + k, i, j), value)
    return f


def softmax(name: str, machine: Machine, x: Field, y: Field) -> Function:
    """`y` from `x`, of each position's channels: the largest is subtracted first."""
    f, form = Function(name, ("x", "y")), LanesHoldChannels(machine)
    with f.loop(x.height) as i, f.loop(x.width) as j:
        top, sum_ = f.variable(constant(form.vector, LOWEST)), f.variable(constant(form.vector, 0.0))
        for _, value in _units(f, form, "x", x, (i, j), LOWEST):
            f.set(top, largest(value, top.value))
        most = _highest(f, top.value)
        for place, value in _units(f, form, "x", x, (i, j), LOWEST):
            form.store(f, y, place, exp(f, value - most))
        for _, value in _units(f, form, "y", y, (i, j), 0.0):
            f.set(sum_, sum_.value + value)
        share = f.let(splat(constant(F32, 1.0) / total(sum_.value), form.lanes))
        for place, value in _units(f, form, "y", y, (i, j), 0.0):
            form.store(f, y, place, value * share)
    return f


def _units(
    f: Function, form: LanesHoldChannels, buffer: str, field: Field, at: tuple[Index, Index], outside: float
) -> Iterator[tuple[Place, Value]]:
    """A position's channels, with a number in the lanes beyond the last one."""
    whole, rest = divmod(field.channels, form.lanes)
    if whole:
        with f.loop(whole) as o:
            yield Place(o, *at), f.let(form.load(buffer, field, Place(o, *at)))
    if rest:
        place, other = Place(Index(whole), *at), constant(form.vector, outside)
        lanes = [lane if lane < rest else form.lanes for lane in range(form.lanes)]
        yield place, f.let(shuffle(form.load(buffer, field, place), other, lanes))


def _highest(f: Function, value: Value) -> Value:
    """The largest lane, in every lane."""
    step = value.type.lanes
    while step > 1:
        step //= 2
        lanes = [lane ^ step for lane in range(value.type.lanes)]
        value = f.let(largest(value, shuffle(value, value, lanes)))
    return value
