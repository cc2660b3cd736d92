"""How good the explanations are, by number: every method's map on test images of digits and of CIFAR-10.

    bench/explanations.py [--network lenet5] [--models FOLDER] [--images 100] [--write]

Trains LeNet-5 (ReLU) on MNIST for 3 epochs and ResNet-20 on CIFAR-10 for 15, or takes `lenet5.safetensors` and
`resnet20.safetensors` in FOLDER where they lie there. The images are the first of the test set that the network gets
right.

- lead: insertion minus deletion, less that of random maps (`neocog.explain.evidence`), the mean over images with 1.96
  standard errors of that mean. It is above 0 where the map finds what counts.
- shifted: the same against the image's own map, moved by a random distance: as smooth, at the wrong place.
- likeness: to the map of a network with random weights, the mean over images.
- gap: the largest by which a sum misses the score's change, for methods that promise it.

`--write` puts the tables into docs/explain.md, and the pictures into docs/images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from page import DOCS, row, write

from neocog import Model, load, load_data, train, zoo
from neocog.data import Dataset
from neocog.explain import METHODS, Attribution, Question, ask, picture
from neocog.explain.evidence import RANDOM_MAPS, areas, likeness, order
from neocog.explain.explaining import randomised_maps
from neocog.explain.method import Asked
from neocog.explain.sheet import draw
from neocog.files import write_atomically

PAGE, PICTURES = DOCS / "explain.md", DOCS / "images"
NETWORKS = {"lenet5": "lenet5-relu", "resnet20": "resnet20"}
DATA = {"lenet5": "mnist", "resnet20": "cifar10"}
SETTINGS: dict[str, dict[str, Any]] = {
    "lenet5": {"epochs": 3},
    "resnet20": {
        "epochs": 15,
        "lr": 0.2,
        "batch_size": 128,
        "augment": "shift=4, flip",
        "measure_every": 5,
        "dtype": "bfloat16",
    },
}
TITLES = {"lenet5": "LeNet-5 (ReLU) on MNIST", "resnet20": "ResNet-20 on CIFAR-10"}


def model_of(name: str, folder: Path) -> Model:
    """The trained network, from the folder or trained now and left there."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        model = train(zoo(NETWORKS[name]), load_data(DATA[name]), out=folder / name, seed=0, **SETTINGS[name])
        model.save(path)
    return load(path)


def right_ones(model: Model, dataset: Dataset, count: int) -> np.ndarray:
    """The first test images that the network gets right."""
    scores = model.scores(model.preprocessing(np.asarray(dataset.images[: 3 * count])))
    return np.flatnonzero(scores.argmax(axis=1) == dataset.labels[: 3 * count])[:count]


def controls(question: Question, seed: int = 0) -> list[float]:
    """Insertion minus deletion of random maps, the mean for each image."""
    rng, target, found = np.random.default_rng(seed), question.class_target(), []
    for k in range(len(question.x)):
        one, size = slice(k, k + 1), question.x[0, 0].numel()
        pairs = [
            areas(question.subject, question.x[one], target.of(one), rng.permutation(size)) for _ in range(RANDOM_MAPS)
        ]
        found.append(mean(insertion - deletion for deletion, insertion in pairs))
    return found


