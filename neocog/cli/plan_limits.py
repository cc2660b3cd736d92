"""Limits on a plan (`--max-params 1M`, `--max-latency 20ms`), and the largest batch for `--memory-limit 6GiB`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from ..errors import RunError
from ..plan import Plan
from .output import print_error

if TYPE_CHECKING:
    from ..plan.budgets import Budget
    from ..plan.time import StepTime

COUNT_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
BYTE_UNITS = {
    **{"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    **{"KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1},
}
"""As in the GNU tools: GB is a power of 1000; GiB, and G alone, is one of 1024."""
TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def add_limits(parser: argparse.ArgumentParser) -> None:
    """The limits, and `--memory-limit`."""
    limits = parser.add_argument_group("limits (exit code 1 and the largest layer where one is exceeded)")
    count, memory_size = amount("1M", COUNT_UNITS), amount("2GiB", BYTE_UNITS)
    limits.add_argument("--max-params", type=count, metavar="N", help="parameters: 60000, 60k, 1.5M, 1B")
    limits.add_argument("--max-macs", type=count, metavar="N", help="MACs an image, written likewise")
    limits.add_argument("--max-memory", type=memory_size, metavar="BYTES", help="training at --batch: 900MB, 2GiB")
    limits.add_argument("--max-latency", type=_seconds, metavar="TIME", help="inference of --batch images: 20ms, 1.5s")
    limits.add_argument("--memory-limit", type=memory_size, metavar="BYTES", help="print the largest batch that fits")


def amount(example: str, units: dict[str, int]) -> Callable[[str], int]:
    """The type of an argument: a number from 1 with a unit, in any case; what is below a whole one is cut off."""
    factors = {unit.lower(): factor for unit, factor in units.items()}
    pattern = rf"([0-9]{{1,12}}(?:\.[0-9]{{1,6}})?)({'|'.join(factors)})"

    def amount(text: str) -> int:
        match = re.fullmatch(pattern, text.lower(), re.ASCII)
        value = int(Decimal(match[1]) * factors[match[2]]) if match else 0
        if value < 1:
            known = ", ".join(filter(None, units))
            raise argparse.ArgumentTypeError(
                f"a number from 1, alone or with {known} as in {example}, is needed, not {text[:40]!r}"
            )
        return value

    return amount


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(us|ms|s)", text, re.ASCII)
    value = float(match[1]) * TIME_UNITS[match[2]] if match else 0.0
    if value <= 0:
        known = ", ".join(TIME_UNITS)
        raise argparse.ArgumentTypeError(f"a time above 0 with {known} as in 20ms is needed, not {text[:40]!r}")
    return value


def set_budgets(made: Plan, args: argparse.Namespace, step: StepTime | None = None) -> tuple[Budget, ...]:
    """The limits that were given, beside what the plan needs."""
    limits = {"params": args.max_params, "macs": args.max_macs, "memory": args.max_memory, "latency": args.max_latency}
    if limits == dict.fromkeys(limits):
        return ()
    from ..plan.budgets import budgets

    return budgets(made, limits, step)


def fitting(made: Plan, limit: int) -> dict[str, int]:
    """`--memory-limit` and its answer, for the JSON document."""
    from ..plan.budgets import largest_batch

    return {"limit": limit, "largest_batch": largest_batch(made, limit)}


def verdict(made: Plan, budgets: Sequence[Budget]) -> int:
    """The exit code, each limit that is exceeded having been explained on stderr."""
    code = 0
    for budget in budgets:
        try:
            budget.check(made)
        except RunError as error:
            code = print_error(error, as_json=False)  # the plan is the document, with the limits in it
    return code
