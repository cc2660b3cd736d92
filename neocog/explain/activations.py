"""The maps that an image makes in a layer, on one scale, and the score's gradients for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import colours
from .cam import at_layer
from .method import Asked, View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, tiles

MAPS = 64


def show(question: Question) -> Shown:
    """The maps of the layers named, or of the default one, for each image."""
    return _shown(question, gradients=False)


def show_gradients(question: Question) -> Shown:
    """The gradients of the score for a layer's maps."""
    return _shown(question, gradients=True)


def _shown(question: Question, *, gradients: bool) -> Shown:
    subject, strips, rows = question.subject, [], []
    for k in question.positions or (question.layer(),):
        node = subject.network.nodes[k]
        for image in range(len(question.x)):
            part = slice(image, image + 1)
            maps, slopes = at_layer(subject, question.x[part], Asked(question.class_target()), part, k)
            values = (slopes if gradients else maps)[0].float().cpu().numpy()
            shown, chosen = _panel(node.name, values, question.count or MAPS)
            what = (
                f"d score of class {question.model.classes[question.chosen[image]]} / d maps" if gradients else "maps"
            )
            name = question.images[image].name
            caption = (
                f"{name}: {what} of {node.name} {node.layer.token}, {len(chosen)} of {len(values)}, "
                f"{values.min():.3g} to {values.max():.3g}, one scale; {(values != 0).mean():.0%} are not 0"
            )
            strips.append(Strip((shown,), (caption,)))
            rows.append(
                {
                    "file": name,
                    "layer": node.name,
                    "shape": list(values.shape),
                    "shown": chosen,
                    "least": float(values.min()),
                    "largest": float(values.max()),
                    "not_zero": float((values != 0).mean()),
                }
            )
    title = "gradients of the score for a layer's maps" if gradients else "maps of a layer"
    return Shown(title, tuple(strips), {"maps": rows})


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
    says="the maps that an image makes in a layer",
    source="Zeiler and Fergus, 2014",
    needs=("image",),
    takes=("layers", "count"),
    show=show,
)
GRADIENTS = View(
    name="activation-gradients",
    says="the gradients of the score for a layer's maps",
    source="ConvNetJS",
    needs=("image",),
    takes=("target", "layers", "count"),
    show=show_gradients,
)
