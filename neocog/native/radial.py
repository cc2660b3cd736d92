"""Squared distances to fixed codes, LeNet-5's output layer."""

from __future__ import annotations

from .endings import Sink
from .expressions import F32, Access, Index, Type, Value, constant, load, splat
from .kernel import Function
from .layout import Margins, Volume
from .part import Part
from .program import Call, Program
from .stages import Single, Stage


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


class DistancePart(Part):
    """Distances in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(stage, Single)  # noqa: S101
        self.source = program.parts[stage.source]
        self.codes = program.region(
            stage.node, "codes", stage.inputs.channels, stage.output.channels, trainable=False, met=True
        )

    @property
    def _places(self) -> dict[str, Access]:
        return {"x": self.program.at(self.source.y), "codes": self.codes.at("weights")}

    def forwards(self) -> None:
        """Every distance."""
        x, row = self.source.y, self.codes.padded
        function = self.program.add("distances", lambda name: distances(name, self.lanes, x, self.y, row))
        self.program.forward.append(Call(function, self._places | {"y": self.program.at(self.y)}))

    def backwards(self) -> None:
        """Into the source's sink."""
        x, row, d = self.source.y, self.codes.padded, self.gradient()
        sink, places = self.source.sink()
        function = self.program.add("radial", lambda name: distances_back(name, self.lanes, x, d, row, sink))
        self.program.backward.append(Call(function, places | self._places | {"dy": self.program.at(d)}))
        self.source.done()
