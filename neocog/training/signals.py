"""What other processes and Ctrl-C ask of a run: noted when it comes, and done by the loop between two steps.

| signal           | asks to                                      |
|------------------|----------------------------------------------|
| SIGINT (Ctrl-C)  | write a checkpoint and end; again: end now   |
| SIGUSR1, SIGHUP  | write a checkpoint and go on                 |

The command line has SIGTERM do what Ctrl-C does.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SNAPSHOT = ("SIGUSR1", "SIGHUP")
"""By name: Windows has neither."""


class Asked:
    """What was asked for and is not done yet."""

    end = snapshot = False


@contextmanager
def listening() -> Iterator[Asked]:
    """Signals are noted and left to the loop, so that no step is cut in half. Afterwards they are as before."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield asked
        return

    def end(signum: int, frame: FrameType | None) -> None:
        asked.end = True
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    def snapshot(signum: int, frame: FrameType | None) -> None:
        asked.snapshot = True

    wanted = {getattr(signal, name): snapshot for name in SNAPSHOT if hasattr(signal, name)} | {signal.SIGINT: end}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
