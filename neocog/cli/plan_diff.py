"""`neocog plan A --diff B`: what changes from one network to another."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby

from ..errors import NeocogError, clipped
from ..plan import Plan
from ..plan.difference import Change, Difference, Figure, difference
from ..plan.tables import csv_table, markdown_table, per_axis, size
from .output import console, print_json, print_table, print_wrapped
from .plan_one import planned
from .source import read_network

MARKS = {"kept": "", "changed": "~", "added": "+", "removed": "-"}
LAYERS = ("", "A", "B", "written", "output", "more\nparameters", "more\nMACs")
FIGURES = ("", "A", "B", "change", "in %")
TEXT = ("", "A", "B", "written", "output")
CSV = tuple(f"{column}_{of}" for column in ("name", "token", "output", "parameters", "macs") for of in "ab")

LONGEST_RUN = 3
"""Of layers that are kept, longer runs are shown by their first and last."""


def run(args: argparse.Namespace) -> int:
    """Print the comparison."""
    a, b = _plan("NET", args), _plan("--diff", args)
    found = difference(a, b)
    if args.json:
        print_json(found.as_dict())
    elif args.format == "csv":
        print(csv_table(("change", *CSV), map(_csv_row, found.layers)), end="")
    elif args.format == "markdown":
        layers = markdown_table([" ".join(name.split()) for name in LAYERS], _layers(found), TEXT)
        print("\n".join([*layers, "", *markdown_table(FIGURES, map(_figure, found.figures), FIGURES[:1])]))
    else:
        print_difference(found, names=(args.net, args.diff))
    return 0


def _plan(which: str, args: argparse.Namespace) -> Plan:
    """The plan of NET or of `--diff`, either of which an error names. -D is for NET."""
    source = args if which == "NET" else argparse.Namespace(net=args.diff, defines=[])
    try:
        return planned(read_network(source), args)
    except NeocogError as error:
        raise error.at(f"{which}: {error.where}" if error.where else which) from None


def print_difference(found: Difference, names: tuple[str, str]) -> None:
    """The layers and the figures of both networks beside each other."""
    out = console()
    for letter, name in zip("AB", names, strict=True):
        print_wrapped(out, f"{letter}  {clipped(' '.join(name.split()), 200)}")
    out.print()
    print_table(
        out, LAYERS, _layers(found), text=("", "A", "B", "output"), prose="written", optional=("more\nMACs", "output")
    )
    out.print()
    print_table(out, FIGURES, [*map(_figure, found.figures)], text=FIGURES[:1], optional=("in %",))


def _layers(found: Difference) -> list[tuple[str, ...]]:
    return [row for kind, run in groupby(found.layers, lambda one: one.kind) for row in _run(kind, list(run))]


def _run(kind: str, run: Sequence[Change]) -> Iterator[tuple[str, ...]]:
    """Rows for layers that follow each other and have changed in the same way."""
    if kind != "kept" or len(run) <= LONGEST_RUN:
        yield from map(_layer, run)
    else:
        yield _layer(run[0])
        yield ("", "...", "...", f"{len(run) - 2:,} more kept", "", "", "")
        yield _layer(run[-1])


def _layer(change: Change) -> tuple[str, ...]:
    sides = [row for row in change if row]
    names = [row.name if row else "" for row in change]
    written = " => ".join(dict.fromkeys(row.node.layer.token for row in sides))
    output = " => ".join(dict.fromkeys(str(row.output) for row in sides))
    costs = [(row.cost.parameters, row.cost.macs) if row else (0, 0) for row in change]
    more = (f"{b - a:+,}" if b - a else "" for a, b in zip(*costs, strict=True))
    return (MARKS[change.kind], *names, written, output, *more)


def _csv_row(change: Change) -> list[object]:
    sides: list[tuple[object, ...]] = [
        (row.name, row.node.layer.token, row.output, row.cost.parameters, row.cost.macs) if row else ("",) * 5
        for row in change
    ]
    return [change.kind, *(value for pair in zip(*sides, strict=True) for value in pair)]


def _figure(figure: Figure) -> tuple[str, ...]:
    change = figure.change
    if figure.name.endswith("_bytes"):
        name = f"{figure.name.removesuffix('_bytes')} memory"
        a, b = size(figure.a), size(figure.b)
        signed = f"{'-' if figure.b < figure.a else '+'}{size(abs(figure.b - figure.a))}"
    elif figure.name == "receptive_field":
        name, a, b = "last map sees", per_axis(figure.a), per_axis(figure.b)
        signed = "" if change is None else f"{change:+g}"
    else:
        name = {"macs": "MACs"}.get(figure.name, figure.name)
        a, b, signed = f"{figure.a:,}", f"{figure.b:,}", f"{figure.b - figure.a:+,}"
    relative = "" if figure.relative is None or not change else f"{figure.relative:+.1%}"
    return name, a, b, signed if change else "", relative
