"""`neocog zoo [NAME]`."""

from __future__ import annotations

import argparse

from ..zoo import about, names, text, zoo
from .output import console, print_json, print_table

EXAMPLES = """examples:
  neocog zoo                list every network
  neocog zoo lenet5         print its text, source and published figures
  neocog zoo vgg16 > my.net start a network of your own from it"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """An optional name."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this network's text")


def run(args: argparse.Namespace) -> int:
    """List the zoo, or print one text."""
    if args.name:
        _print_one(args.name, args.json)
    elif args.json:
        print_json({"networks": [_entry(name) for name in names()]})
    else:
        _print_list()
    return 0


def _entry(name: str) -> dict[str, object]:
    totals = zoo(name).plan().totals
    return {"name": name, **about(name), "parameters": totals["parameters"], "macs": totals["macs"]}


def _print_one(name: str, as_json: bool) -> None:
    if as_json:
        print_json({**_entry(name), "text": text(name), "network": str(zoo(name))})
    else:
        print(text(name), end="")


def _print_list() -> None:
    header = ("name", "parameters", "MACs", "what it is")
    entries = [_entry(name) for name in names()]
    rows = [(str(e["name"]), f"{e['parameters']:,}", f"{e['macs']:,}", str(e["title"])) for e in entries]
    print_table(console(), header, rows, text=("name",), prose="what it is", optional=("MACs",))
