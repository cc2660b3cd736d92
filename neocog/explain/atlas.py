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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..data import Dataset
from ..measure.field_picture import PAPER
from ..wording import Text
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
TITLE = Text("an atlas of the classes, and labels that may be wrong", "类别的地图，以及可能标错的标签")
MAP = Text(
    "{0} images of {1} where t-SNE puts their values at {2}; frames have the colour of the label, a red ring is around "
    "labels in doubt",
    "{1} 的 {0} 张图像，按 t-SNE 对 {2} 处数值的排布；边框颜色为标签，存疑的标签套红圈",
)
LABEL, IS = Text("label {0}", "标签 {0}"), Text("is {0}", "是 {0}")
SUSPECT = Text(
    "doubt {0:.2f}: labelled {1}, the network says {2}; its neighbours beside it",
    "可疑程度 {0:.2f}：标签为 {1}，网络认为是 {2}；右边是它的近邻",
)


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
    found, images = doubts(rows, dataset.labels, probabilities), np.asarray(dataset.images[:])
    places = neighbour_map(standardised(rows), question.seed)
    name = subject.network.nodes[layer].name
    ground = Panel(name, _map(places, images, dataset.labels, found), side=SIDE)
    suspects = [int(n) for n in found.order()[:LISTED] if found.doubt[n] >= LEAST_DOUBT]
    strips = [
        Strip((ground,), (MAP.filled(len(dataset), dataset.name, name),)),
        *(_suspect(dataset, images, found, n) for n in suspects[:SUSPECTS]),
    ]
    listed = [_row(dataset, chosen, found, n) for n in suspects]
    return Shown(TITLE, tuple(strips), {"data": dataset.name, "layer": name, "suspects": listed})


def _row(dataset: Dataset, chosen: NDArray[np.int64], found: Doubts, n: int) -> dict[str, Any]:
    """A doubtful label in plain values; images by their numbers in the whole data set."""
    return {
        "image": int(chosen[n]),
        "label": dataset.classes[int(dataset.labels[n])],
        "said": dataset.classes[int(found.said[n])],
        "doubt": float(found.doubt[n]),
        "neighbours": [int(chosen[m]) for m in found.neighbours[n]],
    }


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
    names = [dataset.classes[int(label)] for label in dataset.labels]
    shown = [(LABEL, n), *((IS, int(m)) for m in found.neighbours[n][:SHOWN])]
    panels = tuple(Panel(what.filled(names[m]), colours.in_colour(images[m]), side=110) for what, m in shown)
    return Strip(panels, (SUSPECT.filled(found.doubt[n], names[n], dataset.classes[int(found.said[n])]),))


METHOD = View(
    name="atlas",
    says=Text(
        "a data set laid out by what the network thinks, neighbours, labels in doubt",
        "按网络的看法排布数据集：近邻，以及可能标错的标签",
    ),
    source="van der Maaten and Hinton, 2008; Northcutt et al., 2021",
    needs=("data",),
    takes=("layer", "count"),
    show=show,
    extra="explain",
)
