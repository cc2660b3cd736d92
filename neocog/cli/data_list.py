"""`neocog data list`."""

from __future__ import annotations

import argparse
from typing import Any

from .output import console, print_json, print_table, print_wrapped

EXAMPLES = """examples:
  neocog data list
  neocog data list --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing more."""


def run(args: argparse.Namespace) -> int:
    """Say of each published set whether it is here."""
    from ..data.published import PUBLISHED
    from ..data.sources import datasets_folder

    folder = datasets_folder()
    rows: list[dict[str, Any]] = []
    for name, published in PUBLISHED.items():
        lacking = published.missing(folder / name)
        absent = len(lacking) == len(published.keeps)
        state = "yes" if not lacking else "no" if absent else "in part"
        if absent and name == "mnist":
            state, lacking = "with neocog", []
        row = {"name": name, "here": state, "missing": lacking, "download_bytes": published.bytes_to_get}
        rows.append({**row, "classes": len(published.classes), "what": published.what})
    if args.json:
        print_json({"folder": str(folder), "sets": rows})
        return 0
    out = console()
    cells = [(r["name"], r["here"], f"{r['download_bytes'] / 1e6:,.0f} MB", r["what"]) for r in rows]
    print_table(out, ("name", "here", "download", "what it is"), cells, text=("name", "here"), prose="what it is")
    out.print()
    print_wrapped(out, f"the datasets folder is {folder}; neocog data get NAME brings a set into it")
    return 0
