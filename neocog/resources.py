"""What this process may take of the machine it runs on: processor cores and memory."""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

GROUPS = (
    ("/sys/fs/cgroup/", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux says what a control group may take and what it has, in its second version and its first, and what
`memory.stat` beside them calls what it has read from files and would give up for anything else."""


LIMITS = (("RLIMIT_AS", "VmSize:"), ("RLIMIT_DATA", "VmData:"))
"""What a shell may limit of a process (`ulimit -v`, `ulimit -d`), and what Linux calls how much it has of that."""


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """The bytes that this process may still take: of the machine, of its control group and of its own limits.

    None if nobody says. What it has freed is given back first, as far as it was held (`torch_engine/allocator.py`).
    """
    give_back_freed()
    found = [free for free in (_free(*group) for group in GROUPS) if free is not None]
    if (available := _named("/proc/meminfo", "MemAvailable:")) is not None:
        found.append(1024 * available)
    found += _left_of_limits()
    return max(0, min(found)) if found else None


def _left_of_limits() -> list[int]:
    """What each limit of this process leaves, where there is one and the system says what is taken."""
    if find_spec("resource") is None:  # Windows
        return []
    import resource

    found = []
    for limit, name in LIMITS:
        most, taken = resource.getrlimit(getattr(resource, limit))[0], _named("/proc/self/status", name)
        if most != resource.RLIM_INFINITY and taken is not None:
            found.append(most - 1024 * taken)
    return found


def give_back_freed() -> None:
    """Have the C library give all freed memory back to the system, if it is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _free(folder: str, limit: str, used: str, cached: str) -> int | None:
    """What a control group has left; None where there is no limit."""
    numbers = [_read(folder + name).strip() for name in (limit, used)]
    if not all(number.isdecimal() for number in numbers):
        return None
    kept = _named(f"{folder}memory.stat", cached) or 0
    return int(numbers[0]) - int(numbers[1]) + kept


def _named(path: str, name: str) -> int | None:
    """The number behind a name in a file of names and numbers; None where it has none."""
    for line in _read(path).splitlines():
        words = line.split()
        if words[:1] == [name] and words[1:2] and words[1].isdecimal():
            return int(words[1])
    return None


def _read(path: str) -> str:
    """The text of a file of the system, empty where there is none."""
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
