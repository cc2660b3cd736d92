"""Stochastic pooling: training draws a value of each window by size, prediction takes the mean of the draw."""

from __future__ import annotations

from functools import partial

from .dropout import Chance
from .expressions import Access, Type, Value, both, constant, convert, largest, load, number, select, splat
from .kernel import Function
from .pooling import Largest, Place, PoolPart, Summary, Windows, pool_forward
from .program import Call


def _positive(value: Value) -> Value:
    return largest(value, constant(value.type, 0.0))


class Drawn(Largest):
    """The first value where the running sum passes a random share of the whole; its number is kept."""

    buffers = ("which", *Chance.buffers)

    def begin(self, f: Function) -> None:
        """Words and numbers of images are read once."""
        self.chance = Chance(f, self.lanes)

    def forward(self, f: Function, place: Place) -> Value:
        """A window with nothing above 0 gives 0, and no position of it is drawn."""
        whole, zero = Type("i32", self.lanes), constant(self.vector, 0.0)
        none, width = constant(whole, -1), self.windows.pool.frame.kernel[1]
        limit = f.let(self.total(f, place, _positive) * self.chance.uniform(self.number(place)))
        running, y, at = f.variable(zero), f.variable(zero), f.variable(none)
        for row, column in self.windows.each(f, place, self.unrolled):
            value = f.let(_positive(load(self.vector, "x", self.windows.read(place, row, column))))
            f.set(running, running.value + value)
            passed = f.let(both(running.value > limit, at.value.equals(none)))
            f.set(y, select(passed, value, y.value))
            f.set(at, select(passed, splat(number(row * width + column), self.lanes), at.value))
        f.store("which", self.number(place), convert(at.value, "i8"))
        return y.value


class Expected(Summary):
    """The sum of squares over the sum, of what is positive."""

    def forward(self, f: Function, place: Place) -> Value:
        """0 where nothing is."""
        zero = constant(self.vector, 0.0)
        sum_ = f.let(self.total(f, place, _positive))
        squares = self.total(f, place, lambda value: _positive(value) * value)
        return select(sum_ > zero, squares / sum_, zero)


class StochasticPart(PoolPart):
    """Stochastic pooling in a program."""

    kinds = {"STOPOOL": Drawn}

    @property
    def _places(self) -> dict[str, Access]:
        return super()._places | self.program.chance(self.pool.node)

    def forwards(self) -> None:
        """The draw in training, its mean at prediction."""
        expected = Expected(Windows(self.pool, self.source.y, self.y), self.lanes)
        places = self._places | {"y": self.program.at(self.y)}
        drawn = self.program.add("draw", partial(pool_forward, pooling=self.pooling))
        mean = self.program.add("expect", partial(pool_forward, pooling=expected))
        self.program.forward += [Call(drawn, places, training=True), Call(mean, places, predicting=True)]
