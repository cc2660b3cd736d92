"""The threads that run a network's steps beside the one that asks for them."""

from __future__ import annotations

import ctypes
import threading
import weakref

import numpy as np
from numpy.typing import NDArray

from .jit import Compiled
from .runtime import QUIT, slot


class Workers:
    """Runs jobs on so many threads, which find all they need through the words that they share.

    They are started by the first job and wait for the next one; they end when this object goes, or is closed.
    """

    def __init__(self, code: Compiled, shared: NDArray[np.int64], threads: int) -> None:
        self._code, self._shared, self._count = code, shared, threads
        self._start = code.function("start", [ctypes.c_void_p, ctypes.c_int64])
        self._threads: list[threading.Thread] = []

    def run(self, job: int) -> None:
        """Have all threads do a job, this one among them."""
        if not self._threads and self._count > 1:
            self._begin()
        self._start(self._shared.ctypes.data, job)

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
