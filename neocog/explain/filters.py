"""A layer's filters as tiles, on one scale, and the gradients of an image's score for them.

Filters of the first layer are shown in the colours they look for; deeper ones as one row of tiles for each filter, a
tile for each input map, the strongest filters first. All tiles of a layer share one scale, so that their strengths can
be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import NeocogError
from ..wording import Text
from . import colours
from .method import View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, tiles

FILTERS, INPUTS = 64, 16
"""Of a layer at most so many filters are shown, and of a filter so many input maps."""
TITLE = Text("filters of {0}", "{0} 的卷积核")
WEIGHTS = Text("weights", "权重")
SLOPES = Text("d score / d weights, {0}", "得分对权重的梯度，{0}")
SIDE_BY_SIDE = Text("filters side by side", "卷积核并排")
BY_INPUT = Text("a row for each filter, its first {0} input maps", "每个卷积核一行，取前 {0} 张输入图")
CAPTION = Text(
    "{0} {1}: {2} of {3} filters, {4}, each strip on one scale{5}",
    "{0} {1}：{3} 个卷积核中的 {2} 个，{4}，每一条同一标尺{5}",
)
OF_CLASSES = Text("; of the score of class {0}", "；类别 {0} 的得分")
GREY = Text("{0}: 0 is grey, black -{1:.2g}, white {1:.2g}", "{0}：灰为 0，黑为 -{1:.2g}，白为 {1:.2g}")
Named = tuple[Text, NDArray[Any]]
"""Kernels (K, C, *size) as a layer has them, under their name."""


def _layer(question: Question) -> tuple[int, Any]:
    """The position and the module of the layer named, else of the first that has filters. Raises NeocogError."""
    nodes = question.subject.network.nodes
    having = [k for k in question.subject.order if _has_filters(question, k)]
    if not having:
        raise NeocogError("no layer of this network has filters that can be shown")
    k = question.positions[0] if question.positions else having[0]
    if k not in having:
        hint = ", ".join(nodes[i].name for i in having[:3])
        raise NeocogError("only convolutions have filters that can be shown", where=nodes[k].name, hint=hint)
    return k, question.subject.module.get_submodule(nodes[k].name)


def _has_filters(question: Question, k: int) -> bool:
    """Whether a layer has one kernel for each pair of an output and an input map: weights (K, C, *size)."""
    subject = question.subject
    module: Any = subject.module.get_submodule(subject.network.nodes[k].name)
    weight = getattr(module, "weight", None)
    return weight is not None and _kernels(module, weight).ndim == 2 + subject.network.shapes[k].rank


def _kernels(module: Any, weight: Tensor) -> NDArray[Any]:
    """A layer's weight, or its gradient, as cross-correlation uses it, whatever table or flip the layer has."""
    kernels: NDArray[Any] = (module.kernel(weight) if hasattr(module, "kernel") else weight).detach().cpu().numpy()
    return kernels


def show(question: Question, *, gradients: bool) -> Shown:
    """The weights of a layer, and beside them the gradients of the score for them, for each image, where asked for."""
    k, module = _layer(question)
    weights = WEIGHTS, _kernels(module, module.weight)
    if not gradients:
        return _shown(question, k, [weights], ())
    found = [_slopes(question, module, n) for n in range(len(question.images))]
    return _shown(question, k, [weights, *found], [question.model.classes[c] for c in question.chosen])


def _slopes(question: Question, module: Any, image: int) -> Named:
    """The gradients of an image's score for a layer's weights."""
    one, weight = slice(image, image + 1), module.weight
    try:
        weight.requires_grad_()
        with torch.enable_grad():
            score = question.subject.score(question.x[one], question.class_target().of(one)).sum()
        (gradient,) = torch.autograd.grad(score, weight)
    finally:
        weight.requires_grad_(requires_grad=False)
    return SLOPES.filled(question.images[image].name), _kernels(module, gradient)


def _shown(question: Question, k: int, arrays: Sequence[Named], classes: Sequence[str]) -> Shown:
    """The strongest filters by their weights, in their order; the weights are the first of the arrays."""
    node, weights = question.subject.network.nodes[k], arrays[0][1]
    strength = np.abs(weights).reshape(len(weights), -1).sum(axis=1)
    chosen = np.sort(np.argsort(-strength, kind="stable")[: question.count or FILTERS])
    in_colour = node.inputs == (0,) and weights.ndim == 4 and weights.shape[1] == 3
    alone = in_colour or weights.shape[1] == 1
    rows = SIDE_BY_SIDE if alone else BY_INPUT.filled(min(INPUTS, weights.shape[1]))
    about = OF_CLASSES.filled(", ".join(dict.fromkeys(classes))) if classes else ""
    caption = CAPTION.filled(node.name, node.layer.token, len(chosen), len(weights), rows, about)
    *panels, last = (_panel(name, array[chosen], in_colour=in_colour) for name, array in arrays)
    document = {
        "layer": node.name,
        "shape": list(weights.shape),
        "shown": chosen.tolist(),
        "largest": {name.en: float(np.abs(array).max()) for name, array in arrays},
    }
    return Shown(TITLE.filled(node.name), (*(Strip((one,)) for one in panels), Strip((last,), (caption,))), document)


def _panel(name: Text, kernels: NDArray[Any], *, in_colour: bool) -> Panel:
    """Kernels (K, C, h, w), or (K, C, w) one pixel high, on one scale."""
    scale = float(np.abs(kernels).max()) or 1.0
    if in_colour:
        shades = np.rint(127.5 + 127.5 * kernels / scale).astype(np.uint8)
        return tiles(GREY.filled(name, scale), np.moveaxis(shades, 1, -1), None)
    kept = kernels[:, :INPUTS]
    flat = kept.reshape(-1, kept.shape[2] if kept.ndim == 4 else 1, kept.shape[-1])
    columns = None if kept.shape[1] == 1 else kept.shape[1]
    return tiles(name, colours.painted(flat, signed=True, scale=scale), Bar(True, scale), columns)


METHOD = View(
    name="filters",
    says=Text(
        "a layer's filters on one scale",
        "某层的卷积核，用同一标尺",
    ),
    source="Krizhevsky et al., 2012, figure 3",
    needs=(),
    takes=("layer", "count"),
    show=partial(show, gradients=False),
)
GRADIENTS = View(
    name="filter-gradients",
    says=Text(
        "the gradients of the score for a layer's filters",
        "得分对某层卷积核的梯度",
    ),
    source="ConvNetJS",
    needs=("image",),
    takes=("target", "layer", "count"),
    show=partial(show, gradients=True),
)
