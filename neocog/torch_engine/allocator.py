"""What becomes of freed memory: speed while there is plenty, exactness where there is not.

glibc keeps freed blocks of less than 32 MiB for itself, and torch asks for aligned blocks, which do not fit into the
holes that blocks of the same size have left (glibc bug 14581). A process that trains a small network can so hold 1.7
times what is alive. Giving every block back at once ends that, and costs the page faults of taking new ones: ResNet-20
then needs twice the processor time. So it is done only where memory is short.
"""

from __future__ import annotations

import ctypes
import sys

from ..resources import available_memory

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in malloc.h
RETURNED = 128 * 1024
HELD = 2  # more than glibc was seen to hold of what is alive


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
