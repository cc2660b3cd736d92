"""`neocog check NET`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import RunError
from ..plan import Plan
from ..plan.tables import size
from ..wording import count_of
from .arguments import whole_from
from .output import console, print_json, print_table, print_wrapped
from .source import add_network, read_network

if TYPE_CHECKING:
    from ..check import Row, Watch

EXAMPLES = """examples:
  neocog check lenet5
  neocog check 'INPUT[16x16x3] -> CONV3-8(G=1, D=2) -> BN -> RELU -> GAP -> FC5' --seed 3
  neocog check my.net --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET and what the comparison is made on."""
    add_network(parser)
    parser.add_argument("--batch", type=whole_from(1), default=4, metavar="N", help="images to compare on (default 4)")
    parser.add_argument("--seed", type=whole_from(0), default=0, metavar="N", help="of weights and images (default 0)")


def run(args: argparse.Namespace) -> int:
    """Compare rule, NumPy, torch and finite differences; exit code 1 when any two disagree."""
    network = read_network(args)
    _refuse_too_large(network.plan(batch=args.batch))
    from ..check import check_network

    with _progress() as watch:
        rows = check_network(network, batch=args.batch, seed=args.seed, watch=watch)
    failed = [row for row in rows if not row.ok]
    if args.json:
        print_json({"network": str(network), "agree": not failed, "checks": [row._asdict() for row in rows]})
    else:
        _print(rows, failed)
    return 1 if failed else 0


def _refuse_too_large(plan: Plan) -> None:
    """Raise RunError where the check would run out of memory, and be killed, perhaps after minutes."""
    from ..check import needed_bytes
    from ..resources import available_memory

    needed, free = needed_bytes(plan), available_memory()
    if free is None or needed <= free:
        return
    one = needed_bytes(plan.network.plan(batch=1))
    smaller = f"--batch 1, which needs {size(one)}" if one <= free else "a smaller input, or fewer maps"
    raise RunError(
        f"a check compares in float64 and needs about {size(needed)} of memory; {size(free)} are free",
        received=f"{plan.totals['parameters']:,} parameters, --batch {plan.batch}",
        hint=smaller,
    )


@contextmanager
def _progress() -> Iterator[Watch | None]:
    """A line on a terminal that says what is being checked and for how long; elsewhere nothing."""
    err = console(stderr=True)
    if not err.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        *(TextColumn("checking {task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")),
        *(TimeElapsedColumn(),),
        console=err,
        transient=True,
    ) as bar:
        task = bar.add_task("")
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def _print(rows: list[Row], failed: list[Row]) -> None:
    checks = list(dict.fromkeys(row.check for row in rows))
    titles = [check.replace("-", "\n", 1).replace("-", " ") for check in checks]
    nodes: dict[str, dict[str, Row]] = {}
    for row in rows:
        nodes.setdefault(row.node, {})[row.check] = row
    table = [
        [name, next(iter(own.values())).token, *(_cell(own.get(check)) for check in checks)]
        for name, own in nodes.items()
    ]
    out = console()
    print_table(out, ["layer", "written", *titles], table, text=("layer", "written"), optional=_optional(titles))
    out.print()
    for row in failed:
        print_wrapped(out, f"{row.node}: {row.check} differs by {row.error:.1e}, allowed {row.tolerance:.0e}")
        print_wrapped(out, f"  {row.detail}")
    verdict = f"{len(failed)} disagree (!)" if failed else "all agree"
    print_wrapped(
        out, f"{count_of(len(rows), 'comparison')}, {verdict} (largest relative differences; 0 = exactly equal)"
    )


def _optional(titles: list[str]) -> list[str]:
    """What a narrow table does without: the layers' text, and the checks that are about shapes and bookkeeping."""
    least = ("shapes", "parameters", "buffers", "batch", "written", "receptive\nfield")
    return [name for name in least if name == "written" or name in titles]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    text = "0" if row.error == 0 else f"{row.error:.0e}"
    return text if row.ok else f"{text} !"
