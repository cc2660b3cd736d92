"""Memory, measured: the same network, batch and settings that a plan is for, run by an engine in a fresh process.

`resident` is the program that runs there and says how it measures. What is measured is what a step takes on top of a
process that has the engine loaded and has trained before, the caller's batch included.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import NeocogError, RunError
from ..files import CACHE
from ..native.footprint import footprints
from ..native.trainer import pick_threads
from ..network import Network
from ..plan.tables import size
from ..resources import available_memory

PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Measured:
    """Bytes at the fullest moment of training or predicting a batch.

    `peak_bytes` is resident memory. `allocated_bytes` counts torch's arrays and the batch alone, and so leaves out code
    and what malloc keeps back; it is 0 for the native engine, of which `building_bytes` says what was resident while
    its code was made. `predicted_bytes` is the plan's, or the native engine's own.
    """

    peak_bytes: int
    allocated_bytes: int
    predicted_bytes: int
    building_bytes: int = 0

    @property
    def error(self) -> float:
        """(predicted - measured) / measured: below zero where the prediction is too small."""
        return self.predicted_bytes / self.peak_bytes - 1

    def as_dict(self) -> dict[str, float]:
        """Bytes, and the relative error."""
        return {
            "predicted_bytes": self.predicted_bytes,
            "peak_bytes": self.peak_bytes,
            "allocated_bytes": self.allocated_bytes,
            "error": self.error,
        }

    def __str__(self) -> str:
        return (
            f"predicted {size(self.predicted_bytes)}, measured {size(self.peak_bytes)} ({self.error:+.1%}), "
            f"{size(self.allocated_bytes)} of it arrays"
        )


def measure(
    network: Network,
    *,
    batch: int = 1,
    dtype: str = "float32",
    optimizer: str = "momentum",
    training: bool = True,
    returning: bool = True,
    engine: str = "torch",
) -> Measured:
    """Train on, or predict, a batch of noise a few times in a process of its own, and see what it took.

    `returning` has freed memory go back to the system at once, so that what is measured is what is alive; without it
    malloc holds back what it likes.

    Raises NeocogError where the prediction does not fit what is free, and RunError where the process fails.
    """
    plan = network.plan(batch=batch, dtype=dtype, optimizer=optimizer)
    mode = "training" if training else "inference"
    predicted = plan.memory[f"{mode}_bytes"]
    if engine == "native":
        predicted = footprints(plan, pick_threads(network, batch))[mode].total
    _check_fits(predicted, available_memory())
    job = {"network": str(network), "batch": batch, "dtype": dtype, "optimizer": optimizer, "engine": engine}
    found = _run(json.dumps(job | {"training": training, "returning": returning}))
    return Measured(found["peak"], found["allocated"], predicted, found["building"])


def _check_fits(predicted: int, free: int | None) -> None:
    if free is not None and predicted > free:
        raise NeocogError(
            "this would not fit into memory, so it is not measured",
            received=f"{size(predicted)} predicted, {size(free)} free",
            hint="a smaller batch",
        )


def _run(job: str) -> dict[str, int]:
    paths = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    with TemporaryDirectory() as cache:  # native code is made there, and not found ready
        done = subprocess.run(
            [sys.executable, "-m", "neocog.measure.resident"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), CACHE: cache},
            input=job,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines()
        raise RunError("the measuring process failed", received=words[-1] if words else f"exit {done.returncode}")
    found: dict[str, int] = json.loads(done.stdout)
    return found
