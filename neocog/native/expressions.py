"""The values of the kernel language: numbers, vectors, and memory addressed by linear expressions.

An expression is a tree that nothing evaluates here: `llvm.py` and `c.py` print it. Every loop counts from 0 by 1, so an
address is a sum of loop counters times constants: `Index`. That is enough for whatever a network of fixed sizes needs,
and lets the printer find what addresses have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BYTES = {"f32": 4, "i32": 4, "i8": 1}
"""That a value of each kind takes in memory."""


class Type(NamedTuple):
    """A number, or a vector of `lanes` of them. Kinds: f32, i32, i8, and i1 for what a comparison gives."""

    kind: str
    lanes: int = 1

    def of(self, kind: str) -> Type:
        """As many lanes of another kind."""
        return Type(kind, self.lanes)

    @property
    def bytes(self) -> int:
        """How many it takes in memory, where there are no masks."""
        return BYTES[self.kind] * self.lanes


F32, I32, I8 = Type("f32"), Type("i32"), Type("i8")


@dataclass(frozen=True)
class Index:
    """A whole number: a constant and multiples of loop counters and of the function's number arguments."""

    constant: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Index | int) -> Index:
        other = other if isinstance(other, Index) else Index(other)
        terms = dict(self.terms)
        for name, factor in other.terms:
            terms[name] = terms.get(name, 0) + factor
        kept = tuple(sorted((name, factor) for name, factor in terms.items() if factor))
        return Index(self.constant + other.constant, kept)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Index:
        return Index(self.constant * factor, tuple((n, f * factor) for n, f in self.terms if f * factor))

    __rmul__ = __mul__

    def __sub__(self, other: Index | int) -> Index:
        return self + -1 * (other if isinstance(other, Index) else Index(other))

    def __floordiv__(self, divisor: int) -> Index:
        """Exact division; every part must be a multiple."""
        parts = (self.constant, *(factor for _, factor in self.terms))
        assert all(part % divisor == 0 for part in parts), (self, divisor)  # noqa: S101
        return Index(self.constant // divisor, tuple((n, f // divisor) for n, f in self.terms))


class Bound(NamedTuple):
    """The largest (`max`) or smallest (`min`) of some whole numbers: where a loop begins or ends."""

    which: str
    of: tuple[Index, ...]


@dataclass(frozen=True)
class Value:
    """An expression: an operation on other values. `Function` names what is used more than once."""

    type: Type
    op: str
    args: tuple[Value, ...] = ()
    detail: object = None

    def __add__(self, other: Value) -> Value:
        return Value(self.type, "add", (self, other))

    def __sub__(self, other: Value) -> Value:
        return Value(self.type, "sub", (self, other))

    def __mul__(self, other: Value) -> Value:
        return Value(self.type, "mul", (self, other))

    def __truediv__(self, other: Value) -> Value:
        return Value(self.type, "div", (self, other))

    def __xor__(self, other: Value) -> Value:
        """Bit by bit whether they differ; of whole numbers."""
        return Value(self.type, "xor", (self, other))

    def __rshift__(self, places: int) -> Value:
        """The bits moved down, zeros from above; of whole numbers."""
        return Value(self.type, "lshr", (self, constant(self.type, places)))

    def __gt__(self, other: Value) -> Value:
        return Value(self.type.of("i1"), "gt", (self, other))

    def equals(self, other: Value) -> Value:
        """Lane by lane, whether they are equal; `==` is Python's own."""
        return Value(self.type.of("i1"), "eq", (self, other))


class Access(NamedTuple):
    """A place in memory: which buffer, and how many values of `unit`, else of the accessed type, from its start.

    A vector lies at a multiple of its size, unless the places are counted in single values.
    """

    buffer: str
    at: Index
    unit: Type | None = None


class Variable(NamedTuple):
    """A value that statements replace: an accumulator."""

    name: str
    type: Type

    @property
    def value(self) -> Value:
        """What it holds now."""
        return Value(self.type, "get", (), self.name)


def load(type_: Type, buffer: str, at: Index) -> Value:
    """What a buffer holds, at so many values of that type from its start."""
    return Value(type_, "load", (), Access(buffer, at))


def load_from(type_: Type, buffer: str, at: Index) -> Value:
    """A vector that begins at any of the single values that a buffer holds."""
    return Value(type_, "load", (), Access(buffer, at, Type(type_.kind)))


def gather(buffer: str, places: Value) -> Value:
    """In each lane the i32 whose bytes begin so many bytes from a buffer's start, the lowest first."""
    return Value(places.type, "gather", (places,), Access(buffer, Index(), I8))


def constant(type_: Type, number: float) -> Value:
    """The same number in every lane."""
    return Value(type_, "constant", (), number)


def number(index: Index) -> Value:
    """The lowest 32 bits of an index as a value."""
    return Value(I32, "number", (), index)


def splat(value: Value, lanes: int) -> Value:
    """One number in every lane."""
    return value if lanes == 1 else Value(Type(value.type.kind, lanes), "splat", (value,))


def fma(a: Value, b: Value, c: Value) -> Value:
    """a * b + c, rounded once."""
    return Value(c.type, "fma", (a, b, c))


def floor(value: Value) -> Value:
    """The largest whole number that is not above it."""
    return Value(value.type, "floor", (value,))


def root(value: Value) -> Value:
    """The square root."""
    return Value(value.type, "sqrt", (value,))


def largest(a: Value, b: Value) -> Value:
    """Lane by lane the larger one."""
    return Value(a.type, "max", (a, b))


def smallest(a: Value, b: Value) -> Value:
    """Lane by lane the smaller one."""
    return select(a > b, b, a)


def select(mask: Value, a: Value, b: Value) -> Value:
    """Lane by lane a where the mask holds, else b."""
    return Value(a.type, "select", (mask, a, b))


def both(a: Value, b: Value) -> Value:
    """Lane by lane whether both masks hold."""
    return Value(a.type, "and", (a, b))


def convert(value: Value, kind: str) -> Value:
    """The same number as another kind: whole numbers to f32 and back (towards zero), i8 to i32 and back."""
    return Value(value.type.of(kind), "convert", (value,))


def bits(value: Value, kind: str) -> Value:
    """The same bits read as another kind of the same size."""
    return Value(value.type.of(kind), "bits", (value,))


def pair(a: Value, b: Value) -> Value:
    """a and b rounded to bfloat16, in the low and the high half of an i32 in each lane."""
    return Value(a.type.of("i32"), "pair", (a, b))


def neighbours(a: Value) -> Value:
    """The lanes of a rounded to bfloat16, two and two in an i32."""
    return Value(Type("i32", a.type.lanes // 2), "neighbours", (a,))


def dot(a: Value, b: Value, c: Value) -> Value:
    """c plus the products of the low halves and of the high halves of a and b, pairs of bfloat16."""
    return Value(c.type, "dot", (a, b, c))


def shuffle(a: Value, b: Value, lanes: Sequence[int]) -> Value:
    """Lanes picked from a (0, 1, ...) and then b."""
    return Value(Type(a.type.kind, len(lanes)), "shuffle", (a, b), tuple(lanes))


def total(value: Value) -> Value:
    """The sum of the lanes, halves added to halves: the same order on every processor."""
    lanes = value.type.lanes
    while lanes > 1:
        lanes //= 2
        value = shuffle(value, value, range(lanes)) + shuffle(value, value, range(lanes, 2 * lanes))
    return value
