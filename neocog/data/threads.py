"""A list of items worked through by threads, which notices when one of them never ends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from ..errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int,
    limit: float,
    named: Callable[[Item], str],
) -> list[Result]:
    """What the work makes of each item, in their order. Raises what it raised for the first item where it failed.

    Raises RunError where no item was done for `limit` seconds, with the one that was begun first. The threads are
    daemons: one that is stuck in a file that never answers does not keep the process from ending.
    """
    waiting = deque(range(len(items)))
    begun: list[int] = []
    done: SimpleQueue[tuple[int, list[Result], BaseException | None]] = SimpleQueue()

    def run() -> None:
        while waiting:
            try:
                k = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            begun.append(k)
            try:
                done.put((k, [work(items[k])], None))
            except BaseException as error:
                done.put((k, [], error))

    for _ in range(min(threads, len(items))):
        threading.Thread(target=run, daemon=True).start()
    found: dict[int, list[Result]] = {}
    errors: dict[int, BaseException] = {}
    while len(found) < len(items):
        try:
            k, found[k], error = done.get(timeout=limit)
        except Empty:
            waiting.clear()
            stuck = next(k for k in begun if k not in found)
            raise RunError(
                f"reading this image has not ended after {limit:g} s",
                where=named(items[stuck]),
                hint="is its disk or network still there?",
            ) from None
        if error is not None:
            errors[k] = error
    if errors:
        raise errors[min(errors)]
    return [found[k][0] for k in range(len(items))]
