"""Layer by layer, how a data set's classes come apart: a plot of each layer's plane, and what a line can tell there.

The images are shown where the layer's values put them: by the first two principal components, or by t-SNE, which keeps
neighbours together. Below stands how many images a linear classifier gets right that learned from the other half: a
layer that makes classes separable by a plane does so whatever the plane of the picture shows.

Sources: Alain and Bengio, "Understanding intermediate layers using linear classifier probes", arXiv 1610.01644; van der
Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..lettering import font
from ..measure.field_picture import INK, PAPER
from ..statistics import share_interval
from ..wording import Text
from .features import LEAST, Features, features, neighbour_map, principal, probe, standardised
from .inversion import spread
from .method import View
from .question import Question, Shown
from .sheet import TEXT, Panel, cut_to, in_rows

IMAGES, LAYERS, ACROSS, SIDE = 1000, 8, 5, 300
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#222222", "#ee8866", "#44bb99", "#999999")
"""Of classes, from Tol's bright and light schemes, made for any colour vision; the eleventh has the first again."""
TITLE = Text("how classes come apart, layer by layer", "各类如何逐层分开")
PROBE = Text("{0}: linear probe {1:.1%}", "{0}：线性探针 {1:.1%}")
COMPONENTS = Text("the first two principal components", "前两个主成分")
NEAREST = Text("t-SNE", " t-SNE ")
CAPTION = Text(
    "{0} images of {1} by {2}; the probe is logistic regression on every second image, its accuracy that on the others",
    "{1} 的 {0} 张图像，按{2}排布；探针是用每隔一张的图像拟合的逻辑回归，准确率是对其余图像的",
)
KEY = Text("classes", "类别")


def show(question: Question, *, neighbours: bool) -> Shown:
    """A plot for each layer, the input first."""
    subject = question.subject
    _, dataset = question.sample(IMAGES, LEAST)
    layers = question.positions or (0, *spread(subject, LAYERS - 1))
    train = np.arange(len(dataset)) % 2 == 0
    panels, rows = [], []
    with subject.working():
        found = features(question, dataset, tuple(dict.fromkeys(layers)))
    for k in layers:
        values = standardised(found[k])
        answers = probe(values, dataset.labels, train)
        right = int((answers == dataset.labels)[~train].sum())
        share, interval = right / int((~train).sum()), share_interval(right, int((~train).sum()))
        places = neighbour_map(values, question.seed) if neighbours else principal(values)
        name = subject.network.nodes[k].name
        panels.append(Panel(PROBE.filled(name, share), scatter(places, dataset.labels), side=SIDE))
        rows.append(
            {"layer": name, "features": values.shape[1], "probe_accuracy": share, "interval": list(interval)}
            | {"places": np.round(places, 3).tolist()}
        )
    caption = CAPTION.filled(len(dataset), dataset.name, NEAREST if neighbours else COMPONENTS)
    strips = in_rows((*panels, _key(dataset.classes)), ACROSS, caption)
    return Shown(TITLE, strips, {"data": dataset.name, "layers": rows})


def scatter(places: Features, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Dots (SIDE, SIDE, 3) at places (N, 2), coloured by class; one in a hundred at each end may be cut off."""
    low, high = np.quantile(places, 0.005, axis=0), np.quantile(places, 0.995, axis=0)
    at = (places - low) / np.where(high > low, high - low, 1)
    fine = 2 * SIDE
    image = Image.new("RGB", (fine, fine), PAPER)
    pen = ImageDraw.Draw(image)
    for (x, y), label in zip(at.clip(0, 1) * (fine - 24) + 12, labels, strict=True):
        pen.ellipse((x - 5, fine - y - 5, x + 5, fine - y + 5), COLOURS[int(label) % len(COLOURS)])
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))


def _key(classes: tuple[str, ...]) -> Panel:
    """The colours and the first classes that have them, from top to bottom."""
    height, width, named = 22, 150, classes[: len(COLOURS)]
    image = Image.new("RGB", (width, height * len(named)), PAPER)
    pen = ImageDraw.Draw(image)
    for k, name in enumerate(named):
        pen.rectangle((4, k * height + 4, 18, (k + 1) * height - 5), COLOURS[k])
        shown = cut_to(name, width - 30, TEXT * 0.9)
        pen.text((26, k * height + 2), shown, INK, font(TEXT * 0.9, shown))
    return Panel(KEY, np.asarray(image), side=max(image.size))


METHOD = View(
    name="embedding",
    says=Text(
        "a data set layer by layer, by principal components, with a linear probe's accuracy",
        "逐层以主成分展示数据集，并给出线性探针的准确率",
    ),
    source="Alain and Bengio, 2016",
    needs=("data",),
    takes=("layers", "count"),
    show=partial(show, neighbours=False),
    extra="explain",
)
NEIGHBOURS = View(
    name="embedding-tsne",
    says=Text(
        "the same by t-SNE",
        "同上，用 t-SNE",
    ),
    source="van der Maaten and Hinton, 2008; Alain and Bengio, 2016",
    needs=("data",),
    takes=("layers", "count"),
    show=partial(show, neighbours=True),
    extra="explain",
)
