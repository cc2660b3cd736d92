"""What verbs show while image files are decoded, and what they say of it afterwards; all on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .arguments import whole_from
from .output import printable

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.reading import How, Told

MANY = 1000
"""From so many files on, a log says at each tenth how far it is."""


def add_threads(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add --decode-threads."""
    parser.add_argument(
        "--decode-threads",
        type=whole_from(1),
        default=None,
        metavar="N",
        help="threads that decode image files (default: one for each core, up to 8)",
    )


def reading_how(args: argparse.Namespace) -> How:
    """What --stream and --decode-threads say."""
    from ..data.reading import HOW, How

    return How(getattr(args, "stream", None), args.decode_threads or HOW.threads)


@contextmanager
def counted() -> Iterator[Told]:
    """Something to be told of progress: a bar on a terminal, and a few lines for many files elsewhere."""
    if not sys.stderr.isatty():
        yield _in_lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def told(split: str, done: int, files: int) -> None:
            if split not in tasks:
                tasks[split] = bar.add_task(split, total=files)
            bar.update(tasks[split], completed=done)

        yield told


def _in_lines(split: str, done: int, files: int) -> None:
    if files >= MANY and done * 10 // files > (done - 1) * 10 // files:
        print(f"reading {split}: {done:,} of {files:,} images", file=sys.stderr, flush=True)


def print_reading(*datasets: Dataset | None) -> None:
    """How image files became data sets: what was held out, left out, skipped and changed."""
    from ..data.reading import in_words

    for dataset in datasets:
        for line in in_words(dataset) if dataset else ():
            print(printable(line), file=sys.stderr)
