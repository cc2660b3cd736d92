"""Timing that other programs on the machine disturb as little as can be."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import torch


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all it was told. A CPU has when the call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, with all the work it started."""
    synchronise(device)
    start = perf_counter()
    run()
    synchronise(device)
    return perf_counter() - start


def repeated(run: Callable[[], object], device: torch.device, seconds: float, least: int = 2) -> list[float]:
    """Seconds of calls, after one to warm up, until so much time has passed."""
    timed(run, device)
    found: list[float] = []
    end = perf_counter() + seconds
    while len(found) < least or perf_counter() < end:
        found.append(timed(run, device))
    return found


def typical(times: list[float]) -> float:
    """The median of the faster half: what a step takes when nothing comes between."""
    return median(sorted(times)[: (len(times) + 1) // 2])


BUSY = 0.2
"""With so many cores used by other programs, times are worth a warning."""


class Load:
    """How many processor cores other programs kept busy meanwhile; None where the system does not tell."""

    others: float | None = None


@contextmanager
def watched(process: int | None = None) -> Iterator[Load]:
    """Watch the machine during a block; the answer is there at its end.

    `process` is the number of the one that does the work, by default this one: all others disturb it.
    """
    load = Load()
    before, start = _busy_seconds(process), perf_counter()
    yield load
    after, passed = _busy_seconds(process), perf_counter() - start
    if before is not None and after is not None and passed:
        load.others = max(0.0, (after - before) / passed)


def _busy_seconds(process: int | None) -> float | None:
    """Processor seconds that all but one process have used since the system started, by proc(5)."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        used = _own_ticks(process)
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(n) for n in fields[1:9])
    return (user + nice + system + irq + softirq + steal - used) / os.sysconf("SC_CLK_TCK")


def _own_ticks(process: int | None) -> int:
    """What a process has used, all its threads together; its name may hold anything but ends with the last bracket."""
    text = Path(f"/proc/{process or 'self'}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
