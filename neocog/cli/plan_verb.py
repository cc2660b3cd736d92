"""`neocog plan NET`: one network, a family of them (`-D N=1..3`), or a comparison of two (`--diff`)."""

from __future__ import annotations

import argparse

from ..errors import NeocogError
from ..plan.family import MEASURES
from ..plan.memory import BYTES, OPTIMIZER_COPIES
from . import plan_diff, plan_family, plan_one
from .arguments import figure_file, whole_from
from .plan_limits import add_limits
from .plan_measured import add_measured
from .source import add_network, read_family

EXAMPLES = """examples:
  neocog plan lenet5
  neocog plan 'INPUT[32x32x3] -> [CONV3-32 -> RELU -> POOL2]*3 -> FC10'
  neocog plan vgg16 --batch 32 --optimizer adam
  neocog plan my.net -D N=2 --format csv > layers.csv
  neocog plan resnet20 --draw resnet20.svg
  neocog plan resnet50 --json | jq .totals
  neocog plan my.net --batch 64 --max-params 1M --max-macs 500M --max-memory 2GiB
  neocog plan resnet50 --memory-limit 6GiB
  neocog plan my.net --advice
  neocog plan resnet20 --batch 64 --timeline
  neocog plan resnet20 --batch 64 --measure
  neocog plan resnet20 --batch 1 --max-latency 20ms
  neocog plan vgg16 --diff vgg16-bn
  neocog plan pattern -D N=1..3 -D M=0..4 -D K=0..2 -D width=16,32,64
  neocog plan pattern -D N=1..3 -D M=1..4 --max-params 100K --sort memory --json"""

ONE = ("draw", "advice", "timeline", "memory_limit", "time", "measure", "max_latency", "effective_field")
"""Options about one network alone."""
LIMITS = ("max_params", "max_macs", "max_memory")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, what memory is computed for, and the form of the answer."""
    add_network(parser)
    parser.add_argument("--format", choices=("table", "csv", "markdown"), default="table", help="default table")
    parser.add_argument(
        "--draw", type=figure_file(".svg", ".png"), metavar="FILE", help="write a figure too, to FILE.svg or FILE.png"
    )
    parser.add_argument("--advice", action="store_true", help="say which layers depart from the usual sizing rules")
    parser.add_argument(
        "--timeline", action="store_true", help="how many bytes are alive at each moment of a training step"
    )
    parser.add_argument("--diff", metavar="NET", help="compare with this network, given as NET is (-D is for NET)")
    memory = parser.add_argument_group("what memory is computed for")
    memory.add_argument("--batch", type=whole_from(1), default=1, metavar="N", help="images at a time (default 1)")
    memory.add_argument("--dtype", choices=BYTES, default="float32", help="of volumes (default float32)")
    memory.add_argument("--optimizer", choices=OPTIMIZER_COPIES, default="momentum", help="default momentum")
    add_limits(parser)
    add_measured(parser)
    family = parser.add_argument_group("families: -D N=1..3 or -D w=16,32 (limits leave out what is over them)")
    family.add_argument("--sort", choices=MEASURES, help="the smallest first (default macs)")


def run(args: argparse.Namespace) -> int:
    """Hand over to the file for what was asked."""
    family = read_family(args)
    if family:
        _refuse(args, (*ONE, "diff"), "is for one network, not for a family", "one value for each variable")
        return plan_family.run(args, family)
    _refuse(args, ("sort",), "is for a family of networks", "-D N=1..3, where the text has a variable N")
    if args.diff is not None:
        _refuse(args, (*ONE, *LIMITS), "is not for a comparison", f"without --diff {args.diff[:40]}")
        return plan_diff.run(args)
    return plan_one.run(args)


def _refuse(args: argparse.Namespace, options: tuple[str, ...], rule: str, hint: str) -> None:
    """Raise NeocogError if one of these options is given, rather than leave it without effect."""
    for option in options:
        if getattr(args, option):
            raise NeocogError(f"--{option.replace('_', '-')} {rule}", hint=hint)
