"""What the recipes come to: accuracy on the test images over seeds, and the seconds.

    bench/recipes.py recipes/mnist-fast.toml --seeds 10 [--device cuda] [--write]

The seconds are those of making the first weights, of every training step (the images' order, changes and way to a GPU,
the update, the averages), and of test-time augmentation where the recipe has it. Reading the data, making machine code
and the measurement after an epoch are not among them, nor is a first run that warms libraries up (`--warm`). `--write`
puts the line into docs/recipes.md, by recipe and machine.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from page import DOCS, row, write_line

from neocog import Network, load_data, train
from neocog.measure.kept import machine_name
from neocog.resources import cores
from neocog.training.recipe import read_recipe


def once(path: str, seed: int, given: dict[str, Any]) -> dict[str, Any]:
    """The record of one run."""
    recipe = read_recipe(path)
    network = Network.parse(recipe.network)
    data = load_data(recipe.data, network.input_shape)
    settings = {**recipe.settings, **given, "seed": seed}
    with TemporaryDirectory() as folder:
        return dict(train(network, data, out=Path(folder, "run"), progress="none", **settings).record)


def seconds(record: dict[str, Any]) -> float:
    """By the clock that is described above."""
    return record["starting_seconds"] + record["training_seconds"] + record.get("tta_seconds", 0.0)


def accuracy(record: dict[str, Any]) -> float:
    return record.get("tta_accuracy", record["test_accuracy"])


def where(record: dict[str, Any]) -> str:
    """The machine, in words."""
    name = machine_name(torch.device(record["device"]))
    return name if record["device"] != "cpu" else f"{cores()} core{'s' * (cores() > 1)} of {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at-least", type=float, default=0.0, help="accuracy that every seed must have")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    given = {"device": args.device}
    if args.warm:
        once(args.recipe, 1000, given)
    print(f"load {os.getloadavg()[0]:.1f} before\nseed   accuracy   seconds   whole run")
    records = []
    for seed in range(args.seeds):
        records.append(once(args.recipe, seed, given))
        last = records[-1]
        print(f"{seed:>4}   {accuracy(last):8.2%}   {seconds(last):7.2f}   {last['seconds']:9.1f}", flush=True)
    found, spent = [accuracy(record) for record in records], [seconds(record) for record in records]
    deviation = f" ± {stdev(found):.2%}" if len(found) > 1 else ""
    cells = [
        f"`{Path(args.recipe).name}`",
        where(records[0]),
        f"{records[0]['engine']}, {records[0]['settings']['dtype']}",
        f"{len(found)}",
        f"{mean(found):.2%}{deviation}",
        f"{min(found):.2%}",
        f"{mean(spent):,.2f}" if mean(spent) < 100 else f"{mean(spent):,.0f}",
    ]
    print(row(cells))
    if args.write:
        write_line("bench/recipes.py", row(cells), same=2, page=DOCS / "recipes.md")
    if min(found) < args.at_least:
        sys.exit(f"less than {args.at_least:.2%}")


if __name__ == "__main__":
    main()
