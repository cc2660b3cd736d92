"""Pooling by itself: maxima, means, norms and trained sums over windows of each channel.

Windows may overlap and hang over the border. Along each axis the outputs whose windows are whole have one piece of
code, those at the borders each their own, with the positions that are there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from ..layers.avgpool import AvgPool
from .endings import Nowhere, Sink
from .expressions import F32, Access, Index, Type, Value, constant, convert, fma, load, root, select, splat
from .kernel import Function
from .layout import Margins, Volume, extent
from .part import Part
from .program import Call, Program, Region
from .stages import LARGEST_WINDOW, LIMITED, Pool, Stage

UNROLLED = 16
"""Positions of a window that are written out one by one; more are a loop."""


class Piece(NamedTuple):
    """Outputs along one axis whose windows have the same positions: the first, how many, and from where to where."""

    first: int
    outputs: int
    start: int
    stop: int


def pieces(outputs: int, size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> list[Piece]:
    """All outputs along an axis."""
    found: list[Piece] = []
    for i in range(outputs):
        at = i * stride - padding
        start, stop = max(0, -(at // dilation)), min(kernel, -((at - size) // dilation))
        if found and found[-1][2:] == (start, stop):
            found[-1] = found[-1]._replace(outputs=found[-1].outputs + 1)
        else:
            found.append(Piece(i, 1, start, stop))
    return found


def averaged(pool: Pool, output: tuple[int, int], found: int) -> int:
    """How many values a mean is of whose window has so many positions: the window of an output, or of a piece's first.

    Where padding counts, what hangs beyond it does not.
    """
    layer, frame = pool.node.layer, pool.frame
    if not (isinstance(layer, AvgPool) and layer.zeros):
        return found
    along = zip(output, frame.stride, frame.kernel, frame.padding, extent(pool.inputs), strict=True)
    return math.prod(min(k, n + 2 * p - at * step) for at, step, k, p, n in along)


class Place(NamedTuple):
    """One output in hand: its channel and position, and the positions of its window."""

    channel: Index
    y: Index
    x: Index
    rows: range
    columns: range
    top: Index
    left: Index


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling stage between two volumes."""

    pool: Pool
    source: Volume
    y: Volume

    def __call__(self, f: Function) -> Iterator[Place]:
        """Every output."""
        frame, (height, width) = self.pool.frame, extent(self.pool.inputs)
        axes = [
            pieces(outputs, size, *along)
            for outputs, size, along in zip(
                extent(self.pool.output),
                (height, width),
                zip(frame.kernel, frame.stride, frame.padding, frame.dilation, strict=True),
                strict=True,
            )
        ]
        with f.loop(self.y.channels) as c:
            for rows, columns in product(*axes):
                with f.loop(rows.outputs) as i, f.loop(columns.outputs) as j:
                    y, x = i + rows.first, j + columns.first
                    top, left = (
                        at * step - before for at, step, before in zip((y, x), frame.stride, frame.padding, strict=True)
                    )
                    across = (range(rows.start, rows.stop), range(columns.start, columns.stop))
                    yield Place(c, y, x, *across, top, left)

    def within(self, place: Place, row: Index, column: Index) -> tuple[Index, Index]:
        """A position of a window, as a row and a column of the volume."""
        down, right = self.pool.frame.dilation
        return place.top + row * down, place.left + column * right

    def read(self, place: Place, row: Index, column: Index) -> Index:
        """Where a position of a window lies in the source."""
        return self.source.at(place.channel, *self.within(place, row, column))

    def each(self, f: Function, place: Place, unrolled: int) -> Iterator[tuple[Index, Index]]:
        """The positions of a window, (row, column) within it; so many are no loop."""
        if len(place.rows) * len(place.columns) <= unrolled:
            yield from ((Index(r), Index(q)) for r, q in product(place.rows, place.columns))
        else:
            with f.loop(len(place.rows)) as r, f.loop(len(place.columns)) as q:
                yield r + place.rows.start, q + place.columns.start


class Summary(ABC):
    """What is made of a window."""

    buffers: tuple[str, ...] = ()
    """Beyond x and y, those that both passes have."""
    unrolled = UNROLLED

    def __init__(self, windows: Windows, lanes: int) -> None:
        self.windows, self.lanes, self.vector = windows, lanes, Type("f32", lanes)

    def begin(self, f: Function) -> None:  # noqa: B027  # most have nothing to do
        """What is done once before all outputs."""

    @abstractmethod
    def forward(self, f: Function, place: Place) -> Value:
        """The output."""

    def total(self, f: Function, place: Place, of: Callable[[Value], Value]) -> Value:
        """The sum over a window of what is made of each value."""
        sum_ = f.variable(constant(self.vector, 0.0))
        for row, column in self.windows.each(f, place, self.unrolled):
            value = f.let(load(self.vector, "x", self.windows.read(place, row, column)))
            f.set(sum_, sum_.value + of(value))
        return sum_.value


