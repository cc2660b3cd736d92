"""Two plans compared: their layers as a text diff compares lines, and their totals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .plan import Plan, Row
from .receptive_field import as_numbers

TOTALS = ("layers", "parameters", "connections", "macs", "activations")


class Change(NamedTuple):
    """A layer of network a, one of b, or two that stand in each other's place."""

    a: Row | None
    b: Row | None

    @property
    def kind(self) -> str:
        """`kept` (the same layer on the same volumes), `changed`, `added` (in b only) or `removed` (in a only)."""
        if self.a is None:
            return "added"
        if self.b is None:
            return "removed"
        return "kept" if _exactly(self.a) == _exactly(self.b) else "changed"

    def as_dict(self) -> dict[str, Any]:
        """`{"change", "a", "b"}` with the rows of the plans, or None."""
        return {"change": self.kind, "a": self.a and self.a.as_dict(), "b": self.b and self.b.as_dict()}


class Figure(NamedTuple):
    """A total of both networks: a number, or a list where the axes of a receptive field differ."""

    name: str
    a: Any
    b: Any

    @property
    def change(self) -> float | None:
        """b - a; None where they are no numbers."""
        return None if isinstance(self.a, list) or isinstance(self.b, list) else self.b - self.a

    @property
    def relative(self) -> float | None:
        """The change as a part of a; None where there is none."""
        return self.change / self.a if self.change is not None and self.a else None

    def as_dict(self) -> dict[str, Any]:
        """`{"name", "a", "b", "change", "relative"}`."""
        return {**self._asdict(), "change": self.change, "relative": self.relative}


@dataclass(frozen=True)
class Difference:
    """What changes from plan a to plan b."""

    a: Plan
    b: Plan
    layers: tuple[Change, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Totals, bytes, and the receptive field of the last map."""
        pairs: dict[str, list[Any]] = {}
        for plan in (self.a, self.b):
            values: dict[str, Any] = {name: plan.totals[name] for name in TOTALS}
            values |= {name: plan.memory[name] for name in ("inference_bytes", "training_bytes")}
            values["receptive_field"] = as_numbers(plan.last_map.field)["size"]
            for name, value in values.items():
                pairs.setdefault(name, []).append(value)
        return tuple(Figure(name, *pair) for name, pair in pairs.items())

    def as_dict(self) -> dict[str, Any]:
        """One JSON-ready document: both overviews, the layers in order, the figures."""
        return {
            "a": self.a.overview(),
            "b": self.b.overview(),
            "layers": [change.as_dict() for change in self.layers],
            "figures": [figure.as_dict() for figure in self.figures],
        }


def difference(a: Plan, b: Plan) -> Difference:
    """The changes that turn plan a into plan b.

    Layers that are the same on the same volumes are put beside each other, as many as can be in order; between
    them those with the same token, and then those with the same word.
    """
    return Difference(a, b, tuple(_aligned(a.rows, b.rows, (_exactly, _token, _word))))


def _exactly(row: Row) -> Hashable:
    return row.node.layer.token, row.inputs, row.output


def _token(row: Row) -> Hashable:
    return row.node.layer.token


def _word(row: Row) -> Hashable:
    return row.node.layer.op


def _aligned(a: Sequence[Row], b: Sequence[Row], keys: Sequence[Callable[[Row], Hashable]]) -> Iterator[Change]:
    if not (a and b and keys):
        yield from (Change(row, None) for row in a)
        yield from (Change(None, row) for row in b)
        return
    key, *looser = keys
    i = j = 0
    for k, m in common([key(row) for row in a], [key(row) for row in b]):
        yield from _aligned(a[i:k], b[j:m], looser)
        yield Change(a[k], b[m])
        i, j = k + 1, m + 1
    yield from _aligned(a[i:], b[j:], looser)


def common(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of positions; equal beginnings and ends are part of it."""
    start, end = 0, 0
    shorter = min(len(a), len(b))
    while start < shorter and a[start] == b[start]:
        start += 1
    while end < shorter - start and a[-1 - end] == b[-1 - end]:
        end += 1
    inside = _longest(a[start : len(a) - end], b[start : len(b) - end])
    return [
        *((k, k) for k in range(start)),
        *((start + i, start + j) for i, j in inside),
        *((len(a) - k, len(b) - k) for k in range(end, 0, -1)),
    ]


def _longest(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """By whole numbers of len(a) bits, one for each prefix of b; a thousand times faster than a table of lengths.

    Bit i of a prefix's number is 0 where a[: i + 1] has one common element more with it than a[:i] has.
    Source: Hyyrö, "Bit-parallel LCS-length computation revisited", AWOCA 2004.
    """
    where: dict[Hashable, int] = {}
    for i, one in enumerate(a):
        where[one] = where.get(one, 0) | 1 << i
    every = (1 << len(a)) - 1
    prefixes = [every]
    for one in b:
        hits = prefixes[-1] & where.get(one, 0)
        prefixes.append(((prefixes[-1] + hits) | (prefixes[-1] - hits)) & every)
    found, i, j = [], len(a) - 1, len(b)
    while i >= 0 and j > 0:
        if prefixes[j] >> i & 1:
            i -= 1
        elif not prefixes[j - 1] >> i & 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            found.append((i + 1, j))
    return found[::-1]
