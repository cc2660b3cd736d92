"""A small language for kernels: loops over whole numbers, vectors, and memory.

A `Function` is built by Python code that runs once: each call on it appends a statement. What results is a value: a
tree of loops, stores and assignments of expressions (`expressions.py`), which `llvm.py` prints as LLVM IR. Nothing here
knows about networks, or more about a processor than how many lanes a vector has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from .expressions import Access, Bound, Index, Type, Value, Variable


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
