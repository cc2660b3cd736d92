"""A layer's filters as tiles, on one scale, and the gradients of an image's score for them.

Filters of the first layer are shown in the colours they look for; deeper ones as one row of tiles for each filter, a
tile for each input map, the strongest filters first. All tiles of a layer share one scale, so that their strengths can
be compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import NeocogError
from . import colours
from .method import View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, tiled

FILTERS, INPUTS = 64, 16
"""Of a layer at most so many filters are shown, and of a filter so many input maps."""
TILE, WIDE = 64, 900


def _weight(question: Question) -> tuple[int, Any]:
    """The layer's position and its module, which must have filters. Raises NeocogError."""
    subject = question.subject
    nodes = subject.network.nodes
    for k in question.positions or subject.order:
        module: Any = subject.module.get_submodule(nodes[k].name)
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() == 2 + nodes[k].layer.output_shape(*_inputs(question, k)).rank:
            return k, module
        if question.positions:
            break
    named = nodes[question.positions[0]].name if question.positions else "the network"
    raise NeocogError("only convolutions have filters that can be shown", where=named, hint="conv1")


def _inputs(question: Question, k: int) -> tuple[Any, ...]:
    return question.subject.network.input_shapes(question.subject.network.nodes[k])


def show(question: Question) -> Shown:
    """The weights of a layer."""
    k, module = _weight(question)
    kernel = module.kernel() if hasattr(module, "kernel") else module.weight
    return _shown(question, k, [("weights", kernel.detach().cpu().numpy())], ())


def show_gradients(question: Question) -> Shown:
    """The weights, and beside them the gradients of the score for them, for each image."""
    k, module = _weight(question)
    subject, found = question.subject, []
    weight = module.weight
    target = question.class_target()
    for image in range(len(question.x)):
        one = slice(image, image + 1)
        try:
            weight.requires_grad_()
            with torch.enable_grad():
                score = subject.score(question.x[one], target.of(one)).sum()
            (gradient,) = torch.autograd.grad(score, weight)
        finally:
            weight.requires_grad_(requires_grad=False)
        name = f"d score / d weights, {question.images[image].name}"
        found.append((name, gradient.detach().cpu().numpy()))
    classes = [question.model.classes[c] for c in question.chosen]
    return _shown(question, k, [("weights", weight.detach().cpu().numpy()), *found], classes)


def _shown(
    question: Question, k: int, arrays: list[tuple[str, NDArray[Any]]], classes: tuple[str, ...] | list[str]
) -> Shown:
    node = question.subject.network.nodes[k]
    weights = arrays[0][1]
    strength = np.abs(weights).reshape(len(weights), -1).sum(axis=1)
    chosen = np.sort(np.argsort(-strength, kind="stable")[: question.count or FILTERS])
    strips = tuple(Strip((_panel(name, array[chosen]),)) for name, array in arrays)
    rows = (
        "filters side by side"
        if weights.shape[1] in (1, 3)
        else f"a row for each filter, its first {INPUTS} input maps"
    )
    caption = f"{node.name} {node.layer.token}: {len(chosen)} of {len(weights)} filters, {rows}, one scale" + (
        f"; of the score of class {', '.join(dict.fromkeys(classes))}" if classes else ""
    )
    strips = (*strips[:-1], Strip(strips[-1].panels, (caption,)))
    document = {
        "layer": node.name,
        "shape": list(weights.shape),
        "shown": chosen.tolist(),
        "largest": {name: float(np.abs(array).max()) for name, array in arrays},
    }
    return Shown(f"filters of {node.name}", strips, document)


def _panel(name: str, kernels: NDArray[Any]) -> Panel:
    if kernels.ndim == 3:
        kernels = kernels[:, :, None]  # a sequence's are one pixel high
    scale = float(np.abs(kernels).max()) or 1.0
    count, inputs, height, width = kernels.shape
    columns = min(16, count)
    if inputs == 3:
        shades = np.rint(127.5 + 127.5 * kernels / scale).astype(np.uint8)
        tiles, bar = np.moveaxis(shades, 1, -1), None
        name += ", 0 is grey"
    else:
        kept = kernels[:, :INPUTS]
        if inputs > 1:
            columns = kept.shape[1]
        tiles = colours.painted(kept.reshape(-1, height, width), signed=True, scale=scale)
        bar = Bar(True, scale)
    enlarge = max(1, min(TILE // max(height, width), WIDE // (columns * (width + 1))))
    tiles = tiles.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    picture = tiled(tiles, columns, gap=2)
    return Panel(name, picture, bar, side=max(picture.shape[:2]))


METHOD = View(
    name="filters",
    says="a layer's filters on one scale",
    source="Krizhevsky et al., 2012, figure 3",
    needs=(),
    show=show,
)
GRADIENTS = View(
    name="filter-gradients",
    says="the gradients of the score for a layer's filters",
    source="ConvNetJS",
    needs=("image",),
    show=show_gradients,
)
