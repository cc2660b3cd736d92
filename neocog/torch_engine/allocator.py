"""What becomes of freed memory: speed while there is plenty, exactness where there is not.

glibc gives blocks of 32 MiB and more back to the system as soon as they are freed, and the next ones come as pages
that the system has to fill with zeros first: for the gradients of large FC layers, and for copies of their weights in
bfloat16, that costs more time than the products they are for. Where there is plenty, every freed block is held for the
next: VGG-11 with four images in bfloat16 then trains 1.45 times as fast, with a fifth more memory.

Smaller blocks glibc keeps anyway, and torch asks for aligned blocks, which do not fit into the holes that blocks of the
same size have left (glibc bug 14581): a process can so hold 1.7 times what is alive. Giving every block back at once
ends that, and costs the page faults of taking new ones: ResNet-20 then needs twice the processor time. So it is done
only where memory is short.
"""

from __future__ import annotations

import ctypes
import sys

from ..resources import available_memory

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX in malloc.h."""
RETURNED, MOST_BLOCKS = 128 * 1024, 65_536
"""Blocks of so many bytes are the system's, each by itself, up to that many: as malloc.h has it."""
HELD = 3
"""More times what is alive than glibc was seen to hold."""


class _Freed:
    """Whether this process returns freed memory whatever there is."""

    always_returned = False


def keep_memory(needed: int) -> None:
    """Hold freed memory from now on, or return it at once if `needed` bytes would otherwise not be safe to take.

    It goes for the whole process until the next call, and needs glibc and a system that says what is free.
    """
    free = available_memory()
    if free is None:
        return
    if _Freed.always_returned or HELD * needed > free:
        _told(MMAP_MAX, MOST_BLOCKS)
        _told(MMAP_THRESHOLD, RETURNED)
    else:
        hold_freed_memory()


def return_freed_memory() -> None:
    """Have `keep_memory` return freed memory in this process wherever it is called, beginning now."""
    _Freed.always_returned = True
    keep_memory(0)


def hold_freed_memory() -> None:
    """Let no freed block go back to the system."""
    _told(MMAP_MAX, 0)
    _told(TRIM_THRESHOLD, -1)


def _told(setting: int, value: int) -> None:
    """Change one of glibc's settings, where there are any."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(setting, value)
