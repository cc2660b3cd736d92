"""Squared distances to fixed codes, LeNet-5's output layer."""

from __future__ import annotations

from .endings import Sink
from .expressions import F32, Index, Type, Value, constant, load, splat
from .kernel import Function
from .layout import Margins, Volume
from .lone import LonePart
from .program import Program
from .stages import Stage


def distances(name: str, lanes: int, x: Volume, y: Volume, row: int) -> Function:
    """Of `x` to each code, into `y`. `codes` has a row for each value of x, `row` numbers long."""
    f = Function(name, ("x", "codes", "y"))
    with f.loop(y.channels) as k:
        sum_ = f.variable(constant(Type("f32", lanes), 0.0))
        with f.loop(x.channels) as j:
            off = f.let(_off(lanes, x, j, k, row))
            f.set(sum_, sum_.value + off * off)
        f.store("y", y.at(k), sum_.value)
    return f


def distances_back(name: str, lanes: int, x: Volume, d: Volume, row: int, sink: Sink) -> Function:
    """The gradient for `x`: the sum over codes of 2 dy (x - code)."""
    f = Function(name, ("x", "codes", "dy", *sink.buffers))
    vector = Type("f32", lanes)
    with f.loop(x.channels) as j:
        sum_ = f.variable(constant(vector, 0.0))
        with f.loop(d.channels) as k:
            f.set(sum_, sum_.value + load(vector, "dy", d.at(k)) * _off(lanes, x, j, k, row))
        sink.put(f, j, {(Index(), Index()): sum_.value * constant(vector, 2.0)})
    return f


def _off(lanes: int, x: Volume, j: Index, k: Index, row: int) -> Value:
    return load(Type("f32", lanes), "x", x.at(j)) - splat(load(F32, "codes", j * row + k), lanes)


class DistancePart(LonePart):
    """Distances in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        inputs, outputs = self.x.channels, self.y.channels
        self.codes = program.region(self.node, "codes", inputs, outputs, trainable=False, met=True)
        self.owned = {"codes": self.codes}

    def forwards(self) -> None:
        """Every distance."""
        self.forward_call(lambda name: distances(name, self.lanes, self.x, self.y, self.codes.padded))

    def backwards(self) -> None:
        """Into the source's sink."""
        d = self.gradient()
        self.backward_into(lambda name, sink: distances_back(name, self.lanes, self.x, d, self.codes.padded, sink))
