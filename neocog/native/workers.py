"""The threads that run a network's steps beside the one that asks for them."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from .jit import Compiled
from .runtime import QUIT, slot

TURN, TURNS = 4, 64
"""Calls for which a choice stands; and of how many of these turns the slower one gets one to show itself again."""


class Sharing:
    """Whether all threads make the steps or one alone: the faster, as far as has been seen.

    Threads of a small step wait for what others wrote, longer or shorter as the system has put them on cores that are
    far from each other or near; on shared machines that changes. What steps come to does not depend on it.
    """

    def __init__(self, *counts: int) -> None:
        self.counts, self.calls, self.chosen = counts, 0, counts[0]
        self.seen: dict[int, deque[float]] = {count: deque(maxlen=TURN + 1) for count in counts}

    def _choice(self, turn: int) -> int:
        """Each at first, and mostly the one with the shortest time that it was seen to take lately."""
        if turn < len(self.counts):
            return self.counts[turn]
        most = max if turn % TURNS == 0 else min
        return most(self.counts, key=lambda count: min(self.seen[count]))

    @contextmanager
    def timed(self, steps: int) -> Iterator[int]:
        """Learn from how long so many steps take of the threads that it gives."""
        turn, within = divmod(self.calls, TURN)
        if not within:
            self.chosen = self._choice(turn)
        started = perf_counter()
        yield self.chosen
        self.seen[self.chosen].append((perf_counter() - started) / steps)
        self.calls += 1


class Workers:
    """Runs jobs on so many threads, which find all they need through the words that they share.

    They are started by the first job and wait for the next one; they end when this object goes, or is closed.
    """

    def __init__(self, code: Compiled, shared: NDArray[np.int64], threads: int) -> None:
        self._code, self._shared, self._count = code, shared, threads
        self._start = code.function("start", [ctypes.c_void_p, ctypes.c_int64])
        self._alone = code.function("alone", [ctypes.c_void_p])
        self._threads: list[threading.Thread] = []

    def run(self, job: int) -> None:
        """Have all threads do a job, this one among them."""
        if not self._threads and self._count > 1:
            self._begin()
        self._start(self._shared.ctypes.data, job)

    def alone(self) -> None:
        """Have this thread make all steps, where it is the only one that the shared words tell of."""
        self._alone(self._shared.ctypes.data)

    def _begin(self) -> None:
        seen = int(self._shared[slot("generation")])
        for k in range(1, self._count):
            arguments = [ctypes.c_void_p(self._shared.ctypes.data), ctypes.c_int64(k), ctypes.c_int64(seen)]
            thread = threading.Thread(target=self._code.call, args=("worker", arguments), daemon=True)
            thread.start()
            self._threads.append(thread)
        self._end = weakref.finalize(self, _quit, self._code, self._shared, self._threads)

    def close(self) -> None:
        """End the threads; another job would start them again."""
        if self._threads:
            self._end()
            self._threads = []


def _quit(code: Compiled, shared: NDArray[np.int64], threads: list[threading.Thread]) -> None:
    code.call("start", [ctypes.c_void_p(shared.ctypes.data), ctypes.c_int64(QUIT)])
    for thread in threads:
        thread.join()
