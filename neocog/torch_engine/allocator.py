"""What becomes of freed memory: speed while there is plenty, exactness where there is not.

glibc keeps freed blocks of less than 32 MiB for itself, and torch asks for aligned blocks, which do not fit into the
holes that blocks of the same size have left (glibc bug 14581). A process that trains a small network can so hold 1.7
times what is alive. Giving every block back at once ends that, and costs the page faults of taking new ones: ResNet-20
then needs twice the processor time. So it is done only where memory is short.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in malloc.h
RETURNED = 128 * 1024
HELD = 2  # more than glibc was seen to hold of what is alive

LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def keep_memory_free(needed: int) -> bool:
    """Return freed memory at once from now on, if `needed` bytes would otherwise not be safe to take.

    It holds for the whole process. True where it was done: it needs glibc, and a system that says what is free.
    """
    free = available_memory()
    return free is not None and HELD * needed > free and return_freed_memory()


def return_freed_memory() -> bool:
    """Let blocks of 128 KiB and more go back to the system as soon as they are freed. False without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and mallopt(MMAP_THRESHOLD, RETURNED) == 1


def available_memory() -> int | None:
    """The bytes that this process may still take: of the machine, and of its control group. None if nobody says."""
    found = [limit - used for limit, used in (_pair(*paths) for paths in LIMITS) if limit is not None]
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    return max(0, min(found)) if found else None


def _pair(limit: str, used: str) -> tuple[int | None, int]:
    numbers = [text.strip() for text in (_read(limit), _read(used))]
    return (int(numbers[0]), int(numbers[1])) if all(n.isdecimal() for n in numbers) else (None, 0)


def _read(path: str) -> str:
    """The text of a file of the system, empty where there is none."""
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
