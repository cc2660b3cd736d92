"""A layer's filters as tiles, on one scale, and the gradients of an image's score for them.

Filters of the first layer are shown in the colours they look for; deeper ones as one row of tiles for each filter, a
tile for each input map, the strongest filters first. All tiles of a layer share one scale, so that their strengths can
be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import NeocogError
from . import colours
from .method import View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, tiles

FILTERS, INPUTS = 64, 16
"""Of a layer at most so many filters are shown, and of a filter so many input maps."""


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


def show(question: Question) -> Shown:
    """The weights of a layer."""
    k, module = _layer(question)
    return _shown(question, k, {"weights": _kernels(module, module.weight)}, ())


def show_gradients(question: Question) -> Shown:
    """The weights, and beside them the gradients of the score for them, for each image."""
    k, module = _layer(question)
    subject, weight, target = question.subject, module.weight, question.class_target()
    arrays = {"weights": _kernels(module, weight)}
    for n, image in enumerate(question.images):
        one = slice(n, n + 1)
        try:
            weight.requires_grad_()
            with torch.enable_grad():
                score = subject.score(question.x[one], target.of(one)).sum()
            (gradient,) = torch.autograd.grad(score, weight)
        finally:
            weight.requires_grad_(requires_grad=False)
        arrays[f"d score / d weights, {image.name}"] = _kernels(module, gradient)
    return _shown(question, k, arrays, [question.model.classes[c] for c in question.chosen])


def _shown(question: Question, k: int, arrays: dict[str, NDArray[Any]], classes: Sequence[str]) -> Shown:
    """The strongest filters by their weights, in their order; `arrays` (K, C, *size) by name, the weights first."""
    node, weights = question.subject.network.nodes[k], arrays["weights"]
    strength = np.abs(weights).reshape(len(weights), -1).sum(axis=1)
    chosen = np.sort(np.argsort(-strength, kind="stable")[: question.count or FILTERS])
    in_colour = node.inputs == (0,) and weights.ndim == 4 and weights.shape[1] == 3
    if in_colour or weights.shape[1] == 1:
        rows = "filters side by side"
    else:
        rows = f"a row for each filter, its first {min(INPUTS, weights.shape[1])} input maps"
    caption = (
        f"{node.name} {node.layer.token}: {len(chosen)} of {len(weights)} filters, {rows}, each strip on one scale"
        + (f"; of the score of class {', '.join(dict.fromkeys(classes))}" if classes else "")
    )
    *panels, last = (_panel(name, array[chosen], in_colour=in_colour) for name, array in arrays.items())
    document = {
        "layer": node.name,
        "shape": list(weights.shape),
        "shown": chosen.tolist(),
        "largest": {name: float(np.abs(array).max()) for name, array in arrays.items()},
    }
    return Shown(f"filters of {node.name}", (*(Strip((one,)) for one in panels), Strip((last,), (caption,))), document)


def _panel(name: str, kernels: NDArray[Any], *, in_colour: bool) -> Panel:
    """Kernels (K, C, h, w), or (K, C, w) one pixel high, on one scale."""
    scale = float(np.abs(kernels).max()) or 1.0
    if in_colour:
        shades = np.rint(127.5 + 127.5 * kernels / scale).astype(np.uint8)
        return tiles(f"{name}: 0 is grey, black -{scale:.2g}, white {scale:.2g}", np.moveaxis(shades, 1, -1), None)
    kept = kernels[:, :INPUTS]
    flat = kept.reshape(-1, kept.shape[2] if kept.ndim == 4 else 1, kept.shape[-1])
    columns = None if kept.shape[1] == 1 else kept.shape[1]
    return tiles(name, colours.painted(flat, signed=True, scale=scale), Bar(True, scale), columns)


METHOD = View(
    name="filters",
    says="a layer's filters on one scale",
    source="Krizhevsky et al., 2012, figure 3",
    needs=(),
    takes=("layer", "count"),
    show=show,
)
GRADIENTS = View(
    name="filter-gradients",
    says="the gradients of the score for a layer's filters",
    source="ConvNetJS",
    needs=("image",),
    takes=("target", "layer", "count"),
    show=show_gradients,
)
