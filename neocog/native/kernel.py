"""A small language for kernels: loops over whole numbers, vectors, and memory addressed by linear expressions.

A `Function` is built by Python code that runs once: each call on it appends a statement. What results is a value: a
tree of loops, stores and assignments, which `llvm.py` prints as LLVM IR. Nothing here knows about networks, or more
about a processor than how many lanes a vector has.

Every loop counts from 0 by 1, so an address is a sum of loop counters times constants: `Index`. That is enough for
whatever a network of fixed sizes needs, and lets the printer find what addresses have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class Type(NamedTuple):
    """A number, or a vector of `lanes` of them. Kinds: f32, i32, i8, and i1 for what a comparison gives."""

    kind: str
    lanes: int = 1

    def of(self, kind: str) -> Type:
        """As many lanes of another kind."""
        return Type(kind, self.lanes)


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


class Let(NamedTuple):
    """Name a value, or give a variable its first or its next value."""

    name: str
    value: Value
    mutable: bool = False


class Store(NamedTuple):
    """Write a value to memory."""

    to: Access
    value: Value


class Prefetch(NamedTuple):
    """Have what is at a place brought into the cache, without waiting for it."""

    at: Access


@dataclass
class Loop:
    """Run the body for counter = start, ..., stop - 1. `always` says that this is known to be at least once."""

    counter: str
    start: Index | Bound
    stop: Index | Bound
    body: list[Statement] = field(default_factory=list)

    @property
    def always(self) -> bool:
        """Whether it is certain that the body runs."""
        ends = (self.start, self.stop)
        if not all(isinstance(end, Index) and not end.terms for end in ends):
            return False
        start, stop = (end.constant for end in ends if isinstance(end, Index))
        return stop > start


class Call(NamedTuple):
    """Run another function: its buffers by offset from this one's, and its numbers."""

    function: str
    buffers: tuple[Access, ...]
    numbers: tuple[Index, ...]


class ShapeTiles(NamedTuple):
    """Give each of the processor's tiles so many rows of 16 words (none: it is not used), all zero.

    A tile is a register for a matrix (AMX): 16 rows of 16 words, each word a number of single precision or a pair of
    bfloat16.
    """

    rows: tuple[int, ...]


class ClearTile(NamedTuple):
    """Set a tile to zeros."""

    tile: int


class LoadTile(NamedTuple):
    """Read a tile's rows from memory, each `step` of the place's units after the one before."""

    tile: int
    at: Access
    step: int


class StoreTile(NamedTuple):
    """Write a tile's rows to memory, each `step` of the place's units after the one before."""

    tile: int
    to: Access
    step: int


class MultiplyTiles(NamedTuple):
    """Add to each sum (m, n) the products of pairs a (m, k) and b (k, n): low halves, high halves, then both."""

    sums: int
    a: int
    b: int


Statement = Let | Store | Prefetch | Loop | Call | ShapeTiles | ClearTile | LoadTile | StoreTile | MultiplyTiles
TILES = 8
TILE_ROWS = 16


class Function:
    """A kernel under construction. `buffers` are pointers that do not overlap, `numbers` whole-number arguments.

    Where a generator had a choice, `form` names what it took, and `tile` the sizes of what is computed at once.
    """

    def __init__(self, name: str, buffers: Sequence[str], numbers: Sequence[str] = ()) -> None:
        self.name, self.buffers, self.numbers = name, tuple(buffers), tuple(numbers)
        self.form = ""
        self.tile: dict[str, int] = {}
        self.body: list[Statement] = []
        self._open = [self.body]
        self._names = 0

    def number(self, name: str) -> Index:
        """One of the function's number arguments."""
        assert name in self.numbers, name  # noqa: S101  # a mistake in a generator, never of a user
        return Index(0, ((name, 1),))

    @contextmanager
    def loop(self, stop: Index | Bound | int, start: Index | Bound | int = 0) -> Iterator[Index]:
        """What is appended inside runs for each whole number from `start` up to, not including, `stop`."""
        start = Index(start) if isinstance(start, int) else start
        stop = Index(stop) if isinstance(stop, int) else stop
        made = Loop(self._name("i"), start, stop)
        self._open[-1].append(made)
        self._open.append(made.body)
        yield Index(0, ((made.counter, 1),))
        self._open.pop()

    def let(self, value: Value) -> Value:
        """The value under a name, so that using it again does not compute it again."""
        name = self._name("v")
        self._open[-1].append(Let(name, value))
        return Value(value.type, "get", (), name)

    def variable(self, value: Value) -> Variable:
        """A variable that starts as `value`."""
        name = self._name("a")
        self._open[-1].append(Let(name, value, mutable=True))
        return Variable(name, value.type)

    def set(self, variable: Variable, value: Value) -> None:
        """Replace what a variable holds."""
        self._open[-1].append(Let(variable.name, value, mutable=True))

    def store(self, buffer: str, at: Index, value: Value) -> None:
        """Write a value to a buffer, at so many values of its type from the start."""
        self._open[-1].append(Store(Access(buffer, at), value))

    def store_to(self, buffer: str, at: Index, value: Value) -> None:
        """Write a vector that begins at any of the single values that a buffer holds."""
        self._open[-1].append(Store(Access(buffer, at, Type(value.type.kind)), value))

    def prefetch(self, type_: Type, buffer: str, at: Index) -> None:
        """Ask for a value of that type before it is needed."""
        self._open[-1].append(Prefetch(Access(buffer, at, type_)))

    def call(self, function: Function, buffers: dict[str, Access], numbers: Sequence[Index] = ()) -> None:
        """Run another function. `buffers` say where its own begin: in which of this one's, and how many f32 further."""
        places = tuple(buffers[name] for name in function.buffers)
        self._open[-1].append(Call(function.name, places, tuple(numbers)))

    # -- tiles -------------------------------------------------------------------------------------------------

    def shape_tiles(self, rows: Sequence[int]) -> None:
        """Give the tiles their numbers of rows; those that are not named are not used."""
        self._open[-1].append(ShapeTiles((*rows, *[0] * (TILES - len(rows)))))

    def clear_tile(self, tile: int) -> None:
        """Set a tile to zeros."""
        self._open[-1].append(ClearTile(tile))

    def load_tile(self, tile: int, type_: Type, buffer: str, at: Index, step: int) -> None:
        """Read a tile; `at` and `step` count values of `type_`."""
        self._open[-1].append(LoadTile(tile, Access(buffer, at, type_), step))

    def store_tile(self, tile: int, type_: Type, buffer: str, at: Index, step: int) -> None:
        """Write a tile; `at` and `step` count values of `type_`."""
        self._open[-1].append(StoreTile(tile, Access(buffer, at, type_), step))

    def multiply_tiles(self, sums: int, a: int, b: int) -> None:
        """Add the product of two tiles to a third."""
        self._open[-1].append(MultiplyTiles(sums, a, b))

    def _name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"


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
