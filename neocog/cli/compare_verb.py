"""`neocog compare RUN RUN...`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NeocogError
from .arguments import figure_file
from .output import console, print_json, print_table, print_wrapped

if TYPE_CHECKING:
    from ..report.comparison import Run

EXAMPLES = """examples:
  neocog compare runs/mnist-1 runs/mnist-2
  neocog compare runs/mnist-* -o comparison.html
  neocog compare runs/mnist-1 runs/mnist-2 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUNs and where the page goes."""
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="folders of finished runs; the first is what others are compared with"
    )
    parser.add_argument(
        "-o", metavar="FILE.html", dest="page", type=figure_file(".html"), help="write it all as a page, with curves"
    )


def run(args: argparse.Namespace) -> int:
    """Print what differs in settings and results, and whether chance would do as well."""
    if len(args.runs) < 2:
        hint = f"neocog compare {args.runs[0][:80]} runs/mnist-2"
        raise NeocogError("a comparison is of two runs or more", received=args.runs[0][:80], hint=hint)
    from ..files import write_atomically
    from ..report.comparison import render_comparison
    from ..training.run import read_run

    runs = [read_run(Path(folder), name) for folder, name in zip(args.runs, _names(args.runs), strict=True)]
    if args.page:
        write_atomically(args.page, render_comparison(runs).encode())
    if args.json:
        print_json(_document(runs, args.runs))
    else:
        _print(runs, args.page)
    return 0


def _names(folders: Sequence[str]) -> list[str]:
    """The folders' own names, or as they were written where two have the same."""
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(folders)


def _document(runs: Sequence[Run], folders: Sequence[str]) -> dict[str, Any]:
    from ..report.comparison import contest, differences

    return {
        "runs": [
            {
                "folder": folder,
                "test_accuracy": run.record["test_accuracy"],
                "interval": list(run.interval),
                "wrong": run.total - run.right,
                "test_loss": run.record["test_loss"],
                "epochs": run.record["epochs"],
                "seconds": run.record["seconds"],
                "images_per_second": run.record["images_per_second"],
            }
            for folder, run in zip(folders, runs, strict=True)
        ],
        "settings": dict(differences(runs)),
        "against_the_first": [
            {**found._asdict(), "interval": list(found.interval), "decided": found.decided}
            for found in (contest(runs[0], other) for other in runs[1:])
        ],
    }


def _print(runs: Sequence[Run], page: Path | None) -> None:
    from ..report.comparison import FIGURES, SURE, differences, verdict
    from ..report.html import plain

    out, names = console(), [run.name for run in runs]
    print_table(out, ("run", *FIGURES), [(r.name, *r.figures()) for r in runs], text=("run",), optional=FIGURES[:3:-1])
    out.print()
    rows = [(name.replace("_", " "), *map(plain, values)) for name, values in differences(runs)]
    if rows:
        print_table(out, ("setting", *names), rows, text=("setting", *names))
    else:
        out.print("the settings are the same")
    out.print()
    for other in runs[1:]:
        print_wrapped(out, verdict(runs[0], other))
    print_wrapped(out, SURE)
    if page:
        out.print(f"\npage  {page}", soft_wrap=True)
