"""What the learners of to_99.py share: the digits, and the line that they print after each epoch."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

FILE, SEED, TARGET = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images (60000, 28, 28) from 0 to 1 and labels, then test images and labels."""
    with np.load(FILE) as file:
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    return x.astype(np.float32) / 255, y.astype(np.int64), x_test.astype(np.float32) / 255, y_test.astype(np.int64)


class Clock:
    """Runs from when it is made, just before training."""

    def __init__(self) -> None:
        self.start = perf_counter()

    def tell(self, epoch: int, accuracy: float) -> None:
        """Print one line."""
        told = {"epoch": epoch, "accuracy": accuracy, "seconds": perf_counter() - self.start}
        print(json.dumps(told), flush=True)
