"""`neocog data WHAT ...`. One thin file for each of the verbs below it, with `EXAMPLES`, `add_arguments` and `run`."""

from __future__ import annotations

import argparse
from importlib import import_module

VERBS = {
    "list": "which published sets are here, and which can be got",
    "get": "download published sets into the datasets folder",
    "pack": "decode image files once, into one file that training reads by mapping it into memory",
    "doctor": "what in a data set would break training, or make its numbers untrue",
}

EXAMPLES = """examples:
  neocog data list
  neocog data get cifar10
  neocog data pack photos/ photos.safetensors --size 224x224x3
  neocog data doctor photos/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and the arguments of that."""
    chosen = parser.add_subparsers(metavar="WHAT", required=True, title="what")
    for verb, what in VERBS.items():
        module = import_module(f".data_{verb}", __package__)
        one = chosen.add_parser(verb, help=what, description=f"{what[0].upper()}{what[1:]}.", epilog=module.EXAMPLES)
        one.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        module.add_arguments(one)
        one.set_defaults(run=module.run)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    code: int = args.run(args)
    return code