def measured(question: Question, method: Attribution, random: list[float]) -> dict[str, list[float]]:
    """For each image: lead over random maps, lead over its own map moved, likeness, gap."""
    subject, x, target = question.subject, question.x, question.class_target()
    found = method.attribute(subject, x, Asked(target))
    maps = found.maps(signed=method.signed)
    other = randomised_maps(question, method, Asked(target), x)
    rng = np.random.default_rng(1)
    rows: dict[str, list[float]] = {"lead": [], "shifted": [], "likeness": []}
    for k, own in enumerate(maps):
        one = slice(k, k + 1)
        moved = np.roll(own, rng.integers(own.shape[0] // 4, 3 * own.shape[0] // 4, 2), axis=(0, 1))
        values = []
        for each in (own, moved):
            deletion, insertion = areas(subject, x[one], target.of(one), order(each, rng))
            values.append(insertion - deletion)
        rows["lead"].append(values[0] - random[k])
        rows["shifted"].append(values[0] - values[1])
        rows["likeness"].append(likeness(own, other[k]))
    if found.gap is not None:
        rows["gap"] = [float(gap) for gap in found.gap]
    return rows


def interval(values: list[float]) -> str:
    """The mean and 1.96 standard errors of it."""
    return f"{mean(values):+.3f} ± {1.96 * stdev(values) / len(values) ** 0.5:.3f}"


def table(name: str, model: Model, images: int) -> Iterator[str]:
    """A row for each method."""
    dataset = load_data(DATA[name]).test
    chosen = right_ones(model, dataset, images)
    question = ask(model, np.asarray(dataset.images)[chosen])
    accuracy = f"{model.record['test_accuracy']:.2%} of the test images right"
    yield f"{TITLES[name]}, {accuracy}; {len(chosen)} images:"
    yield ""
    yield row(
        ["method", "lead over random maps", "lead over its own map moved", "likeness to random weights", "largest gap"]
    )
    yield row(["---"] * 5)
    with question.subject.working():
        random = controls(question)
        for method in METHODS:
            if isinstance(method, Attribution):
                found = measured(question, method, random)
                gap = f"{max(found['gap']):.1e}" if "gap" in found else ""
                mark = " (follows the image)" if method.edges else ""
                cells = [f"`{method.name}`{mark}", interval(found["lead"]), interval(found["shifted"])]
                yield row([*cells, f"{mean(found['likeness']):.2f}", gap])
    yield ""


def probes(name: str, model: Model) -> Iterator[str]:
    """A linear probe's accuracy by depth, and the picture of it."""
    dataset = load_data(DATA[name]).test
    shown = picture(model, "embedding", data=dataset, count=2000)
    write_atomically(PICTURES / f"explain-embedding-{name}.png", shown.picture())
    yield f"{TITLES[name]}, 2,000 test images:"
    yield ""
    yield row(["layer", "values", "right by a line through them"])
    yield row(["---"] * 3)
    for layer in shown.document["layers"]:
        low, high = layer["interval"]
        yield row(
            [layer["layer"], f"{layer['features']:,}", f"{layer['probe_accuracy']:.1%} ({low:.1%} to {high:.1%})"]
        )
    yield ""


def pictures(model: Model) -> None:
    """What docs/explain.md shows, of the network for digits."""
    seven, mnist = [relpath(DOCS / "images" / "seven.jpg")], load_data("mnist").test
    methods = ("grad-cam", "integrated-gradients", "lrp", "guided-backprop")
    strips = [strip for name in methods for strip in picture(model, name, seven, layers=()).strips]
    write_atomically(PICTURES / "explain-methods.png", draw("one image, four methods, their evidence", strips))
    views = {
        "inversion": picture(model, "inversion", seven),
        "classes": picture(model, "class-image"),
        "patches": picture(model, "patches", data=mnist, layers=("relu2",), count=4),
        "field": picture(model, "field", seven, layers=("relu2",)),
        "atlas": picture(model, "atlas", data=mnist, count=300),
    }
    for name, shown in views.items():
        write_atomically(PICTURES / f"explain-{name}.png", shown.picture())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="only this one")
    parser.add_argument("--models", type=Path, default=Path("runs", "explanations"))
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for name in args.network or NETWORKS:
        model, lines = model_of(name, args.models), []
        for part in (table(name, model, args.images), probes(name, model)):
            for line in part:
                print(line, flush=True)
                lines.append(line)
        if args.write:
            write(f"bench/explanations.py {name}", lines[:-1], PAGE)
            if name == "lenet5":
                pictures(model)


if __name__ == "__main__":
    main()
