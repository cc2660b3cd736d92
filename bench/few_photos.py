"""What fine-tuning comes to on forty photos, beside training from scratch on the same ones.

    bench/few_photos.py [--folder few-photos] [--seeds 5] [--write]

CIFAR-10 stands in for a photo collection and for what a network has seen before it. The trunk learns eight of its
classes for a few minutes. Then for each seed twenty other training images of dogs and twenty of horses become PNG files
in a folder, with all 2,000 test images of the two, and the network of recipes/few-photos.toml learns from that folder
twice: from the trunk, as the recipe says, and from random weights, with every layer learning. `--seeds 0` makes the
trunk and one folder only, for `neocog train --recipe recipes/few-photos.toml`. `--write` puts the table into
docs/recipes.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from page import DOCS, row, write
from PIL import Image

from neocog import Network, load_data, train
from neocog.data import Dataset, Splits
from neocog.training.recipe import Recipe, read_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "few-photos.toml"
NEW = ("dog", "horse")
"""Classes that the trunk has not seen."""
PHOTOS = 20
"""Of each class to learn from."""
BEFORE: dict[str, Any] = {"epochs": 6, "batch_size": 128, "lr": 0.1, "augment": "shift=2, flip", "label_smoothing": 0.1}
"""How the trunk learns."""
SCRATCH: dict[str, Any] = {"start": None, "rates": "none", "lr": 0.1}
"""What differs where training begins with random weights, of two learning rates the better."""


def without_new(dataset: Dataset) -> Dataset:
    """The images of the other classes."""
    names = tuple(name for name in dataset.classes if name not in NEW)
    chosen = np.flatnonzero([dataset.classes[label] in names for label in dataset.labels])
    part = dataset.subset(chosen)
    return replace(part, labels=np.array([names.index(dataset.classes[k]) for k in part.labels]), classes=names)


def make_trunk(recipe: Recipe, data: Splits, folder: Path) -> None:
    """Train the recipe's network on the other classes, unless that was done before."""
    if (folder / "model.safetensors").is_file():
        return
    others = Splits(without_new(data.train), without_new(data.test))
    network = Network.parse(recipe.network.replace(f"FC{len(NEW)}", f"FC{len(others.train.classes)}"))
    train(network, others, out=folder, **BEFORE)


def make_photos(data: Splits, folder: Path, seed: int) -> None:
    """Write a folder with splits and classes, of training images drawn by the seed and all test images."""
    for name in NEW:
        numbers = np.flatnonzero(data.train.labels == data.train.classes.index(name))
        write_photos(data.train, np.random.default_rng(seed).choice(numbers, PHOTOS, replace=False), folder, name)
        write_photos(data.test, np.flatnonzero(data.test.labels == data.test.classes.index(name)), folder, name)


def write_photos(dataset: Dataset, numbers: np.ndarray[Any, Any], folder: Path, name: str) -> None:
    """Images of one class as PNG files, named by their numbers in the data set."""
    place = folder / dataset.split / name
    place.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(dataset.images[number]).save(place / f"{number:05}.png")


def accuracy(network: Network, photos: Path, settings: Mapping[str, Any]) -> float:
    """On the folder's test images after a run."""
    with TemporaryDirectory() as folder:
        model = train(network, str(photos), out=Path(folder, "run"), progress="none", **settings)
    return float(model.record["test_accuracy"])


def table(found: Mapping[str, list[float]]) -> list[str]:
    """Mean, deviation and least of each way's accuracies over seeds."""
    heads = ("begins with", "seeds, each with its own 40 photos", "accuracy", "least")
    lines = [row(heads), "| --- | ---: | ---: | ---: |"]
    for way, values in found.items():
        lines.append(row((way, f"{len(values)}", f"{mean(values):.1%} ± {stdev(values):.1%}", f"{min(values):.1%}")))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("few-photos"))
    parser.add_argument("--seeds", type=int, default=5, help="0 or from 2 on")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    recipe, data = read_recipe(RECIPE), load_data("cifar10")
    network = Network.parse(recipe.network)
    make_trunk(recipe, data, args.folder / "trunk")
    photos = [args.folder / f"photos-{seed}" for seed in range(max(1, args.seeds))]
    for seed, folder in enumerate(photos):
        make_photos(data, folder, seed)
    if not args.seeds:
        return
    tuned = {**recipe.settings, "start": args.folder / "trunk" / "model.safetensors"}
    ways = {"the trunk, as in the recipe": tuned, "random weights, all layers at one rate": {**tuned, **SCRATCH}}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for seed, folder in enumerate(photos):
        for way, settings in ways.items():
            found[way].append(accuracy(network, folder, {**settings, "seed": seed}))
            print(f"seed {seed}, {way}: {found[way][-1]:.2%}", flush=True)
    print("\n".join(lines := table(found)))
    if args.write:
        write("bench/few_photos.py", lines, page=DOCS / "recipes.md")


if __name__ == "__main__":
    main()
