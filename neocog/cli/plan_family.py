"""`neocog plan PATTERN -D N=1..3 -D w=16,32`: every network of a family with its costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from ..errors import RunError
from ..notation import Family, Member
from ..plan.family import MEASURES, FamilyPlan, Planned, plan_family
from ..plan.tables import csv_table, flat, markdown_table, per_axis, size
from ..wording import count_of
from .output import console, print_error, print_json, print_table, print_wrapped
from .source import placed

COSTS = ("layers", "parameters", "MACs", "activations", "training", "sees")
SAME = "the same as"
CSV = ("layers", "parameters", "connections", "macs", "activations", "inference_bytes", "training_bytes", "size")
OPTIONS = {"parameters": "--max-params", "macs": "--max-macs", "memory": "--max-memory"}

MOST_REASONS, MOST_CHOICES = 10, 3
"""Of what cannot be planned, so many reasons are shown, each with so many of its members."""


def run(args: argparse.Namespace, family: Family) -> int:
    """Print every member; exit code 1 if none is left."""
    limits = {name: getattr(args, option[2:].replace("-", "_")) for name, option in OPTIONS.items()}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    found = plan_family(_watched(family), args.batch, args.dtype, args.optimizer, limits, args.sort or "macs")
    if len(found.refused) == len(family) and len({one.reason for one in found.refused}) == 1:
        with placed(args.net, family.text):
            raise found.refused[0].error  # not the values' mistake but the text's
    if args.json:
        print_json(found.as_dict())
    else:
        _print(found, family, args)
    return 0 if found.members else _none_left(found)


def _watched(family: Family) -> Iterable[Member]:
    """The members, with a bar on a terminal's stderr while they are planned."""
    err = console(stderr=True)
    if not err.is_terminal:
        return family
    from rich.progress import track

    return track(family, "planning", total=len(family), console=err, transient=True)


def _none_left(found: FamilyPlan) -> int:
    if found.left_out:
        first = found.left_out[0]
        needs = " ".join(f"{OPTIONS[name]} {MEASURES[name](first.overview)}" for name in found.limits)
        error = RunError(
            "no network of the family is within the limits", hint=f"{needs} for {_choice(first.variables)}"
        )
    else:
        error = RunError("no network of the family can be planned")
    return print_error(error, as_json=False)  # the document has been printed


def _print(found: FamilyPlan, family: Family, args: argparse.Namespace) -> None:
    if args.format == "csv":
        print(csv_table((*family.values, *CSV, "network"), map(_csv_row, found.members)), end="")
    elif found.members:
        _print_members(found, tuple(family.values), markdown=args.format == "markdown")
    out = console(stderr=args.format != "table")
    for line in _summary(found):
        print_wrapped(out, line)


def _print_members(found: FamilyPlan, variables: tuple[str, ...], *, markdown: bool) -> None:
    same = (SAME,) if any(one.also for one in found.members) else ()
    header = (*variables, *COSTS, *same)
    rows = [_cells(one)[: len(header)] for one in found.members]
    if markdown:
        print("\n".join(markdown_table(header, rows, same)))
    else:
        print_table(console(), header, rows, text=same, optional=("activations", "layers", *same, "sees"))
        print()


def _cells(one: Planned) -> tuple[str, ...]:
    totals = one.overview["totals"]
    counts = (f"{totals[name]:,}" for name in ("layers", "parameters", "macs", "activations"))
    sees = per_axis(one.overview["receptive_field"]["size"])
    variables = map(str, one.variables.values())
    return (*variables, *counts, size(one.overview["memory"]["training_bytes"]), sees, _choices(one.also))


def _csv_row(one: Planned) -> list[object]:
    overview = one.overview
    known = overview["totals"] | overview["memory"] | overview["receptive_field"]
    return [*one.variables.values(), *(flat(known[name]) for name in CSV), overview["network"]]


def _summary(found: FamilyPlan) -> Iterator[str]:
    """What the table does not show, in words."""
    repeats = sum(len(one.also) for one in found.members)
    again = f"; {count_of(repeats, 'more choice')} of values would give one of them again" if repeats else ""
    yield f"{count_of(len(found.members), 'network')}{again}"
    if found.left_out:
        over = [name for one in found.left_out for name in one.over(found.limits)]
        each = ", ".join(f"{over.count(name):,} over {OPTIONS[name]}" for name in found.limits if name in over)
        yield f"{count_of(len(found.left_out), 'network')} left out: {each}"
    if found.refused:
        yield f"{len(found.refused):,} cannot be planned:"
        yield from _reasons(found)


def _reasons(found: FamilyPlan) -> Iterator[str]:
    choices: dict[str, list[dict[str, int]]] = {}
    for one in found.refused:
        choices.setdefault(one.reason, []).append(one.variables)
    for reason in list(choices)[:MOST_REASONS]:
        yield f"  {_choices(choices[reason])}: {reason}"
    if len(choices) > MOST_REASONS:
        yield f"  and for {count_of(len(choices) - MOST_REASONS, 'more reason')}, which --json lists"


def _choices(several: list[dict[str, int]]) -> str:
    shown = ", ".join(map(_choice, several[:MOST_CHOICES]))
    return f"{shown} and {len(several) - MOST_CHOICES:,} more" if len(several) > MOST_CHOICES else shown


def _choice(variables: dict[str, int]) -> str:
    return " ".join(f"{name}={value}" for name, value in variables.items())
