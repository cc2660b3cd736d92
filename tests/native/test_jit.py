"""Machine code is made without leaving anything of its making behind."""

from __future__ import annotations

import sys
from pathlib import Path

from neocog.native import jit
from neocog.resources import give_back_freed

TEXTS, NUMBERS = 4, 20_000


def text(first: int) -> str:
    """A function that adds up numbers which no other text has."""
    lines = [f"%x{k + 1} = add i64 %x{k}, {first + k}" for k in range(NUMBERS)]
    return "\n".join(["define i64 @f(i64 %x0) {", *lines, f"ret i64 %x{NUMBERS}", "}"])


def resident() -> int:
    """Bytes of this process that are no file's; the peak where the system tells no more."""
    give_back_freed()
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("RssAnon:")]
    return 1024 * int(line.split()[1])


def test_texts_that_were_compiled_take_no_memory_afterwards():
    jit._assembled(text(0))
    before = resident()
    for k in range(1, 1 + TEXTS):
        jit._assembled(text(k * 10**6))
    assert resident() - before < TEXTS * NUMBERS * 40  # LLVM keeps 100 bytes and more for a number in its own context
