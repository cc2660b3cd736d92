"""What the trainers of whole_runs.py share: the work they are given, and the line that they print at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

RATE, MOMENTUM = 0.01, 0.9


class Given(NamedTuple):
    """A network as nodes and as text, images (N, H, W, C) and labels as bytes, and how long to train on them."""

    nodes: list[dict[str, Any]]
    text: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    epochs: int
    batch: int
    seed: int


def given() -> Given:
    """What the arguments say: a JSON file of the work, and a file of arrays."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(sys.argv[2]) as file:
        arrays = {name: file[name] for name in ("x", "y", "x_test", "y_test")}
    return Given(**work, **arrays)


def standard(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Bytes as float32 with the mean and deviation of each channel of the training images taken out."""
    shares = like.reshape(-1, like.shape[-1])[::16] / 255.0
    return ((x / np.float32(255) - shares.mean(0)) / shares.std(0)).astype(np.float32)


class Clock:
    """Runs from when it is made, with the images in memory as bytes."""

    def __init__(self) -> None:
        self.start = perf_counter()

    def tell(self, accuracy: float) -> None:
        """Print the one line: seconds until the trained model was measured, and the share of test images it reads."""
        print(json.dumps({"seconds": perf_counter() - self.start, "accuracy": accuracy}), flush=True)
