"""How much a kernel does, counted in its text: every loop's bounds are known, so nothing has to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .expressions import Access, Bound, Index, Type, Value
from .kernel import TILE_ROWS, Call, Function, Let, LoadTile, Loop, MultiplyTiles, Prefetch, Statement, Store, StoreTile
from .straight import parts

SLOW = ("div", "sqrt")
PRODUCTS = ("fma", "dot")
FREE = ("get", "constant", "splat", "bits", "load")
"""What costs nothing, is counted with what uses it, or, as `load`, elsewhere."""
ROW = Type("i32", TILE_ROWS)


class Effort(NamedTuple):
    """What is done, in instructions on vectors (or on single numbers, which take as long), turns of loops and bytes.

    `products` are multiply-adds, `tiles` products of tiles; `slow` are divisions and square roots, `other` all further
    arithmetic; `moves` are loads and stores, of a tile one for each row. `bytes` are those between the first and the
    last that each buffer is touched at, or as many as are moved, if that is less.
    """

    products: float = 0.0
    other: float = 0.0
    slow: float = 0.0
    moves: float = 0.0
    turns: float = 0.0
    tiles: float = 0.0
    bytes: float = 0.0

    def plus(self, more: Effort, times: float = 1.0) -> Effort:
        """Both, the second so many times."""
        return Effort(*(a + times * b for a, b in zip(self, more, strict=True)))

    def in_whole(self, part: float) -> Effort:
        """As instructions on the processor's widest vectors, of whose time these take such a part."""
        vectors = {name: part * getattr(self, name) for name in ("products", "other", "slow", "moves")}
        return self._replace(**vectors)


NOTHING = Effort()


class Counter:
    """Counts a program's functions, each once for the same numbers."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.functions = functions
        self._known: dict[tuple[str, tuple[int, ...]], Effort] = {}

    def effort(self, function: Function, numbers: Sequence[int] = ()) -> Effort:
        """Of one call with these numbers."""
        key = (function.name, tuple(numbers))
        if key not in self._known:
            given = dict(zip(function.numbers, numbers, strict=True))
            touched = _Touched({name: (value, value) for name, value in given.items()})
            touched.walk(function.body)
            found = self._count(function.body, given)
            moved = found.moves * touched.widest  # less than what lies between, where steps are wide
            self._known[key] = found.plus(Effort(bytes=min(touched.bytes, moved)))
        return self._known[key]

    def _count(self, body: Iterable[Statement], at: dict[str, int]) -> Effort:
        found = NOTHING
        for statement in body:
            match statement:
                case Loop():
                    found = found.plus(self._loop(statement, at))
                case Call(name, _, numbers):
                    found = found.plus(self.effort(self.functions[name], [_value(n, at) for n in numbers]))
                case Let(_, value):
                    found = found.plus(_arithmetic(value))
                case Store(_, value):
                    found = found.plus(_arithmetic(value)).plus(Effort(moves=1))
                case Prefetch():
                    found = found.plus(Effort(moves=1))
                case LoadTile() | StoreTile():
                    found = found.plus(Effort(moves=TILE_ROWS))
                case MultiplyTiles():
                    found = found.plus(Effort(tiles=1))
        return found

    def _loop(self, loop: Loop, at: dict[str, int]) -> Effort:
        turns = range(_value(loop.start, at), _value(loop.stop, at))
        if not turns:
            return NOTHING
        if loop.counter in _deciding(loop.body):
            found = NOTHING
            for k in turns:
                found = found.plus(self._count(loop.body, {**at, loop.counter: k}))
        else:
            found = NOTHING.plus(self._count(loop.body, at), len(turns))
        return found._replace(turns=found.turns + len(turns))


def _value(index: Index | Bound, at: Mapping[str, int]) -> int:
    if isinstance(index, Bound):
        values = [_value(one, at) for one in index.of]
        return max(values) if index.which == "max" else min(values)
    return index.constant + sum(factor * at[name] for name, factor in index.terms)


def _deciding(body: Iterable[Statement]) -> set[str]:
    """The counters that say how often a loop inside runs, or what a call gets."""
    found: set[str] = set()
    for statement in body:
        if isinstance(statement, Loop):
            found |= {name for end in (statement.start, statement.stop) for one in _ends(end) for name, _ in one.terms}
            found |= _deciding(statement.body)
        elif isinstance(statement, Call):
            found |= {name for number in statement.numbers for name, _ in number.terms}
    return found


def _ends(end: Index | Bound) -> tuple[Index, ...]:
    return end.of if isinstance(end, Bound) else (end,)


def _arithmetic(value: Value) -> Effort:
    ops = [one.op for one in parts(value)]
    products, slow = (sum(op in kind for op in ops) for kind in (PRODUCTS, SLOW))
    free = sum(op in FREE for op in ops)
    return Effort(products=products, other=len(ops) - products - slow - free, slow=slow, moves=ops.count("load"))


class _Touched:
    """The part of each buffer that statements touch, by the least and the largest value of every counter."""

    def __init__(self, counters: dict[str, tuple[int, int]]) -> None:
        self.counters = counters
        self.ends: dict[str, tuple[int, int]] = {}
        self.widest = 0

    @property
    def bytes(self) -> int:
        """Of all buffers."""
        return sum(after - first for first, after in self.ends.values())

    def walk(self, body: Iterable[Statement]) -> None:
        """Look at statements; what called functions touch is counted there."""
        for statement in body:
            if isinstance(statement, Loop):
                first, last = self._range(statement.start)[0], self._range(statement.stop)[1] - 1
                if first <= last:
                    self.counters[statement.counter] = (first, last)
                    self.walk(statement.body)
            elif isinstance(statement, Let | Store):
                self._look(statement)
            elif isinstance(statement, LoadTile):
                self._touch_rows(statement.at, statement.step)
            elif isinstance(statement, StoreTile):
                self._touch_rows(statement.to, statement.step)

    def _look(self, statement: Let | Store) -> None:
        for one in parts(statement.value):
            if one.op == "load" and isinstance(one.detail, Access):
                self._touch(one.detail, one.type)
        if isinstance(statement, Store):
            self._touch(statement.to, statement.value.type)

    def _touch(self, access: Access, type_: Type) -> None:
        first, last = self._range(access.at)
        unit = (access.unit or type_).bytes
        self.widest = max(self.widest, type_.bytes)
        before = self.ends.get(access.buffer, (first * unit, first * unit))
        self.ends[access.buffer] = min(before[0], first * unit), max(before[1], last * unit + type_.bytes)

    def _touch_rows(self, access: Access, step: int) -> None:
        """The first and the last of a tile's rows."""
        for row in (0, TILE_ROWS - 1):
            self._touch(access._replace(at=access.at + row * step), ROW)

    def _range(self, index: Index | Bound) -> tuple[int, int]:
        """The least and the largest value."""
        ends = [self._linear(one) for one in _ends(index)]
        pick = min if isinstance(index, Bound) and index.which == "min" else max
        return pick(low for low, _ in ends), pick(high for _, high in ends)

    def _linear(self, index: Index) -> tuple[int, int]:
        reached = [(f * self.counters[name][0], f * self.counters[name][1]) for name, f in index.terms]
        return index.constant + sum(map(min, reached)), index.constant + sum(map(max, reached))