class Pooling(Summary):
    """A summary that is trained through: how a gradient is shared out to a window's positions."""

    sums: tuple[str, ...] = ()
    """Vectors of a channel's sums that the way back adds to."""
    reads_x = reads_y = False
    """Whether the way back does."""

    @abstractmethod
    def share(self, f: Function, place: Place, dy: Value) -> Callable[[Index, Index], Value]:
        """What each position of the window gets of the gradient."""


class Largest(Pooling):
    """The first of the largest values; its number in the window is kept in `which`."""

    buffers: tuple[str, ...] = ("which",)
    unrolled = LARGEST_WINDOW

    def forward(self, f: Function, place: Place) -> Value:
        """Positions are compared in order, padding left out."""
        whole, width = Type("i32", self.lanes), self.windows.pool.frame.kernel[1]
        best: Value | None = None
        at = constant(whole, 0)
        for r, q in product(place.rows, place.columns):
            value = f.let(load(self.vector, "x", self.windows.read(place, Index(r), Index(q))))
            number = constant(whole, r * width + q)
            larger = f.let(value > best) if best else None
            at = f.let(select(larger, number, at)) if larger else number
            best = f.let(select(larger, value, best)) if larger and best else value
        assert best is not None  # noqa: S101  # no window lies wholly on padding
        f.store("which", self.number(place), convert(at, "i8"))
        return best

    def number(self, place: Place) -> Index:
        """Where an output lies among all."""
        y = self.windows.y
        return place.channel * y.positions + place.y * y.width + place.x

    def share(self, f: Function, place: Place, dy: Value) -> Callable[[Index, Index], Value]:
        """All of it to the largest."""
        whole, width = Type("i32", self.lanes), self.windows.pool.frame.kernel[1]
        at = f.let(convert(load(Type("i8", self.lanes), "which", self.number(place)), "i32"))

        def of(row: Index, column: Index) -> Value:
            number = constant(whole, row.constant * width + column.constant)
            return select(at.equals(number), dy, constant(self.vector, 0.0))

        return of


class Mean(Pooling):
    """The mean: by how many is known for each piece of code."""

    def _share(self, place: Place) -> Value:
        found = len(place.rows) * len(place.columns)
        return constant(self.vector, 1 / averaged(self.windows.pool, (place.y.constant, place.x.constant), found))

    def forward(self, f: Function, place: Place) -> Value:
        """The sum times one over how many."""
        return self.total(f, place, lambda value: value) * self._share(place)

    def share(self, f: Function, place: Place, dy: Value) -> Callable[[Index, Index], Value]:
        """The same to all."""
        each = f.let(dy * self._share(place))
        return lambda row, column: each


class Norm(Pooling):
    """The square root of the sum of squares."""

    reads_x = reads_y = True

    def forward(self, f: Function, place: Place) -> Value:
        """The Euclidean norm."""
        return root(self.total(f, place, lambda value: value * value))

    def share(self, f: Function, place: Place, dy: Value) -> Callable[[Index, Index], Value]:
        """x / y of it, 0 where the whole window is 0."""
        zero = constant(self.vector, 0.0)
        y = f.let(load(self.vector, "y_", self.windows.y.at(place.channel, place.y, place.x)))
        ratio = f.let(select(y > zero, dy / y, zero))
        return lambda row, column: ratio * load(self.vector, "x", self.windows.read(place, row, column))


class Trained(Pooling):
    """The sum, times a weight and plus a bias of the channel."""

    buffers = ("weight", "bias")
    sums = ("d_weight", "d_bias")
    reads_x = True

    def forward(self, f: Function, place: Place) -> Value:
        """As LeNet-5 subsamples."""
        weight, bias = (splat(load(F32, word, place.channel), self.lanes) for word in ("weight", "bias"))
        return self.total(f, place, lambda value: value) * weight + bias

    def share(self, f: Function, place: Place, dy: Value) -> Callable[[Index, Index], Value]:
        """The weight's part of it to all; the channel's sums grow."""
        c = place.channel
        sum_ = self.total(f, place, lambda value: value)
        for word, value in (("d_weight", dy * sum_), ("d_bias", dy)):
            f.store(word, c, load(self.vector, word, c) + value)
        each = f.let(dy * splat(load(F32, "weight", c), self.lanes))
        return lambda row, column: each


