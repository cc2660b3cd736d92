"""Kernels without what leads nowhere: names that nothing is stored from, and loops that run once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .expressions import Access, Bound, Index, Value
from .kernel import Call, Let, Loop, Statement, Store


def alive(statements: Sequence[Statement]) -> list[Statement]:
    """The statements without names that lead to nothing which is stored."""
    return _naming(statements, _used(statements))


def straightened(statements: Sequence[Statement]) -> list[Statement]:
    """The statements with the bodies of loops that run once, for a counter of 0, in place of the loops."""
    return list(_straight(statements, frozenset()))


def parts(value: Value) -> list[Value]:
    """An expression and all parts of it; what is one object is listed once."""
    found: dict[int, Value] = {}
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if id(part) not in found:
            found[id(part)] = part
            waiting.extend(part.args)
    return list(found.values())


def _naming(statements: Sequence[Statement], used: set[str]) -> list[Statement]:
    kept = [one for one in statements if not isinstance(one, Let) or one.name in used]
    return [replace(one, body=_naming(one.body, used)) if isinstance(one, Loop) else one for one in kept]


def _used(statements: Sequence[Statement]) -> set[str]:
    """The names that lead to something which is stored."""
    reads: dict[str, set[str]] = {}
    waiting: list[str] = []
    for statement in _every(statements):
        if isinstance(statement, Let | Store):
            names = {str(part.detail) for part in parts(statement.value) if part.op == "get"}
            if isinstance(statement, Store):
                waiting += names
            else:
                reads.setdefault(statement.name, set()).update(names)
    found: set[str] = set()
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += reads.get(name, ())
    return found


def _every(statements: Sequence[Statement]) -> Iterator[Statement]:
    for statement in statements:
        yield statement
        if isinstance(statement, Loop):
            yield from _every(statement.body)


def _straight(statements: Sequence[Statement], zeros: frozenset[str]) -> Iterator[Statement]:
    for statement in statements:
        match statement:
            case Loop(counter, Index(0, ()), Index(1, ()), body):
                yield from _straight(body, zeros | {counter})
            case Loop(counter, start, stop, body):
                yield Loop(counter, _without(start, zeros), _without(stop, zeros), list(_straight(body, zeros)))
            case Let(name, value, mutable):
                yield Let(name, _value(value, zeros, {}), mutable)
            case Store(to, value):
                yield Store(_without(to, zeros), _value(value, zeros, {}))
            case Call(function, buffers, numbers):
                places = tuple(_without(place, zeros) for place in buffers)
                yield Call(function, places, tuple(_without(number, zeros) for number in numbers))
            case _:
                yield statement


def _value(value: Value, zeros: frozenset[str], made: dict[int, Value]) -> Value:
    """The same expression; what was one object stays one."""
    if id(value) not in made:
        args = tuple(_value(arg, zeros, made) for arg in value.args)
        made[id(value)] = replace(value, args=args, detail=_without(value.detail, zeros))
    return made[id(value)]


def _without(what: Any, zeros: frozenset[str]) -> Any:
    """A place or a whole number where those counters are 0."""
    match what:
        case Index(constant, terms):
            return Index(constant, tuple((name, factor) for name, factor in terms if name not in zeros))
        case Access(buffer, at, unit):
            return Access(buffer, _without(at, zeros), unit)
        case Bound(which, of):
            return Bound(which, tuple(_without(index, zeros) for index in of))
    return what
