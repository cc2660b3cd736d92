"""From images in memory to a trained and tested model: neocog, the PyTorch examples' loop, Keras's `fit`, in one run.

    .venv/bin/python bench/whole_runs.py [--rounds 3] [--write]

Each trains the same network for the same epochs with Nesterov momentum at the same rate in float32, in a process of its
own, one at a time by turns. The clock runs from the images as bytes in memory, libraries loaded, until the trained
model has read the test images: making the model, compiling, preparing and feeding images, and neocog's checkpoints and
report included. `--write` puts the table into docs/performance.md; three rounds take some 15 minutes on two cores.
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

import numpy as np
import torch
from contenders import HERE, OURS, PEERS
from networks import nodes_of
from page import row, write

from neocog import load_data, zoo
from neocog.measure.clock import watched
from neocog.measure.kept import machine_name
from neocog.resources import cores
from neocog.wording import count_of

TRAINERS = {
    "neocog": (HERE / "peers" / "fit_neocog.py", OURS),
    "PyTorch loop": (HERE / "peers" / "fit_torch.py", OURS),
    "Keras fit": (HERE / "peers" / "fit_keras.py", PEERS),
}


@dataclass(frozen=True)
class Job:
    """A network of the zoo, the images it learns from, and how long."""

    network: str
    data: str
    epochs: int
    batch: int


JOBS = (
    Job("lenet5-relu", "mnist", 5, 64),
    Job("convnetjs-cifar10", "cifar10", 5, 64),
    Job("resnet20", "cifar10", 1, 128),
)


@dataclass(frozen=True)
class Run:
    """What a trainer said, and how many cores other programs used meanwhile."""

    seconds: float
    accuracy: float
    others: float


def trained(name: str, work: Path, arrays: Path) -> Run:
    """One trainer's run. Exits with its words where it fails."""
    script, python = TRAINERS[name]
    process = subprocess.Popen(
        [python, script, work, arrays], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with watched(process.pid) as load:
        said, words = process.communicate()
    if process.returncode:
        sys.exit(f"{name} failed:\n{words}")
    told = json.loads(said.strip().splitlines()[-1])
    return Run(told["seconds"], told["accuracy"], load.others or 0.0)


def compared(job: Job, names: list[str], rounds: int) -> dict[str, list[Run]]:
    """Every trainer's runs of a job, by turns; each round has another seed."""
    network, data = zoo(job.network), load_data(job.data)
    found: dict[str, list[Run]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        arrays, work = Path(folder, "arrays.npz"), Path(folder, "work.json")
        parts = {"": data.train, "_test": data.test}
        images = {f"x{end}": np.asarray(part.images) for end, part in parts.items()}
        np.savez(arrays, **images, **{f"y{end}": part.labels.astype(np.uint8) for end, part in parts.items()})
        for seed in range(rounds):
            told = {"epochs": job.epochs, "batch": job.batch, "seed": seed}
            work.write_text(json.dumps({"nodes": nodes_of(network), "text": str(network), **told}), encoding="utf-8")
            for name in names:
                found[name].append(trained(name, work, arrays))
                print(job.network, name, found[name][-1], file=sys.stderr, flush=True)
    return found


def lines(job: Job, found: dict[str, list[Run]]) -> list[str]:
    """The rows of a job: seconds and accuracy as medians, and how often neocog's seconds, as the rounds' median."""
    ours = [run.seconds for run in found["neocog"]]
    made = []
    for name, runs in found.items():
        ratio = median(run.seconds / own for run, own in zip(runs, ours, strict=True))
        cells = [f"{job.network}, {count_of(job.epochs, 'epoch')} of {job.data}, batch {job.batch}", name]
        cells += [f"{median(run.seconds for run in runs):.1f}", f"{median(run.accuracy for run in runs):.2%}"]
        made.append(row([*cells, f"{ratio:.1f}", f"{median(run.others for run in runs):.1f}"]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    names = [name for name, (_, python) in TRAINERS.items() if python.exists()]
    heads = ["job", "trainer", "seconds", "test images read", "times neocog's seconds", "cores used by others"]
    table = [row(heads), row(["---", "---", *["---:"] * (len(heads) - 2)])]
    for job in JOBS:
        table += lines(job, compared(job, names, args.rounds))
    about = f"{machine_name(torch.device('cpu'))}, {cores()} cores; medians of {args.rounds} rounds."
    print("\n".join([about, "", *table]))
    if args.write:
        write("bench/whole_runs.py", [about, "", *table])


if __name__ == "__main__":
    main()
