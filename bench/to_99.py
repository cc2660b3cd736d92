"""How many seconds until 99 % of the MNIST test digits are read? neocog and the first examples of PyTorch and Keras.

    .venv/bin/python bench/to_99.py [--seeds 3] [--learners neocog,PyTorch] [--write]

Each is a process of its own, one at a time; after each epoch it says how many test digits it reads, and from 99.0 % on
it is stopped. Training is everything since the first mini-batch was asked for, tests in between and compiling included;
the whole is from the start of the process, libraries and data included. `--write` puts the table into
docs/performance.md; three seeds take some 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from contenders import HERE, OURS, PEERS
from page import write
from speed import number, row

from neocog import load_data
from neocog.measure.clock import watched
from neocog.measure.kept import machine_name
from neocog.resources import cores

TARGET = 0.99


@dataclass(frozen=True)
class Learner:
    """A script in `peers/` that trains on a file of digits with a seed and prints a line after each epoch."""

    name: str
    script: Path
    python: Path


LEARNERS = (
    Learner("neocog", HERE / "peers" / "mnist_neocog.py", OURS),
    Learner("PyTorch", HERE / "peers" / "mnist_torch.py", OURS),
    Learner("Keras", HERE / "peers" / "mnist_keras.py", PEERS),
)


@dataclass(frozen=True)
class Learned:
    """Where a learner was stopped, or ended by itself: seconds, epochs, the share of test digits read."""

    training: float
    whole: float
    epochs: int
    accuracy: float
    others: float


def learn(learner: Learner, digits: Path, seed: int, target: float = TARGET) -> Learned:
    """Let it learn until the target, or as long as it does. Exits where it fails before its first epoch is over."""
    start = perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        command = [learner.python, learner.script, digits, str(seed), str(target)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        said: dict[str, float] = {}
        with watched(process.pid) as load:
            for line in process.stdout:
                if line.startswith("{"):
                    said = json.loads(line)
                    if said["accuracy"] >= target:
                        break
            whole = perf_counter() - start
        process.kill()
        process.communicate()
        if not said:
            errors.seek(0)
            sys.exit(f"{learner.name} failed:\n{errors.read()}")
    return Learned(said["seconds"], whole, int(said["epoch"]), said["accuracy"], load.others or 0.0)


def table(found: dict[str, list[Learned]], target: float = TARGET) -> list[str]:
    """Medians over the seeds; a learner that did not get there with one of them has none."""
    heads = ["", "seconds of training", "of the whole process", "epochs", "test digits read", "beside neocog"]
    lines = [row([*heads, "cores used by others"]), row(["---", *["---:"] * len(heads)])]
    ours = seconds(found.get("neocog", []), target)
    for name, runs in found.items():
        mine = seconds(runs, target)
        whole = median(run.whole for run in runs) if mine else None
        epochs = "-".join(str(n) for n in sorted({min(run.epochs for run in runs), max(run.epochs for run in runs)}))
        cells = [name, number(mine, "{:.1f}"), number(whole, "{:.1f}"), epochs]
        cells.append(f"{median(run.accuracy for run in runs):.2%}")
        cells.append(number(mine / ours if mine and ours else None, "{:.1f}"))
        lines.append(row([*cells, f"{median(run.others for run in runs):.1f}"]))
    return lines


def seconds(runs: list[Learned], target: float) -> float | None:
    if not runs or any(run.accuracy < target for run in runs):
        return None
    return median(run.training for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many runs of each (default 3)")
    parser.add_argument("--learners", default=",".join(one.name for one in LEARNERS), help="names, joined by commas")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    learners = [one for one in LEARNERS if one.name in args.learners.split(",") and one.python.exists()]
    found: dict[str, list[Learned]] = {one.name: [] for one in learners}
    with tempfile.TemporaryDirectory() as folder:
        digits = Path(folder, "mnist.npz")
        save_digits(digits)
        for seed in range(args.seeds):
            for one in learners:
                found[one.name].append(learn(one, digits, seed))
                print(one.name, seed, found[one.name][-1], file=sys.stderr, flush=True)
    about = f"{machine_name(torch.device('cpu'))}, {cores()} cores; medians of {args.seeds} seeds."
    lines = [about, "", *table(found)]
    print("\n".join(lines))
    if args.write:
        write("bench/to_99.py", lines)


def save_digits(path: Path) -> None:
    """MNIST as Keras has it in `mnist.npz`: images (N, 28, 28) and labels (N,), bytes."""
    data = load_data("mnist")
    arrays = {}
    for name, part in (("train", data.train), ("test", data.test)):
        arrays |= {f"x_{name}": part.images[..., 0], f"y_{name}": part.labels.astype(np.uint8)}
    np.savez(path, **arrays)


if __name__ == "__main__":
    main()
