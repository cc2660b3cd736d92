"""How long is a hostile text held before it is refused? Prints milliseconds of processor time, the slowest first.

The texts are those of tests/notation/test_limits.py; the limit that the product promises is 50 ms.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time

from neocog import NeocogError, Network

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "notation"))

from test_limits import HOSTILE

PROMISED, ROUNDS = 50, 3


def milliseconds(text: str) -> float:
    start = process_time()
    try:
        Network.parse(text).plan()
    except NeocogError:
        return 1e3 * (process_time() - start)
    sys.exit(f"this text was not refused: {text[:60]}")


def main() -> None:
    milliseconds("[")  # makes the grammar, once for a process
    times = {name: min(milliseconds(text) for _ in range(ROUNDS)) for name, text in HOSTILE.items()}
    for name in sorted(times, key=times.__getitem__, reverse=True):
        print(f"{times[name]:6.1f} ms  {name}")
    sys.exit(f"slower than {PROMISED} ms" if max(times.values()) >= PROMISED else 0)


if __name__ == "__main__":
    main()
