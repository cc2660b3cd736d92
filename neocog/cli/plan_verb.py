"""`neocog plan NET`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from ..plan import Plan, PlanError, Row, plan
from ..plan.memory import BYTES, OPTIMIZER_COPIES
from ..plan.tables import HEADER, cells, size, summary, to_csv, to_markdown
from .arguments import whole_from
from .output import console, print_error, print_json, print_table, print_wrapped
from .source import add_network, read_network

if TYPE_CHECKING:
    from rich.console import Console

    from ..plan.budgets import Budget

COUNT_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
BYTE_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

EXAMPLES = """examples:
  neocog plan lenet5
  neocog plan 'INPUT[32x32x3] -> [CONV3-32 -> RELU -> POOL2]*3 -> FC10'
  neocog plan vgg16 --batch 32 --optimizer adam
  neocog plan my.net -D N=2 --format csv > layers.csv
  neocog plan resnet20 --draw resnet20.svg
  neocog plan resnet50 --json | jq .totals
  neocog plan my.net --batch 64 --max-params 1M --max-macs 500M --max-memory 2GiB
  neocog plan resnet50 --memory-limit 6GiB
  neocog plan my.net --advice"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, what memory is computed for, and the form of the answer."""
    add_network(parser)
    parser.add_argument("--format", choices=("table", "csv", "markdown"), default="table", help="default table")
    parser.add_argument("--draw", type=_svg_file, metavar="FILE", help="write the network as a figure too, to FILE.svg")
    parser.add_argument("--advice", action="store_true", help="say which layers depart from the usual sizing rules")
    memory = parser.add_argument_group("what memory is computed for")
    memory.add_argument("--batch", type=whole_from(1), default=1, metavar="N", help="images at a time (default 1)")
    memory.add_argument("--dtype", choices=BYTES, default="float32", help="of volumes (default float32)")
    memory.add_argument("--optimizer", choices=OPTIMIZER_COPIES, default="momentum", help="default momentum")
    limits = parser.add_argument_group("limits (exit code 1 and the largest layer where one is exceeded)")
    count, memory_size = _amount("1M", COUNT_UNITS), _amount("2GiB", BYTE_UNITS)
    limits.add_argument("--max-params", type=count, metavar="N", help="parameters: 60000, 60K, 1.5M, 1G")
    limits.add_argument("--max-macs", type=count, metavar="N", help="MACs an image, written likewise")
    limits.add_argument("--max-memory", type=memory_size, metavar="BYTES", help="training at --batch: 900MiB, 2GiB")
    limits.add_argument("--memory-limit", type=memory_size, metavar="BYTES", help="print the largest batch that fits")


def _svg_file(text: str) -> Path:
    if not text.lower().endswith(".svg") or "\0" in text:
        raise argparse.ArgumentTypeError(
            f"a figure is an SVG file, so a name ending in .svg is needed, not {text[:40]!r}"
        )
    return Path(text)


def _amount(example: str, units: dict[str, int]) -> Callable[[str], int]:
    """The type of an argument that is a number from 1 with a unit; what is below a whole one is cut off."""
    pattern = rf"([0-9]{{1,12}}(?:\.[0-9]{{1,6}})?)({'|'.join(units)})"

    def amount(text: str) -> int:
        match = re.fullmatch(pattern, text, re.ASCII)
        value = int(Decimal(match[1]) * units[match[2]]) if match else 0
        if value < 1:
            known = ", ".join(filter(None, units))
            raise argparse.ArgumentTypeError(
                f"a number from 1, alone or with {known} as in {example}, is needed, not {text[:40]!r}"
            )
        return value

    return amount


def run(args: argparse.Namespace) -> int:
    """Print the plan; when a layer cannot take its input, the layers before it and the reason."""
    network = read_network(args)
    try:
        made = plan(network, batch=args.batch, dtype=args.dtype, optimizer=args.optimizer)
    except PlanError as error:
        _print_rows(error.rows, stderr=True)
        raise
    if args.draw:
        _draw(made, args.draw, title=args.net)
    set_limits = _budgets(made, args)
    extra: dict[str, Any] = {"budgets": [budget.as_dict() for budget in set_limits]} if set_limits else {}
    if args.memory_limit:
        extra["memory_limit"] = _fitting(made, args.memory_limit)
    if args.advice:
        extra["advice"] = _advice(made)
    _print(made, args, extra)
    return _verdict(made, set_limits)


def _draw(made: Plan, file: Path, title: str) -> None:
    from ..model import write_atomically
    from ..plan.drawing import draw

    write_atomically(file, draw(made, title=title).encode())


def _budgets(made: Plan, args: argparse.Namespace) -> tuple[Budget, ...]:
    limits = {"params": args.max_params, "macs": args.max_macs, "memory": args.max_memory}
    if limits == dict.fromkeys(limits):
        return ()
    from ..plan.budgets import budgets

    return budgets(made, limits)


def _fitting(made: Plan, limit: int) -> dict[str, int]:
    from ..plan.budgets import largest_batch

    return {"limit": limit, "largest_batch": largest_batch(made, limit)}


def _advice(made: Plan) -> list[dict[str, str]]:
    from ..plan.advice import advice

    return [one._asdict() for one in advice(made)]


def _verdict(made: Plan, set_limits: Sequence[Budget]) -> int:
    """The exit code, each limit that is exceeded having been explained on stderr."""
    code = 0
    for budget in set_limits:
        try:
            budget.check(made)
        except RunError as error:
            code = print_error(error, as_json=False)  # the plan is the document, with the limits in it
    return code


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
    if "advice" in extra and not args.json:
        _print_advice(extra["advice"], stderr=args.format != "table")
    if "memory_limit" in extra and not args.json:
        _print_fitting(made, **extra["memory_limit"], stderr=args.format != "table")


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
