"""What one unit sees of an image: its receptive field in theory and in effect, drawn on the pixels.

The unit is looked at where its map is largest on this image. In theory it sees a rectangle that the plan knows; in
effect mostly its middle: pixels are coloured by the size of the gradient of the unit's value there, and the edge is
drawn around those above 4.55 % of the largest (Luo et al., arXiv 1701.04128).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..measure.field import LEVEL, EffectiveField
from ..measure.field_picture import edges
from ..wording import Text
from . import colours
from .method import View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip

IN_THEORY, IN_EFFECT = "#ffd400", "#00c8ff"
TITLE = Text("what a unit sees of the image, in theory and in effect", "一个单元看到图像的多少：理论与实际")
FRAMED = Text("the image: theory yellow, effect blue", "图像：理论为黄，实际为蓝")
ROOT, BOTH = Text("root of the influence", "影响的平方根"), Text("both", "叠在一起")
WHERE = Text(
    "{0}: unit {1} of {2} {3}, strongest at {4} with {5:.3g}",
    "{0}：{2} {3} 的单元 {1}，在 {4} 处最强，为 {5:.3g}",
)
SEES = Text(
    "it sees {0:.4g} pixels across in theory, {1:.1f} in effect (above {2:.2%} of the largest), {3:.0%} of it{4}",
    "理论上看到边长 {0:.4g} 像素，实际为 {1:.1f}（超过最大值的 {2:.2%}），占 {3:.0%}{4}",
)
CLIPPED = Text("; clipped by the image", "；被图像边缘截去一部分")


def show(question: Question) -> Shown:
    """For each layer a strip for each image."""
    strips, rows = [], []
    with question.subject.working():
        for k in question.positions or (question.layer(),):
            for image in range(len(question.x)):
                field, unit, value = field_at(question, k, image)
                strips.append(_strip(question, field, unit, value, image))
                document = field.as_dict() | {"view": field.view, "file": question.images[image].name}
                rows.append(document | {"unit": unit, "value": value})
    return Shown(TITLE, tuple(strips), {"fields": rows})


def field_at(question: Question, position: int, image: int) -> tuple[EffectiveField, int, float]:
    """The field of the layer's unit (by default its strongest) where its map is largest on an image, and its value."""
    subject = question.subject
    x = question.x[image : image + 1].detach().requires_grad_()
    with torch.enable_grad():
        volume = subject.finite(subject.volumes(x, {position})[position][0], position)
    unit = int(volume.flatten(1).amax(1).argmax()) if question.unit is None else question.unit
    subject.units(position, [unit])
    at = tuple(int(i) for i in np.unravel_index(int(volume[unit].argmax()), tuple(volume.shape[1:])))
    value: Tensor = volume[(unit, *at)]
    (dx,) = torch.autograd.grad(value, x)
    influence: Any = subject.finite(dx, position)[0].abs().sum(0).double().cpu().numpy()
    largest = influence.max()
    field = EffectiveField(subject.planned.rows[position], at, influence / largest if largest else influence)
    return field, unit, float(value.detach())


def _strip(question: Question, field: EffectiveField, unit: int, value: float, image: int) -> Strip:
    pixels = colours.in_colour(question.fitted[image])
    marks = [(IN_EFFECT, edge) for edge in _lines(field)]
    if field.view is not None:
        (top, bottom), (left, right) = field.view
        corners = ((top, left), (top, right + 1), (bottom + 1, right + 1), (bottom + 1, left), (top, left))
        marks.append((IN_THEORY, corners))
    root = np.sqrt(field.influence)
    panels = (
        Panel(FRAMED, pixels, marks=tuple(marks)),
        Panel(ROOT, colours.painted(root, signed=False, scale=1.0), Bar(False, 1.0)),
        Panel(BOTH, colours.overlaid(question.fitted[image], root, signed=False, scale=1.0), marks=tuple(marks)),
    )
    at, token = ", ".join(map(str, field.position)), field.row.node.layer.token
    clipped = CLIPPED if field.clipped else ""
    lines = (
        WHERE.filled(question.images[image].name, unit, field.row.name, token, at, value),
        SEES.filled(field.theoretical_size, field.size, LEVEL, field.share, clipped),
    )
    return Strip(panels, lines)


def _lines(field: EffectiveField) -> list[tuple[tuple[float, float], ...]]:
    return [tuple((float(i), float(j)) for i, j in line) for line in edges(field.seen)]


METHOD = View(
    name="field",
    says=Text(
        "what a unit sees of an image: its receptive field in theory and in effect",
        "一个单元看到图像的多少：理论与实际的感受野",
    ),
    source="Luo et al., 2016; Araujo et al., 2019",
    needs=("image",),
    takes=("layers", "unit"),
    show=show,
)
