"""`neocog plan NET`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..plan import Plan, PlanError, Row, plan
from ..plan.memory import BYTES, OPTIMIZER_COPIES
from ..plan.tables import HEADER, cells, summary, to_csv, to_markdown
from .arguments import whole_from
from .output import console, print_json, print_table, print_wrapped
from .source import add_network, read_network

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLES = """examples:
  neocog plan lenet5
  neocog plan 'INPUT[32x32x3] -> [CONV3-32 -> RELU -> POOL2]*3 -> FC10'
  neocog plan vgg16 --batch 32 --optimizer adam
  neocog plan my.net -D N=2 --format csv > layers.csv
  neocog plan resnet50 --json | jq .totals"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, what memory is computed for, and the form of the answer."""
    add_network(parser)
    parser.add_argument("--format", choices=("table", "csv", "markdown"), default="table", help="default table")
    memory = parser.add_argument_group("what memory is computed for")
    memory.add_argument("--batch", type=whole_from(1), default=1, metavar="N", help="images at a time (default 1)")
    memory.add_argument("--dtype", choices=BYTES, default="float32", help="of volumes (default float32)")
    memory.add_argument("--optimizer", choices=OPTIMIZER_COPIES, default="momentum", help="default momentum")


def run(args: argparse.Namespace) -> int:
    """Print the plan; when a layer cannot take its input, the layers before it and the reason."""
    network = read_network(args)
    try:
        made = plan(network, batch=args.batch, dtype=args.dtype, optimizer=args.optimizer)
    except PlanError as error:
        _print_rows(error.rows, stderr=True)
        raise
    _print(made, args)
    return 0


def _print(made: Plan, args: argparse.Namespace) -> None:
    if args.json:
        print_json(made.as_dict())
    elif args.format == "csv":
        print(to_csv(made), end="")
    elif args.format == "markdown":
        print(to_markdown(made), end="")
    else:
        out = _print_rows(made.rows)
        out.print()
        for line in summary(made):
            print_wrapped(out, line)


def _print_rows(rows: Sequence[Row], *, stderr: bool = False) -> Console:
    out = console(stderr=stderr)
    narrow = ("connections", "jump", "sees", "written")
    print_table(out, HEADER, [cells(row) for row in rows], text=HEADER[:2], optional=narrow)
    return out
