"""Processes of the command line that die at a given moment; run as a program, since a test cannot kill its own.

It reads a line of cases from stdin, a JSON list of {"arguments": [...], "at_step": n, "signal": name} or
{"arguments": [...], "at_event": n}, runs each in a process of its own, and answers with a line of how they ended. A
step is one of training. An event is a call that changes files: so every moment of a writer has a number. Engines get
one step at a time.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

PIECES = 3
"""In so many parts is a file's content written, each of them an event."""


class Ended(NamedTuple):
    code: int
    err: str
    events: int


class Dying:
    """The program, kept at hand: what takes long to import is imported once."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, *cases) -> list[Ended]:
        """How each of the cases ended; a negative code is the signal that killed it."""
        self.process.stdin.write(f"{json.dumps(cases)}\n")
        self.process.stdin.flush()
        return [Ended(*one) for one in json.loads(self.process.stdout.readline())]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def train(*arguments, **moment):
    """A case of `neocog train`."""
    return {"arguments": ["train", *map(str, arguments)], **moment}


class AtStep:
    """Progress that sends this process a signal once so many steps were made in it."""

    def __init__(self, step, name):
        self.left, self.number = step, getattr(signal, name)

    def stepped(self, epoch, meter, steps):
        self.left -= steps
        if self.left == 0:
            os.kill(os.getpid(), self.number)

    def started(self, headline, epochs, steps):
        sys.stderr.write(f"{headline}\n")

    def epoch_done(self, epoch, epochs):
        pass

    def found(self, finding):
        pass

    def finished(self):
        pass


class Events:
    """Counts the calls that change files, and kills this process before one of them."""

    def __init__(self, at):
        self.at, self.count = at, itertools.count()
        for place, name in ((tempfile, "mkstemp"), (os, "fsync"), (os, "replace"), (os, "ftruncate"), (Path, "unlink")):
            setattr(place, name, self.counted(getattr(place, name)))
        self.fdopen, os.fdopen = os.fdopen, self.opened

    def counted(self, function):
        def called(*arguments, **more):
            if next(self.count) == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return called

    def opened(self, *arguments):
        file = self.fdopen(*arguments)
        write = self.counted(file.write)

        def in_pieces(content):
            length = -(-len(content) // PIECES)
            for start in range(0, len(content), length):
                write(content[start : start + length])
                file.flush()

        file.write = in_pieces
        return file


def _child(case, report) -> int:
    from neocog.cli import main
    from neocog.training import loop, progress

    loop.FASTER = 1
    if "at_step" in case:
        progress.Lines = lambda _: AtStep(case["at_step"], case.get("signal", "SIGKILL"))
    events = Events(case.get("at_event")) if "at_event" in case else None
    try:
        return main(case["arguments"])
    finally:
        if events:
            report.write_text(str(next(events.count)))


def _one(case, folder) -> Ended:
    """In a fork."""
    err, report = folder / "err", folder / "events"
    report.write_text("0")
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = _child(case, report)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return Ended(os.waitstatus_to_exitcode(status), err.read_text(), int(report.read_text()))


if __name__ == "__main__":
    for name in ("neocog.training", "torch._dynamo"):  # before the forks; torch loads the latter with an optimizer
        import_module(name)
    with tempfile.TemporaryDirectory() as place:
        for line in sys.stdin:
            sys.stdout.write(f"{json.dumps([_one(case, Path(place)) for case in json.loads(line)])}\n")
            sys.stdout.flush()
