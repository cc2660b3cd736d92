"""`neocog verify-resume RUN`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from .arguments import whole_from
from .output import console, print_json

EXAMPLES = """examples:
  neocog verify-resume runs/mnist-1
  neocog verify-resume runs/mnist-1 --steps 100 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, and how many of its steps."""
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("--steps", type=whole_from(2), default=20, metavar="N", help="steps to make twice (default 20)")


def run(args: argparse.Namespace) -> int:
    """Print both hashes; the exit code is 1 where they differ."""
    from ..training.verifying import verify_resume

    found = verify_resume(args.run, steps=args.steps)
    if args.json:
        print_json({**asdict(found), "same": found.same})
    else:
        out = console()
        out.print(f"SHA-256 of weights, statistics and optimizer after {found.steps} steps", soft_wrap=True)
        out.print(f"  in one go                       {found.uninterrupted}", soft_wrap=True)
        out.print(f"  {f'stopped after {found.stopped_at} and resumed':<30}  {found.resumed}", soft_wrap=True)
        out.print("the same, bit for bit" if found.same else "NOT the same: a resumed run is not exact here")
    return 0 if found.same else 1
