"""Dropout: the mask is computed where it is used, forwards and again backwards; `neocog/chance.py` has its formula."""

from __future__ import annotations

import math
from dataclasses import replace

from ..chance import BITS, FACTORS, SHIFTS
from ..layers.dropout import Dropout
from .endings import Plain, Sink
from .expressions import I32, Access, Index, Type, Value, constant, convert, load, number, select, splat
from .kernel import Function
from .layout import SMALL, Volume, rows_of
from .lone import LonePart
from .program import Call


def mixed(f: Function, x: Value) -> Value:
    """`mix` of each whole number."""
    for shift, factor in zip(SHIFTS, (*FACTORS, None), strict=True):
        x = f.let(x ^ (x >> shift))
        if factor:
            x = f.let(x * constant(x.type, factor - (factor >> 31 << 32)))  # the same bits with a sign
    return x


class Chance:
    """What a kernel draws: buffers `words` of its layer and `numbers` of the images in the lanes."""

    buffers = ("words", "numbers")

    def __init__(self, f: Function, lanes: int) -> None:
        self.f, self.lanes, whole = f, lanes, Type("i32", lanes)
        word = splat(load(I32, "words", Index(0)), lanes)
        self.images = mixed(f, load(whole, "numbers", Index()) ^ word)
        self.second = f.let(load(I32, "words", Index(1)))

    def draw(self, position: Index) -> Value:
        """2^BITS u for a position, in each lane."""
        own = mixed(self.f, number(position) ^ self.second)
        return mixed(self.f, splat(own, self.lanes) ^ self.images) >> 32 - BITS

    def uniform(self, position: Index) -> Value:
        """u itself."""
        return convert(self.draw(position), "f32") * constant(Type("f32", self.lanes), 2.0**-BITS)


def masked(name: str, lanes: int, probability: float, x: Volume, buffer: str, sink: Sink) -> Function:
    """Each value of `x` times its mask, which is 0 or 1 / (1 - p), into a sink. The volume lies in `buffer`."""
    f = Function(name, (buffer, *Chance.buffers, *sink.buffers))
    chance, vector, whole = Chance(f, lanes), Type("f32", lanes), Type("i32", lanes)
    below = constant(whole, math.ceil(probability * 2**BITS) - 1)
    kept, zero = constant(vector, 1 / (1 - probability)), constant(vector, 0.0)
    with f.loop(x.channels) as c:
        for y, columns in rows_of(f, x):
            values = {}
            for column in columns:
                position = c * x.positions + y * x.width + column
                factor = select(chance.draw(position) > below, kept, zero)
                values[y, column] = f.let(load(vector, buffer, x.at(c, y, column)) * factor)
            sink.put(f, c, values)
    return f


def copied(name: str, lanes: int, x: Volume, y: Volume) -> Function:
    """`x` as it is into `y`."""
    f = Function(name, ("x", "y"))
    with f.loop(x.channels) as c, f.loop(x.height) as i, f.loop(x.width) as j:
        f.store("y", y.at(c, i, j), load(Type("f32", lanes), "x", x.at(c, i, j)))
    return f


class DropoutPart(LonePart):
    """Dropout in a program."""

    @property
    def _probability(self) -> float:
        assert isinstance(self.node.layer, Dropout)  # noqa: S101
        return self.node.layer.probability

    @property
    def _chance(self) -> dict[str, Access]:
        return self.program.chance(self.node)

    def forwards(self) -> None:
        """Masked in training, copied at prediction."""
        p, into = self._probability, Plain(self.y, self.lanes)
        places = self._chance | {"d": self.program.at(self.y)}
        self.made = self.forward_call(
            lambda name: masked(name, self.lanes, p, self.x, "x", into), places, training=True
        )
        self.light = self.source.held and self.stage.output.elements > SMALL
        self.forward_call(lambda name: copied(name, self.lanes, self.x, self.y), predicting=True)

    def remade(self, y: Volume) -> list[Call]:
        """The source needs what is masked on its own way back."""
        places = self.made.buffers | {"d": self.program.at(y)}
        return [*self.program.cleared(y), replace(self.made, buffers=places)]

    def backwards(self) -> None:
        """The gradient through the same mask."""
        p, d = self._probability, self.gradient()
        self.backward_into(lambda name, sink: masked(name, self.lanes, p, d, "dy", sink), self._chance)
