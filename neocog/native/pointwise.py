"""Functions of each value whose derivative follows from x, not y: GELU, SILU, PRELU; and SOFTMAX, of each position."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .elementary import erf, exp, sigmoid
from .endings import Sink
from .expressions import F32, Index, Type, Value, constant, fma, largest, load, select, splat
from .kernel import Function
from .layout import Margins, Volume, rows_of
from .lone import LonePart
from .program import Program
from .stages import Stage


class Curve(NamedTuple):
    """A function, and its derivative, of x."""

    value: Callable[[Function, Value], Value]
    slope: Callable[[Function, Value], Value]


def _like(x: Value, number: float) -> Value:
    return constant(x.type, number)


def _below(f: Function, x: Value) -> Value:
    """The normal distribution function."""
    return fma(erf(f, x * _like(x, math.sqrt(0.5))), _like(x, 0.5), _like(x, 0.5))


def _gelu(f: Function, x: Value) -> Value:
    return x * _below(f, x)


def _gelu_slope(f: Function, x: Value) -> Value:
    density = exp(f, _like(x, -0.5) * x * x) * _like(x, 1 / math.sqrt(2 * math.pi))
    return fma(x, density, _below(f, x))


def _silu(f: Function, x: Value) -> Value:
    return x * sigmoid(f, x)


def _silu_slope(f: Function, x: Value) -> Value:
    s = f.let(sigmoid(f, x))
    return s * fma(x, _like(x, 1.0) - s, _like(x, 1.0))


CURVES = {"GELU": Curve(_gelu, _gelu_slope), "SILU": Curve(_silu, _silu_slope)}


def curve(name: str, lanes: int, of: Curve, x: Volume, y: Volume) -> Function:
    """`y` from `x`."""
    f = Function(name, ("x", "y"))
    with f.loop(x.channels) as c:
        for i, columns in rows_of(f, x):
            for j in columns:
                f.store("y", y.at(c, i, j), of.value(f, f.let(load(Type("f32", lanes), "x", x.at(c, i, j)))))
    return f


def curve_back(name: str, lanes: int, of: Curve, x: Volume, d: Volume, sink: Sink) -> Function:
    """`dy` times the derivative at `x`, into a sink."""
    f, vector = Function(name, ("x", "dy", *sink.buffers)), Type("f32", lanes)
    with f.loop(x.channels) as c:
        for i, columns in rows_of(f, x):
            values = {}
            for j in columns:
                slope = of.slope(f, f.let(load(vector, "x", x.at(c, i, j))))
                values[i, j] = f.let(load(vector, "dy", d.at(c, i, j)) * slope)
            sink.put(f, c, values)
    return f


class CurvePart(LonePart):
    """A function of each value in a program."""

    def forwards(self) -> None:
        """Every value."""
        of = CURVES[self.node.layer.op]
        self.forward_call(lambda name: curve(name, self.lanes, of, self.x, self.y))

    def backwards(self) -> None:
        """Every gradient."""
        of, d = CURVES[self.node.layer.op], self.gradient()
        self.backward_into(lambda name, sink: curve_back(name, self.lanes, of, self.x, d, sink))


def prelu(name: str, lanes: int, x: Volume, y: Volume) -> Function:
    """`y` from `x` by each channel's slope in `weight`."""
    f, vector = Function(name, ("x", "weight", "y")), Type("f32", lanes)
    with f.loop(x.channels) as c:
        slope = f.let(splat(load(F32, "weight", c), lanes))
        for i, columns in rows_of(f, x):
            for j in columns:
                value = f.let(load(vector, "x", x.at(c, i, j)))
                f.store("y", y.at(c, i, j), select(value > constant(vector, 0.0), value, value * slope))
    return f


def prelu_back(name: str, lanes: int, x: Volume, d: Volume, sink: Sink) -> Function:
    """The gradient for `x` into a sink; that of the slope is added to the channel's vector of sums in `d_weight`."""
    f, vector = Function(name, ("x", "weight", "dy", "d_weight", *sink.buffers)), Type("f32", lanes)
    zero = constant(vector, 0.0)
    with f.loop(x.channels) as c:
        slope = f.let(splat(load(F32, "weight", c), lanes))
        sum_ = f.variable(load(vector, "d_weight", c))
        for i, columns in rows_of(f, x):
            values = {}
            for j in columns:
                value = f.let(load(vector, "x", x.at(c, i, j)))
                dy = f.let(load(vector, "dy", d.at(c, i, j)))
                positive = f.let(value > zero)
                f.set(sum_, sum_.value + select(positive, zero, dy * value))
                values[i, j] = f.let(select(positive, dy, dy * slope))
            sink.put(f, c, values)
        f.store("d_weight", c, sum_.value)
    return f


class PReLUPart(LonePart):
    """A rectifier with trained slopes in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        self.own("weight", self.x.channels)

    def forwards(self) -> None:
        """Every value."""
        self.forward_call(lambda name: prelu(name, self.lanes, self.x, self.y))

    def backwards(self) -> None:
        """Every gradient, and the slopes'."""
        d = self.gradient()
        self.backward_into(lambda name, sink: prelu_back(name, self.lanes, self.x, d, sink))


def softmax(name: str, lanes: int, x: Volume, y: Volume) -> Function:
    """`y` from `x`: the largest of a position's channels is subtracted first."""
    f, vector = Function(name, ("x", "y")), Type("f32", lanes)
    with f.loop(x.height) as i, f.loop(x.width) as j:
        top, sum_ = f.variable(load(vector, "x", x.at(0, i, j))), f.variable(constant(vector, 0.0))
        with f.loop(x.channels, 1) as c:
            f.set(top, largest(load(vector, "x", x.at(c, i, j)), top.value))
        with f.loop(x.channels) as c:
            power = f.let(exp(f, load(vector, "x", x.at(c, i, j)) - top.value))
            f.set(sum_, sum_.value + power)
            f.store("y", y.at(c, i, j), power)
        share = f.let(constant(vector, 1.0) / sum_.value)
        with f.loop(x.channels) as c:
            f.store("y", y.at(c, i, j), load(vector, "y", y.at(c, i, j)) * share)
    return f


def softmax_back(name: str, lanes: int, y: Volume, d: Volume, sink: Sink) -> Function:
    """From `dy` and what came out, `y_`, into a sink."""
    f, vector = Function(name, ("dy", "y_", *sink.buffers)), Type("f32", lanes)

    def loaded(c: Index, i: Index, j: Index) -> tuple[Value, Value]:
        return load(vector, "y_", y.at(c, i, j)), load(vector, "dy", d.at(c, i, j))

    with f.loop(y.height) as i, f.loop(y.width) as j:
        sum_ = f.variable(constant(vector, 0.0))
        with f.loop(y.channels) as c:
            f.set(sum_, fma(*loaded(c, i, j), sum_.value))
        with f.loop(y.channels) as c:
            out, dy = loaded(c, i, j)
            sink.put(f, c, {(i, j): f.let(out * (dy - sum_.value))})
    return f


class SoftmaxPart(LonePart):
    """Softmax over channels in a program."""

    def forwards(self) -> None:
        """Every position."""
        self.forward_call(lambda name: softmax(name, self.lanes, self.x, self.y))

    def backwards(self) -> None:
        """Every position's gradients."""
        d = self.gradient()
        self.backward_into(lambda name, sink: softmax_back(name, self.lanes, self.y, d, sink))
