"""How near the native engine comes to what the processor can do at all, and where the rest goes; needs a quiet machine.

A training step's useful operations a second, float32, on all cores, as a share of those of a kernel of nothing but
multiply-adds: the two take turns in one process, because shared processors change their pace within seconds. Below it,
the step's calls one by one on one thread: what share of the time convolutions and full connections take, and the share
of the limit that they reach themselves. `--write` puts the tables into docs/performance.md. `--layers NETWORK` prints
the same of each layer of one network instead, with products of bfloat16 beside the limit of float32.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from networks import NETWORKS
from page import row, write

from neocog.feed import Course, Pixels
from neocog.initialise import initialise
from neocog.measure.calls import Stepper
from neocog.measure.pace import peak
from neocog.native.pace import course_of
from neocog.native.trainer import NativeTrainer
from neocog.plan import Plan
from neocog.plan.time import operations
from neocog.resources import cores

ASKED = {"lenet5-relu": 1024, "convnetjs-cifar10": 256, "32-32-64-64": 256, "small VGG": 256, "resnet20": 256}
ROUNDS = 9
SECONDS = 0.5
TRIES = 4
SUMS = ("CONV", "FC")
"""Layers that are multiply-adds; all others are counted as passes over memory."""


@dataclass(frozen=True)
class Found:
    """Of one network: operations a second of its steps and of the limit by turns, and where a step's time goes."""

    name: str
    batch: int
    steps: list[float]
    limits: list[float]
    sums: float
    sums_share: float

    def cells(self) -> list[str]:
        """Of its line in the table."""
        shares = [step / limit for step, limit in zip(self.steps, self.limits, strict=True)]
        return [
            self.name,
            f"{self.batch}",
            f"{median(self.steps) / 1e9:.0f}",
            f"{median(self.limits) / 1e9:.0f}",
            f"{median(shares):.0%}",
            f"{min(shares):.0%} to {max(shares):.0%}",
            f"{self.sums:.0%}",
            f"{self.sums_share:.0%}",
        ]


def useful(name: str, batch: int) -> float:
    """Operations of a training step: the first layer with weights needs no gradient of its input."""
    return float(operations(NETWORKS[name].network().plan(batch=batch), "training").sum())


def limit(threads: int) -> float:
    """The most that was reached in a few tries: what disturbs it makes it less, never more."""
    return max(peak(threads) for _ in range(TRIES))


def steps(name: str, batch: int) -> tuple[NativeTrainer, Course]:
    """A trainer, and about two thousand images' worth of steps."""
    network = NETWORKS[name].network()
    trainer = NativeTrainer(network, initialise(network), loss="cross-entropy", batch_size=batch)
    shape, count, draw = network.input_shape, max(1, 2048 // batch), np.random.default_rng(0)
    pixels = Pixels(
        draw.integers(0, 256, (batch, *shape.spatial, shape.channels), np.uint8),
        np.full(shape.channels, 1 / 64, np.float32),
        np.full(shape.channels, -2, np.float32),
    )
    labels = draw.integers(0, network.shapes[-1].channels, batch)
    rows = np.tile(np.arange(batch), count)
    return trainer, Course(pixels, rows, labels[rows], None, np.full(count, batch), np.full(count, 1e-4))


def turns(name: str, batch: int) -> tuple[list[float], list[float]]:
    """Operations a second of steps and of the limit, turn by turn."""
    trainer, course = steps(name, batch)
    each = useful(name, batch) * len(course.sizes)
    found, limits = [], []
    trainer.learn(course)
    for _ in range(ROUNDS):
        before = limit(cores())
        count, start = 0, perf_counter()
        while (spent := perf_counter() - start) < SECONDS:
            trainer.learn(course)
            count += 1
        found.append(each * count / spent)
        limits.append(max(before, limit(cores())))
    return found, limits


def alone(plan: Plan) -> tuple[dict[str, float], float]:
    """On one thread: the seconds of each layer in a step, those of no layer under "", and the limit around them."""
    course, most = course_of(plan, "training", cores()), limit(1)
    spent: defaultdict[str, float] = defaultdict(float)
    for task, seconds in zip(course.tasks, Stepper(course).seconds(5), strict=True):
        spent[task.layer] += task.times * float(seconds)
    return spent, max(most, limit(1))


def inside(name: str, batch: int) -> tuple[float, float]:
    """The share of a step's time that multiply-adds take, and the share of the limit that they reach, on one thread."""
    network = NETWORKS[name].network()
    spent, most = alone(network.plan(batch=batch, optimizer="nesterov"))
    sums = sum(spent[node.name] for node in network.nodes if node.layer.op in SUMS)
    return sums / sum(spent.values()), useful(name, batch) / cores() / sums / most


def by_layer(name: str, batch: int, dtype: str) -> Iterator[str]:
    """Of each layer that multiplies: its part of a step's time, and its operations a second beside float32's limit."""
    plan = NETWORKS[name].network().plan(batch=batch, optimizer="nesterov", dtype=dtype)
    spent, most = alone(plan)
    for found, flops in zip(plan.rows, operations(plan, "training"), strict=True):
        if found.node.layer.op in SUMS:
            own = spent[found.node.name]
            share = own / sum(spent.values())
            yield row([found.node.name, f"{share:.0%}", f"{float(flops) / cores() / own / most:.2f}"])


def measured() -> Iterator[Found]:
    for name, batch in ASKED.items():
        found = Found(name, batch, *turns(name, batch), *inside(name, batch))
        print(row(found.cells()), flush=True)
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--layers", metavar="NETWORK", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=64, help="with --layers")
    parser.add_argument("--dtype", default="float32", help="with --layers")
    args = parser.parse_args()
    if args.layers:
        print("\n".join([row(["layer", "time", "times the limit"]), *by_layer(args.layers, args.batch, args.dtype)]))
        return
    heads = [
        "network",
        "batch",
        "GFLOP/s",
        "limit",
        "share",
        "turn by turn",
        "time in multiply-adds",
        "their own share",
    ]
    lines = [row(heads), row(["---", *("---:" for _ in heads[1:])]), *(row(found.cells()) for found in measured())]
    if args.write:
        write("bench/shares.py", lines)


if __name__ == "__main__":
    main()
