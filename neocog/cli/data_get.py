"""`neocog data get NAME...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .output import console, print_json

if TYPE_CHECKING:
    from ..data.get import Watcher
    from ..data.published import Remote

EXAMPLES = """examples:
  neocog data get cifar10 cifar100
  NEOCOG_DATA=/data neocog data get svhn"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sets' names."""
    parser.add_argument("names", metavar="NAME", nargs="+", help="as neocog data list shows them")


def run(args: argparse.Namespace) -> int:
    """Download what is not here yet. A set is complete or the error says what to do."""
    from ..data.get import find, get
    from ..data.sources import datasets_folder

    for name in args.names:
        find(name)  # before anything is downloaded
    rows = []
    with _watched() as watcher:
        for name in args.names:
            folder = datasets_folder() / name
            rows.append({"name": name, "folder": str(folder), "files_downloaded": get(name, folder, watcher)})
    if args.json:
        print_json({"sets": rows})
    else:
        for row in rows:
            what = "downloaded into" if row["files_downloaded"] else "is in"
            console().print(f"{row['name']}: {what} {row['folder']}", soft_wrap=True)
    return 0


class _Lines:
    """A line for each file."""

    def file(self, remote: Remote) -> None:
        print(f"{remote.url}: {remote.size / 1e6:,.1f} MB", file=sys.stderr, flush=True)

    def told(self, done: int) -> None:
        """Nothing: lines are for logs."""


@contextmanager
def _watched() -> Iterator[Watcher]:
    """A bar on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(compact=True), console=console(stderr=True)) as bar:

        class Bar:
            def file(self, remote: Remote) -> None:
                self.task = bar.add_task(remote.name, total=remote.size)

            def told(self, done: int) -> None:
                bar.update(self.task, completed=done)

        yield Bar()
