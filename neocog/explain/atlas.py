r"""The class atlas: a data set laid out by what the network thinks of it, neighbours, and labels that may be wrong.

Images lie where t-SNE puts the values that the scores are made from. An image's neighbours are the ten nearest by
cosine of those values. Its label is in doubt by

    doubt = (1 - share of neighbours with its label) * (1 - probability that the network gives its label)

which is large only where both the network and the images most like it say something else (after Northcutt, Jiang and
Chuang, "Confident learning", JAIR 70, 2021, and Wilson, "Asymptotic properties of nearest neighbor rules using edited
data", 1972).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..data import Dataset
from ..measure.field_picture import PAPER
from . import colours
from .embedding import COLOURS
from .features import LEAST, Features, features, neighbour_map, standardised
from .method import View
from .question import Question, Shown
from .sheet import Panel, Strip

IMAGES, NEIGHBOURS, SUSPECTS, LISTED, SHOWN = 600, 10, 6, 30, 5
SIDE, THUMBNAIL = 960, 22
LEAST_DOUBT, MUCH_DOUBT = 0.1, 0.5
"""Labels that are listed, and those with a ring around them."""


@dataclass(frozen=True, eq=False)
class Doubts:
    """Of N images: their nearest others (N, NEIGHBOURS), how doubtful labels are (N,), what the network says (N,)."""

    neighbours: NDArray[np.int64]
    doubt: NDArray[np.float64]
    said: NDArray[np.int64]

    def order(self) -> NDArray[np.int64]:
        """The images, the most doubtful label first."""
        return np.argsort(-self.doubt, kind="stable")


def doubts(rows: Features, labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Doubts:
    """From the images' values (N, D), labels (N,) and probabilities (N, K)."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    near = np.argsort(-alike, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
    agreeing = (labels[near] == labels[:, None]).mean(axis=1)
    own = probabilities[np.arange(len(labels)), labels]
    return Doubts(near, (1 - agreeing) * (1 - own), probabilities.argmax(axis=1))


def show(question: Question) -> Shown:
    """The map of thumbnails, then the most doubtful images with their neighbours."""
    subject, layer = question.subject, _last(question)
    chosen, dataset = question.sample(IMAGES, LEAST)
    with subject.working():
        rows = features(question, dataset, (layer,))[layer]
        probabilities = np.concatenate([subject.probabilities(x) for x in question.inputs(dataset)])
    found = doubts(rows, dataset.labels, probabilities)
    places = neighbour_map(standardised(rows), question.seed)
    images = np.asarray(dataset.images[:])
    name = subject.network.nodes[layer].name
    lines = (
        f"{len(dataset)} images of {dataset.name} where t-SNE puts their values at {name}; frames have the colour of "
        f"the label, a red ring is around labels in doubt",
    )
    strips = [Strip((Panel(name, _map(places, images, dataset.labels, found), side=SIDE),), lines)]
    suspects = [int(n) for n in found.order()[:LISTED] if found.doubt[n] >= LEAST_DOUBT]
    strips += [_suspect(dataset, images, found, n) for n in suspects[:SUSPECTS]]
    document = {
        "data": dataset.name,
        "layer": name,
        "suspects": [
            {
                "image": int(chosen[n]),
                "label": dataset.classes[int(dataset.labels[n])],
                "said": dataset.classes[int(found.said[n])],
                "doubt": float(found.doubt[n]),
                "neighbours": [int(chosen[m]) for m in found.neighbours[n]],
            }
            for n in suspects
        ],
    }
    return Shown("an atlas of the classes, and labels that may be wrong", tuple(strips), document)


def _last(question: Question) -> int:
    """The layer named, or the one that the scores are made from."""
    subject = question.subject
    return question.positions[0] if question.positions else subject.network.nodes[subject.end].inputs[0]


def _map(places: Features, images: NDArray[np.uint8], labels: NDArray[np.int64], found: Doubts) -> NDArray[np.uint8]:
    """Thumbnails on a square; those in doubt come last, so that nothing covers them."""
    low, high = places.min(axis=0), places.max(axis=0)
    at = (places - low) / np.where(high > low, high - low, 1) * (SIDE - THUMBNAIL - 8) + 4
    sheet = Image.new("RGB", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(sheet)
    for n in found.order()[::-1]:
        x, y = int(at[n, 0]), int(SIDE - THUMBNAIL - 4 - at[n, 1])
        small = Image.fromarray(colours.in_colour(images[n])).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        sheet.paste(small, (x, y))
        pen.rectangle((x - 1, y - 1, x + THUMBNAIL, y + THUMBNAIL), None, COLOURS[int(labels[n]) % len(COLOURS)], 2)
        if found.doubt[n] > MUCH_DOUBT:
            pen.ellipse((x - 9, y - 9, x + THUMBNAIL + 8, y + THUMBNAIL + 8), None, "#d00000", 3)
    return np.asarray(sheet)


def _suspect(dataset: Dataset, images: NDArray[np.uint8], found: Doubts, n: int) -> Strip:
    classes, near = dataset.classes, found.neighbours[n][:SHOWN]
    panels = [Panel(f"label {classes[int(dataset.labels[n])]}", colours.in_colour(images[n]), side=110)]
    panels += [Panel(f"is {classes[int(dataset.labels[m])]}", colours.in_colour(images[m]), side=110) for m in near]
    label, said = classes[int(dataset.labels[n])], classes[int(found.said[n])]
    caption = f"doubt {found.doubt[n]:.2f}: labelled {label}, the network says {said}; its neighbours beside it"
    return Strip(tuple(panels), (caption,))


METHOD = View(
    name="atlas",
    says="a data set laid out by what the network thinks, neighbours, labels in doubt",
    source="van der Maaten and Hinton, 2008; Northcutt et al., 2021",
    needs=("data",),
    takes=("layer", "count"),
    show=show,
    extra="explain",
)
