"""How one image lies in memory and in vectors, and what follows a sum before it is stored.

Many images fill the lanes of a vector by themselves; one image has to. A `Form` says how: lanes hold channels of a
position, which lie side by side in memory, or neighbouring positions of a row. Kernels are written once for both, in
units: a vector of channels and one column, or one channel and a vector of columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal, NamedTuple

from .expressions import F32, Index, Type, Value, constant, fma, largest, load, load_from, select, shuffle, splat
from .jit import Machine
from .kernel import Function


@dataclass(frozen=True)
class Field:
    """A volume of one image: the steps from one channel, row and position to the next, in numbers."""

    channels: int
    height: int
    width: int
    channel: int
    row: int
    position: int

    def at(self, channel: Index | int, y: Index | int, x: Index | int) -> Index:
        """How far a value is from the first."""
        steps = ((channel, self.channel), (y, self.row), (x, self.position))
        return sum((Index() + value * step for value, step in steps), Index())


class Place(NamedTuple):
    """A value, or the first of a tile: unit of channels, row, and unit of columns."""

    o: Index
    i: Index
    j: Index


class Form(ABC):
    """What lanes hold: `channels` and `positions` of a unit."""

    channels: int
    positions: int

    def __init__(self, machine: Machine) -> None:
        self.lanes, self.registers = machine.lanes, machine.registers
        self.vector = Type("f32", machine.lanes)

    def outputs(self, channels: int) -> int:
        """How many units hold so many channels."""
        return -(-channels // self.channels)

    def columns(self, width: int) -> int:
        """How many units hold a row."""
        return -(-width // self.positions)

    def where(self, field: Field, place: Place) -> Index:
        """How far a unit is from the first value."""
        return field.at(place.o * self.channels, place.i, place.j * self.positions)

    def load(self, buffer: str, field: Field, place: Place) -> Value:
        """A unit."""
        return load_from(self.vector, buffer, self.where(field, place))

    @abstractmethod
    def store(self, f: Function, field: Field, place: Place, value: Value) -> None:
        """A unit into `y`."""

    @abstractmethod
    def input(self, at: Index) -> Value:
        """What a product reads of `x`."""

    @abstractmethod
    def weight(self, at: Index) -> Value:
        """What a product reads of `w`: as much as there are channels in a unit."""

    @abstractmethod
    def parameter(self, buffer: str, o: Index) -> Value:
        """Of each channel of a unit."""

    @abstractmethod
    def every(self, right: int, first: int, units: Sequence[Value]) -> Value:
        """Columns first, first + right, ... of units side by side."""


class LanesHoldChannels(Form):
    """Inputs are broadcast, weights are vectors. What is beyond the last channel is never read."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.channels, self.positions = machine.lanes, 1

    def store(self, f: Function, field: Field, place: Place, value: Value) -> None:
        """Whole vectors."""
        f.store_to("y", self.where(field, place), value)

    def input(self, at: Index) -> Value:
        """One number."""
        return splat(load(F32, "x", at), self.lanes)

    def weight(self, at: Index) -> Value:
        """A vector."""
        return load(self.vector, "w", at // self.lanes)

    def parameter(self, buffer: str, o: Index) -> Value:
        """A vector."""
        return load_from(self.vector, buffer, o * self.lanes)

    def every(self, right: int, first: int, units: Sequence[Value]) -> Value:
        """A unit is one column."""
        return units[first]


class LanesHoldPositions(Form):
    """Inputs are vectors, which begin at any position of a row, and weights are broadcast; the stride in rows is 1.

    The last vector of a row may reach beyond it: there zeros are stored, which is what margins hold.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.channels, self.positions = 1, machine.lanes

    def store(self, f: Function, field: Field, place: Place, value: Value) -> None:
        """Zeros in place of lanes beyond the end of the row."""
        there = field.width - place.j.constant * self.lanes
        if not place.j.terms and there < self.lanes:
            zero = constant(self.vector, 0.0)
            value = shuffle(value, zero, [lane if lane < there else self.lanes for lane in range(self.lanes)])
        f.store_to("y", self.where(field, place), value)

    def input(self, at: Index) -> Value:
        """A vector."""
        return load_from(self.vector, "x", at)

    def weight(self, at: Index) -> Value:
        """One number."""
        return splat(load(F32, "w", at), self.lanes)

    def parameter(self, buffer: str, o: Index) -> Value:
        """One number."""
        return splat(load(F32, buffer, o), self.lanes)

    def every(self, right: int, first: int, units: Sequence[Value]) -> Value:
        """Lanes that are not there hold anything."""
        if right == 1:
            return units[0]
        taken = [lane * right + first for lane in range(self.lanes)]
        result = shuffle(units[0], units[0], [place % self.lanes for place in taken])
        for k, unit in enumerate(units[1:], start=1):
            from_it = {lane: place for lane, place in enumerate(taken) if place // self.lanes == k}
            lanes = [self.lanes + from_it[lane] % self.lanes if lane in from_it else lane for lane in range(self.lanes)]
            result = shuffle(result, unit, lanes)
        return result


# -- what follows ----------------------------------------------------------------------------------------------

Values = dict[tuple[int, int, int], Value]
"""A tile's values by unit of channels, row and unit of columns within it."""


class Step(ABC):
    """Something that is done with a tile's values; `words` are the buffers that it reads."""

    words: ClassVar[tuple[str, ...]] = ()
    pool: tuple[int, int] = (1, 1)
    """Rows and columns that become one."""

    @abstractmethod
    def __call__(self, f: Function, form: Form, names: Sequence[str], first: Place, values: Values) -> Values:
        """What becomes of a tile, the first value of which is at a place; `names` are those of the buffers."""


@dataclass(frozen=True)
class Curve(Step):
    """A function of each value; one that rises keeps the order."""

    forward: Callable[[Function, Value], Value]
    rises: bool = False

    def __call__(self, f: Function, form: Form, names: Sequence[str], first: Place, values: Values) -> Values:
        """Value by value."""
        return {at: f.let(self.forward(f, value)) for at, value in values.items()}


class Scaled(Step):
    """Times the channel's `scale`, plus its `shift`."""

    words = ("scale", "shift")

    def __call__(self, f: Function, form: Form, names: Sequence[str], first: Place, values: Values) -> Values:
        """Value by value."""
        units = {at[0] for at in values}
        scale, shift = ({k: f.let(form.parameter(name, first.o + k)) for k in units} for name in names)
        return {at: f.let(fma(value, scale[at[0]], shift[at[0]])) for at, value in values.items()}


class Sloped(Step):
    """Times the channel's `slope` where it is below 0."""

    words = ("slope",)

    def __call__(self, f: Function, form: Form, names: Sequence[str], first: Place, values: Values) -> Values:
        """Value by value."""
        slope = {k: f.let(form.parameter(names[0], first.o + k)) for k in {at[0] for at in values}}
        zero = constant(form.vector, 0.0)
        return {at: f.let(select(v > zero, v, v * slope[at[0]])) for at, v in values.items()}


@dataclass(frozen=True)
class Added(Step):
    """Plus another volume of the same size."""

    field: Field
    words = ("other",)

    def __call__(self, f: Function, form: Form, names: Sequence[str], first: Place, values: Values) -> Values:
        """Value by value."""
        o, i, j = first
        return {
            (k, a, b): f.let(value + form.load(names[0], self.field, Place(o + k, i + a, j + b)))
            for (k, a, b), value in values.items()
        }


@dataclass(frozen=True)
class Pooled(Step):
    """The largest value or the sum of each of windows that lie side by side."""

    kind: Literal["max", "sum"]
    pool: tuple[int, int] = (1, 1)

    def __call__(self, f: Function, form: Form, names: Sequence[str], first: Place, values: Values) -> Values:
        """Down the columns first, for that needs no shuffling."""
        down, right = self.pool
        rows, columns = (max(at[k] for at in values) + 1 for k in (1, 2))
        taken: Values = {}
        for k, a, b in product(sorted({at[0] for at in values}), range(0, rows, down), range(0, columns, right)):
            there = range(b, min(b + right, columns))
            units = [self._one(f, [values[k, a + u, v] for u in range(down)]) for v in there]
            every = [form.every(right, column, units) for column in range(right)]
            taken[k, a // down, b // right] = self._one(f, every)
        return taken

    def _one(self, f: Function, values: Sequence[Value]) -> Value:
        best = values[0]
        for value in values[1:]:
            best = f.let(largest(value, best) if self.kind == "max" else best + value)
        return best


@dataclass(frozen=True)
class Ending:
    """Steps, then the volume `y`. The buffers of step k have its number behind their word."""

    steps: tuple[Step, ...]
    y: Field

    @property
    def buffers(self) -> tuple[str, ...]:
        """Of all steps, and `y`."""
        return (*(f"{word}{k}" for k, step in enumerate(self.steps) for word in step.words), "y")

    @property
    def pool(self) -> tuple[int, int]:
        """Rows and columns that become one; at most one step does so."""
        return next((step.pool for step in self.steps if step.pool != (1, 1)), (1, 1))

    def __call__(self, f: Function, form: Form, first: Place, values: Values) -> None:
        """Store what becomes of a tile."""
        for k, step in enumerate(self.steps):
            values = step(f, form, [f"{word}{k}" for word in step.words], first, values)
            down, right = step.pool
            first = Place(first.o, first.i // down, first.j // right)
        o, i, j = first
        for (k, a, b), value in values.items():
            form.store(f, self.y, Place(o + k, i + a, j + b), value)
