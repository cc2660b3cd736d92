"""`neocog plan NET`: one network, layer by layer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..network import Network
from ..plan import Plan, PlanError, Row, plan
from ..plan.tables import HEADER, TIMELINE_HEADER, cells, size, summary, timeline_cells, to_csv, to_markdown
from .output import console, print_json, print_table, print_wrapped
from .plan_limits import fitting, set_budgets, verdict
from .plan_measured import Findings, calibrated, needs_calibration
from .source import read_network

if TYPE_CHECKING:
    from rich.console import Console


def run(args: argparse.Namespace) -> int:
    """Print the plan; when a layer cannot take its input, the layers before it and the reason."""
    made = planned(read_network(args), args)
    if args.draw:
        _draw(made, args.draw, title=args.net)
    known = calibrated(made) if needs_calibration(args) else None
    budgets = set_budgets(made, args, known.fastest(made) if known else None)
    extra: dict[str, Any] = {"budgets": [budget.as_dict() for budget in budgets]} if budgets else {}
    if args.memory_limit:
        extra["memory_limit"] = fitting(made, args.memory_limit)
    if args.advice:
        extra["advice"] = _advice(made)
    if args.timeline:
        extra["timeline"] = [moment._asdict() for moment in made.training.moments]
    if known and known.native and (args.time or args.measure):
        extra["native"] = _native(made, known.native.threads)
    findings = Findings(made, args, known)
    _print(made, args, extra | findings.as_dict())
    if not args.json:
        findings.show(stderr=args.format != "table")
    return verdict(made, budgets)


def planned(network: Network, args: argparse.Namespace) -> Plan:
    """The plan for what the arguments ask; raises PlanError with the layers before it shown on stderr."""
    try:
        return plan(network, batch=args.batch, dtype=args.dtype, optimizer=args.optimizer)
    except PlanError as error:
        _print_rows(error.rows, stderr=True)
        raise


def _draw(made: Plan, file: Path, title: str) -> None:
    from ..files import write_atomically
    from ..plan.drawing import draw

    write_atomically(file, draw(made, file.suffix, title=title))


def _advice(made: Plan) -> list[dict[str, str]]:
    from ..plan.advice import advice

    return [one._asdict() for one in advice(made)]


def _native(made: Plan, threads: int) -> dict[str, Any]:
    """Bytes that the native engine takes, in all and by purpose."""
    from ..native.footprint import footprints

    found = footprints(made, threads)
    totals = {f"{mode}_bytes": one.total for mode, one in found.items()}
    return {"threads": threads, **totals, "parts": {mode: one._asdict() for mode, one in found.items()}}


def _print(made: Plan, args: argparse.Namespace, extra: dict[str, Any]) -> None:
    if args.json:
        print_json(made.as_dict() | extra)
    elif args.format == "csv":
        print(to_csv(made), end="")
    elif args.format == "markdown":
        print(to_markdown(made), end="")
    else:
        out = _print_rows(made.rows)
        out.print()
        for line in summary(made):
            print_wrapped(out, line)
    if "native" in extra and not args.json:
        inference, training = (size(extra["native"][f"{mode}_bytes"]) for mode in ("inference", "training"))
        line = f"the native engine takes {inference} for inference, {training} for training"
        print_wrapped(console(stderr=args.format != "table"), line)
    if args.timeline and not args.json:
        _print_timeline(made, stderr=args.format != "table")
    if "advice" in extra and not args.json:
        _print_advice(extra["advice"], stderr=args.format != "table")
    if "memory_limit" in extra and not args.json:
        _print_fitting(made, **extra["memory_limit"], stderr=args.format != "table")


def _print_timeline(made: Plan, *, stderr: bool) -> None:
    out = console(stderr=stderr)
    out.print()
    rows = timeline_cells(made, made.training)
    print_table(out, TIMELINE_HEADER, rows, text=TIMELINE_HEADER[:3], optional=("written",))


def _print_advice(all_of_it: list[dict[str, str]], *, stderr: bool) -> None:
    out = console(stderr=stderr)
    for one in all_of_it:
        place = f"{one['layer']} at {one['at']}" if one["at"] else one["layer"]
        print_wrapped(out, f"advice: {place}: {one['text']} ({one['rule']})")
    if not all_of_it:
        print_wrapped(out, "advice: none, every layer follows the sizing rules")


def _print_fitting(made: Plan, limit: int, largest_batch: int, *, stderr: bool) -> None:
    batch = f"batch {largest_batch:,} is the largest" if largest_batch else "not even one image is a batch"
    line = f"{batch} whose training fits {size(limit)} with {made.optimizer}, {made.dtype}"
    print_wrapped(console(stderr=stderr), line)


def _print_rows(rows: Sequence[Row], *, stderr: bool = False) -> Console:
    out = console(stderr=stderr)
    narrow = ("connections", "jump", "sees", "written")
    print_table(out, HEADER, [cells(row) for row in rows], text=HEADER[:2], optional=narrow)
    return out