class Filtered(Pooling):
    """The sum by fixed weights, whose rows stand side by side in `kernel`, `row` numbers apart."""

    buffers = ("kernel",)

    def _weight(self, row: Index, column: Index) -> Value:
        padded = self.windows.pool.frame.kernel[0] + -self.windows.pool.frame.kernel[0] % self.lanes
        return splat(load(F32, "kernel", column * padded + row), self.lanes)

    def forward(self, f: Function, place: Place) -> Value:
        """Every position by its weight."""
        sum_ = f.variable(constant(self.vector, 0.0))
        for row, column in self.windows.each(f, place, self.unrolled):
            value = load(self.vector, "x", self.windows.read(place, row, column))
            f.set(sum_, fma(value, self._weight(row, column), sum_.value))
        return sum_.value

    def share(self, f: Function, place: Place, dy: Value) -> Callable[[Index, Index], Value]:
        """The same weights."""
        return lambda row, column: dy * self._weight(row, column)


POOLINGS: dict[str, type[Pooling]] = {
    "POOL": Largest,
    "AVGPOOL": Mean,
    "GAP": Mean,
    "L2POOL": Norm,
    "SUBSAMPLE": Trained,
    "FILTER": Filtered,
}


def pool_forward(name: str, pooling: Summary) -> Function:
    """Buffers `x`, `y` and the pooling's own."""
    f = Function(name, ("x", "y", *pooling.buffers))
    pooling.begin(f)
    for place in pooling.windows(f):
        value, activation = pooling.forward(f, place), pooling.windows.pool.activation
        if activation:
            value = activation.forward(f, f.let(value))
        f.store("y", pooling.windows.y.at(place.channel, place.y, place.x), value)
    return f


def pool_backward(name: str, pooling: Pooling, d: Volume, sink: Sink | Volume) -> Function:
    """From `dy` into a sink, or where windows overlap added to the volume `dx`."""
    into = sink.buffers if isinstance(sink, Sink) else ("dx",)
    activation = pooling.windows.pool.activation
    seen = ("x",) * pooling.reads_x + ("y_",) * (pooling.reads_y or activation is not None)
    f = Function(name, ("dy", *seen, *pooling.buffers, *pooling.sums, *into))
    vector = pooling.vector
    for place in pooling.windows(f):
        dy = f.let(load(vector, "dy", d.at(place.channel, place.y, place.x)))
        if activation:
            y = f.let(load(vector, "y_", pooling.windows.y.at(place.channel, place.y, place.x)))
            dy = f.let(activation.backward(f, y, dy))
        share = pooling.share(f, place, dy)
        for row, column in pooling.windows.each(f, place, pooling.unrolled):
            i, j = pooling.windows.within(place, row, column)
            if isinstance(sink, Sink):
                sink.put(f, place.channel, {(i, j): share(row, column)})
            else:
                at = sink.at(place.channel, i, j)
                f.store("dx", at, load(vector, "dx", at) + share(row, column))
    return f


class PoolPart(Part):
    """Pooling in a program."""

    kinds = POOLINGS

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(stage, Pool)  # noqa: S101
        self.pool, self.source = stage, program.parts[stage.source]
        op = stage.node.layer.op
        self.pooling = self.kinds[op](Windows(stage, self.source.y, self.y), self.lanes)
        self.which = program.arena.take(-(-stage.output.elements // 4)) if op in LIMITED else 0
        self.owned: dict[str, Region] = {}
        if op == "SUBSAMPLE":
            self.owned = {
                name: program.region(stage.node, name, 1, stage.output.channels, by_lanes=True)
                for name in ("weight", "bias")
            }
            self.wants = True
        if op == "FILTER":
            rows, columns = stage.frame.kernel
            self.owned = {"kernel": program.region(stage.node, "kernel", columns, rows, trainable=False, met=True)}

    @property
    def _places(self) -> dict[str, Access]:
        places = {name: region.at("weights") for name, region in self.owned.items()}
        return places | {"which": self.program.vectors(self.which), "x": self.program.at(self.source.y)}

    def forwards(self) -> None:
        """Every output."""
        function = self.program.add("pool", lambda name: pool_forward(name, self.pooling))
        self.program.forward.append(Call(function, self._places | {"y": self.program.at(self.y)}))

    def backwards(self) -> None:
        """Straight into the source's sink where windows tile."""
        d, places = self.gradient(), self._places
        into, more = self._into()
        for name, region in self.owned.items():
            places[f"d_{name}"] = region.lane_sums(self.lanes)
        function = self.program.add("unpool", lambda name: pool_backward(name, self.pooling, d, into))
        places |= more | {"dy": self.program.at(d), "y_": self.program.at(self.y)}
        self.program.backward.append(Call(function, places))
        self.source.done()

    def _into(self) -> tuple[Sink | Volume, dict[str, Access]]:
        if not self.source.wants:
            return Nowhere(), {}
        if self.pool.tiles:
            return self.source.sink(alone=not self.pooling.reads_x)
        dx = self.source.zeroed()
        return dx, {"dx": self.program.at(dx)}
