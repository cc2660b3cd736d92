"""The maps that an image makes in a layer, on one scale, and the score's gradients for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..wording import Text
from . import colours
from .cam import at_layer
from .method import View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, tiles

MAPS = 64
WHAT = {
    False: (Text("maps of a layer", "某层的特征图"), Text("maps", "特征图")),
    True: (
        Text("gradients of the score for a layer's maps", "得分对某层特征图的梯度"),
        Text("d score of class {0} / d maps", "类别 {0} 的得分对特征图的梯度"),
    ),
}
"""The picture's title and what it shows: of maps, and of gradients."""
CAPTION = Text(
    "{0}: {1} of {2} {3}, {4} of {5}, {6:.3g} to {7:.3g}, one scale; {8:.0%} are not 0",
    "{0}：{2} {3} 的{1}，{5} 张中的 {4} 张，从 {6:.3g} 到 {7:.3g}，同一标尺；{8:.0%} 不为 0",
)


def show(question: Question, *, gradients: bool) -> Shown:
    """The maps, or the gradients for them, of the layers named or of the default one: a strip for each image."""
    strips, rows = [], []
    for position in question.positions or (question.layer(),):
        for image in range(len(question.x)):
            name = question.subject.network.nodes[position].name
            values = _values(question, position, image, gradients=gradients)
            panel, chosen = _panel(name, values, question.count or MAPS)
            row: dict[str, Any] = {
                "file": question.images[image].name,
                "layer": name,
                "shape": list(values.shape),
                "shown": chosen,
                "least": float(values.min()),
                "largest": float(values.max()),
                "not_zero": float((values != 0).mean()),
            }
            strips.append(Strip((panel,), (_caption(question, position, image, row, gradients=gradients),)))
            rows.append(row)
    return Shown(WHAT[gradients][0], tuple(strips), {"maps": rows})


def _values(question: Question, position: int, image: int, *, gradients: bool) -> NDArray[Any]:
    """What a layer holds for an image, or its gradients: (K, *size)."""
    one = slice(image, image + 1)
    if gradients:
        _, found = at_layer(question.subject, question.x[one], question.class_target().of(one), position)
    else:
        found = question.subject.volume(question.x[one], position)
    values: NDArray[Any] = found[0].float().cpu().numpy()
    return values


def _caption(question: Question, position: int, image: int, row: dict[str, Any], *, gradients: bool) -> Text:
    node, what = question.subject.network.nodes[position], WHAT[gradients][1]
    shown = what.filled(question.model.classes[question.chosen[image]]) if gradients else what
    count = len(row["shown"]), row["shape"][0]
    return CAPTION.filled(
        row["file"], shown, node.name, node.layer.token, *count, row["least"], row["largest"], row["not_zero"]
    )


def _panel(name: str, values: NDArray[Any], most: int) -> tuple[Panel, list[int]]:
    """The strongest maps, in their order; a vector's values as one row."""
    strength = np.abs(values).reshape(len(values), -1).max(axis=1)
    chosen = np.sort(np.argsort(-strength, kind="stable")[:most]).tolist()
    kept = values[chosen]
    kept = kept.reshape(len(kept), -1, kept.shape[-1])
    signed, scale = bool(values.min() < 0), colours.scale_of(values)
    return tiles(name, colours.painted(kept, signed=signed, scale=scale), Bar(signed, scale)), chosen


METHOD = View(
    name="activations",
    says=Text(
        "the maps that an image makes in a layer",
        "图像在某层产生的特征图",
    ),
    source="Zeiler and Fergus, 2014",
    needs=("image",),
    takes=("layers", "count"),
    show=partial(show, gradients=False),
)
GRADIENTS = View(
    name="activation-gradients",
    says=Text(
        "the gradients of the score for a layer's maps",
        "得分对某层特征图的梯度",
    ),
    source="ConvNetJS",
    needs=("image",),
    takes=("target", "layers", "count"),
    show=partial(show, gradients=True),
)
