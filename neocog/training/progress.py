"""What a person sees while a network trains: a bar on a terminal, a line for each epoch elsewhere, or nothing."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

from ..errors import NeocogError
from ..finding import Finding
from .metrics import Epoch, Meter


class Progress(Protocol):
    """Told by the training loop what happens."""

    def started(self, headline: str, epochs: int, steps: int) -> None:
        """The run begins: `steps` mini-batches in all."""

    def stepped(self, epoch: int, meter: Meter, steps: int) -> None:
        """So many mini-batches more were learned; `meter` has the epoch's means so far."""

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        """An epoch ended and was measured."""

    def found(self, finding: Finding) -> None:
        """Something is the matter with the data or the run."""

    def finished(self) -> None:
        """The run is over, well or not."""


def describe(epoch: Epoch, epochs: int, said: str = "") -> str:
    """One line on one epoch, with the share of waiting for images if there was any, and another with advice on it.

    `said` is the advice that was shown last, which is not shown again.
    """
    waited = f"  waiting {epoch.waiting:.0%}" if epoch.waiting else ""
    advice = f"\n  {epoch.advice}" if epoch.advice not in ("", said) else ""
    return (
        f"epoch {epoch.epoch:>{len(str(epochs))}}/{epochs}  loss {epoch.train_loss:.4f}  "
        f"train {epoch.train_accuracy:7.2%}  {epoch.measured_on} {epoch.accuracy:7.2%}  "
        f"{epoch.images_per_second:,.0f} img/s  {epoch.seconds:.1f} s{waited}{advice}"
    )


class Silence:
    """Says nothing."""

    def started(self, headline: str, epochs: int, steps: int) -> None:
        """Nothing."""

    def stepped(self, epoch: int, meter: Meter, steps: int) -> None:
        """Nothing."""

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        """Nothing."""

    def found(self, finding: Finding) -> None:
        """Nothing."""

    def finished(self) -> None:
        """Nothing."""


class Lines(Silence):
    """One plain line for each epoch: for files, pipes and continuous integration."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.said = ""

    def started(self, headline: str, epochs: int, steps: int) -> None:
        """The headline."""
        print(headline, file=self.stream, flush=True)

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        """The epoch's line."""
        print(describe(epoch, epochs, self.said), file=self.stream, flush=True)
        self.said = epoch.advice or self.said

    def found(self, finding: Finding) -> None:
        """What is the matter, where and what to try."""
        print(finding.text(), file=self.stream, flush=True)


class Bar:
    """A bar over the whole run with loss, accuracy, speed and time left; finished epochs scroll by above it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(file=stream, highlight=False)
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            refresh_per_second=8,
            transient=True,
        )
        self.epochs, self.said = 0, ""

    def started(self, headline: str, epochs: int, steps: int) -> None:
        """The headline, and the empty bar."""
        self.epochs = epochs
        self.console.print(headline, markup=False)
        self.task = self.bar.add_task("", total=steps, epoch=f"1/{epochs}", numbers="")
        self.bar.start()

    def stepped(self, epoch: int, meter: Meter, steps: int) -> None:
        """Some steps further."""
        numbers = f"loss {meter.loss:.4f}  {meter.accuracy:.2%}  {meter.images_per_second:,.0f} img/s"
        self.bar.update(self.task, advance=steps, epoch=f"{epoch}/{self.epochs}", numbers=numbers)

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        """The epoch's line, above the bar."""
        self.console.print(describe(epoch, epochs, self.said), markup=False)
        self.said = epoch.advice or self.said

    def found(self, finding: Finding) -> None:
        """What is the matter, above the bar."""
        self.console.print(finding.text(), markup=False)

    def finished(self) -> None:
        """The bar goes; the lines stay."""
        self.bar.stop()


def choose_progress(wanted: str | Progress) -> Progress:
    """`auto` is a bar when stderr is a terminal and lines when not; `bar`, `lines` and `none` are what they say.

    Raises NeocogError for another word.
    """
    if not isinstance(wanted, str):
        return wanted
    if wanted == "none":
        return Silence()
    if wanted == "bar" or (wanted == "auto" and sys.stderr.isatty()):
        return Bar(sys.stderr)
    if wanted in ("auto", "lines"):
        return Lines(sys.stderr)
    raise NeocogError("progress is one of auto, bar, lines, none", received=f"progress={wanted}")
