"""What others want done by the thread that owns a run's engine, between two of its steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TypeVar

from ..errors import RunError

T = TypeVar("T")


class Orders:
    """Questions in the order in which they came. Whoever asks gets an answer, also while the thread is ending."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock, self._ended = Lock(), False

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Have something done by the thread; what it raises is the answer too."""
        answer: Future[T] = Future()

        def answered() -> None:
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

        with self._lock:  # so that nothing is put after the last look into the queue
            if not self._ended:
                self._waiting.put(answered)
                return answer
        answer.set_exception(RunError("this run has ended"))
        return answer

    def wake(self) -> None:
        """Have the thread look around, should it sleep."""
        self._waiting.put(lambda: None)

    def obey(self, *, wait: bool = False) -> None:
        """Do what was asked for; with `wait`, sleep until there is something."""
        if wait:
            self._waiting.get()()
        while True:
            try:
                self._waiting.get_nowait()()
            except Empty:
                return

    def end(self) -> None:
        """Take no more, and leave nobody without an answer."""
        with self._lock:
            self._ended = True
        self.obey()
