"""A text as it is typed -> all that its plan says, or the mistake with its place and the repairs that work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ..errors import NeocogError, NotationError
from ..network import Network
from ..plan import Plan, PlanError, plan
from ..plan.advice import advice
from ..plan.drawing import draw
from ..plan.tables import cells, size, summary
from ..plan.timeline import Moment
from ..zoo import names, text

MOST_DRAWN = 400
"""Layers up to which a network is drawn: more fill no screen."""
MOST_REPAIRS, MOST_MOMENTS, DRAFTS = 6, 600, 8
"""Repairs that are offered, moments that are drawn, and plans that are kept: of 20,000 layers one takes some 40 MB."""
PLACE = re.compile(r"line (\d+), column (\d+)")
OPTION = re.compile(r"\b([A-Za-z]{1,8})=(\"[^\"]*\"|\w+)")
WORD = re.compile(r"\b[A-Z][A-Z0-9]*(?:-\d+)?\b")


@lru_cache(maxsize=DRAFTS)
def draft(source: str, batch: int = 1, dtype: str = "float32", optimizer: str = "momentum") -> dict[str, Any]:
    """What the page shows of a text: `ok`, then the plan, or the error and the layers before it."""
    try:
        made = plan(Network.parse(source), batch=batch, dtype=dtype, optimizer=optimizer)
    except NeocogError as error:
        rows = error.rows if isinstance(error, PlanError) else ()
        layers = [_layer(row.as_dict(), cells(row)) for row in rows]
        return {"ok": False, "error": mistake(error, source), "layers": layers}
    return {"ok": True, **_planned(made)}


def zoo() -> list[dict[str, str]]:
    """The networks that come with neocog, as texts to start from."""
    return [{"name": name, "text": text(name)} for name in names()]


def _planned(made: Plan) -> dict[str, Any]:
    overview = made.overview()
    peak = max(moment.bytes for moment in made.training.moments)
    return {
        "network": overview["network"],
        "layers": [_layer(row.as_dict(), cells(row)) for row in made.rows],
        "totals": made.totals,
        "summary": summary(made),
        "memory": {**overview["memory"], "said": size(peak)},
        "moments": [[moment.phase, moment.layer, moment.bytes, size(moment.bytes)] for moment in _moments(made)],
        "advice": [one._asdict() for one in advice(made)],
        "drawing": draw(made).decode() if len(made.rows) <= MOST_DRAWN else None,
    }


def _moments(made: Plan) -> list[Moment]:
    """The moments of a training step; of a long one the fullest of each few."""
    moments = made.training.moments
    few = -(-len(moments) // MOST_MOMENTS)
    return [max(moments[k : k + few], key=lambda one: one.bytes) for k in range(0, len(moments), few)]


def _layer(row: dict[str, Any], shown: tuple[str, ...]) -> dict[str, Any]:
    kept = ("name", "op", "token", "from", "input", "output", "parameters", "macs", "receptive_field")
    return {name: row[name] for name in kept} | {"cells": list(shown)}


def mistake(error: NeocogError, source: str) -> dict[str, Any]:
    """An error as plain values, with the place in the text it is about, from 0, and repairs that were tried."""
    begin, end = span(error, source)
    return {
        "kind": type(error).__name__,
        "where": error.where,
        "rule": error.rule,
        "received": error.received,
        "hint": error.hint,
        "excerpt": error.excerpt,
        "begin": begin,
        "end": end,
        "repairs": list(_repairs(error, source, begin, end)),
    }


def span(error: NeocogError, source: str) -> tuple[int, int]:
    """Where in the text an error is, as positions of characters; both 0 where it names no place."""
    found = PLACE.search(error.where)
    if not found:
        return 0, 0
    line, column = int(found[1]), int(found[2])
    begin = min(len(source), sum(len(one) + 1 for one in source.split("\n")[: line - 1]) + column - 1)
    carets = error.excerpt.count("^")
    token = re.match(r"[A-Za-z0-9_.-]+(?:\([^)]*\))?", source[begin:])
    width = carets if isinstance(error, NotationError) and carets else len(token[0]) if token else 1
    return begin, max(begin, min(len(source), begin + width))


def _repairs(error: NeocogError, source: str, begin: int, end: int) -> Iterator[dict[str, str]]:
    """What the hint says to try, done to the text: those with which a plan gets further than without."""
    if begin == end:
        return
    before, found = _progress(source), 0
    for label, repaired in _tries(error.hint, source, begin, end):
        if found < MOST_REPAIRS and _progress(repaired) > before:
            found += 1
            yield {"label": label, "text": repaired}


def _tries(hint: str, source: str, begin: int, end: int) -> Iterator[tuple[str, str]]:
    token = source[begin:end]
    for name, value in OPTION.findall(hint):
        yield f"{name}={value}", source[:begin] + _with_option(token, name, value) + source[end:]
    for word in dict.fromkeys(WORD.findall(hint)):
        yield word, source[:begin] + word + source[end:]
    if "->" in hint:
        yield "->", f"{source[:begin]}-> {source[begin:]}"
    if "]" in hint:
        yield "]", f"{source[:begin].rstrip()}]{source[begin:]}"
    yield "-", f"{source[:begin].rstrip().removesuffix('->').rstrip()} {source[end:].lstrip()}".strip()


def _with_option(token: str, name: str, value: str) -> str:
    """`CONV5-6(S=2)` with S=1 in it."""
    head, bracket, inside = token.partition("(")
    kept = [part.strip() for part in inside.removesuffix(")").split(",") if bracket and part.strip()]
    kept = [part for part in kept if part.partition("=")[0].strip().upper() != name.upper()]
    return f"{head}({', '.join([*kept, f'{name}={value}'])})"


def _progress(source: str) -> float:
    """How far a text can be planned: 0 where it is none, else the number of layers; infinite for all of them."""
    try:
        plan(Network.parse(source))
    except PlanError as error:
        return 1 + len(error.rows)
    except NeocogError:
        return 0
    return float("inf")
