"""What verbs show while image files are decoded, and what they say of it afterwards; all on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import NeocogError
from ..wording import count_of
from .arguments import whole_from
from .output import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..data.dataset import Dataset, Told
    from ..data.reading import How

MANY = 1000
"""From so many images on, a log says at each tenth how far it is."""


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


def check_order(what: str, first: str, data: str) -> None:
    """Raise NeocogError where a published data set stands in the place of what comes before DATA."""
    from ..data.published import PUBLISHED

    if first in PUBLISHED:
        raise NeocogError(f"{what} comes before DATA", received=f"{first} {data}"[:80], hint=f"{data} {first}")


@contextmanager
def counted() -> Iterator[Told]:
    """Something to be told of progress: a bar on a terminal while images are read, elsewhere a few lines for many.

    It may be told of several things, one after the other; between them there is no bar.
    """
    if not sys.stderr.isatty():
        yield _Lines().told
        return
    bars = _Bars()
    try:
        yield bars.told
    finally:
        bars.stop()


class _Lines:
    def __init__(self) -> None:
        self.tenths: dict[str, int] = {}

    def told(self, what: str, done: int, of: int) -> None:
        tenth = 10 * done // of
        if of >= MANY and tenth > self.tenths.get(what, 0):
            print(f"{what}: {done:,} of {count_of(of, 'image')}", file=sys.stderr, flush=True)
        self.tenths[what] = tenth % 10


class _Bars:
    def __init__(self) -> None:
        self.shown: Progress | None = None
        self.tasks: dict[str, TaskID] = {}

    def told(self, what: str, done: int, of: int) -> None:
        if self.shown is None:
            self.shown = _bar()
            self.shown.start()
        if what not in self.tasks:
            self.tasks[what] = self.shown.add_task(what, total=of)
        self.shown.update(self.tasks[what], completed=done)
        if self.shown.finished:
            self.stop()

    def stop(self) -> None:
        if self.shown is not None:
            self.shown.stop()
        self.shown, self.tasks = None, {}


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def print_reading(*datasets: Dataset | None) -> None:
    """How image files became data sets: what was held out, left out, skipped and changed."""
    from ..data.reading import in_words

    for dataset in datasets:
        for line in in_words(dataset) if dataset else ():
            print(printable(line), file=sys.stderr)
