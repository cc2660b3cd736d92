"""What is kept of a run for the page to show: as much after a million steps as after a thousand."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 400
"""Of a curve; then neighbours are averaged, and each point stands for twice as many steps."""


class Curve:
    """A value over steps as at most `MOST_POINTS` means of equally many values."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.each = 1
        self._steps = self._total = 0.0
        self._count = 0

    def add(self, step: int, value: float) -> None:
        """A value at a step, which is later than those before; what is no finite number leaves no point."""
        if not math.isfinite(value):
            return
        self._steps, self._total, self._count = self._steps + step, self._total + value, self._count + 1
        if self._count < self.each:
            return
        self.points.append((self._steps / self._count, self._total / self._count))
        self._steps = self._total = 0.0
        self._count = 0
        if len(self.points) > MOST_POINTS:
            pairs = zip(self.points[:-1:2], self.points[1::2], strict=False)
            self.points = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, b in pairs]
            self.each *= 2

    def clear(self) -> None:
        """Begin again with what comes from now on."""
        self.points, self.each = [], 1
        self._steps = self._total = 0.0
        self._count = 0

    def shown(self) -> list[list[float]]:
        """`[[step, value], ...]`, with as many digits as a screen can show."""
        return [[round(step, 1), float(f"{value:.5g}")] for step, value in self.points]


class Share:
    """The share of right answers among the latest images, at least `size` of them where there were so many."""

    def __init__(self, size: int) -> None:
        self.size, self.count, self.right = size, 0, 0
        self._parts: deque[tuple[int, int]] = deque()

    def add(self, right: int, count: int) -> None:
        """The answers to some images."""
        self._parts.append((right, count))
        self.right, self.count = self.right + right, self.count + count
        while self.count - self._parts[0][1] >= self.size:
            right, count = self._parts.popleft()
            self.right, self.count = self.right - right, self.count - count

    @property
    def value(self) -> float | None:
        """None before there was any image."""
        return self.right / self.count if self.count else None


class Allowance:
    """When something may be done again, so that all of its parts take at most a share of the time since."""

    def __init__(self, share: float, seconds: float, clock: Callable[[], float] = perf_counter) -> None:
        self.share, self.seconds, self.clock = share, seconds, clock
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether enough time has passed since what was done last."""
        return self.clock() >= self._next

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Do it, or a part of it, and see what it costs: the parts of one turn are paid for together."""
        began = self.clock()
        yield
        now = self.clock()
        self._next = max(max(self._next, began) + (now - began) / self.share, now + self.seconds)


def moved(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """How far a step moved each array of weights, over its size."""
    found = {}
    for name, w in before.items():
        size = float(np.linalg.norm(w.astype(np.float64)))
        if w.ndim > 1 and size:
            found[name] = float(np.linalg.norm(after[name].astype(np.float64) - w)) / size
    return found


def legible(value: float | None) -> float | None:
    """With as many digits as a screen can show; None for what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
