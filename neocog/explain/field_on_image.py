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
from . import colours
from .method import View
from .question import Question, Shown
from .sheet import Bar, Panel, Strip

IN_THEORY, IN_EFFECT = "#ffd400", "#00c8ff"


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
    return Shown("what a unit sees of the image, in theory and in effect", tuple(strips), {"fields": rows})


def field_at(question: Question, position: int, image: int) -> tuple[EffectiveField, int, float]:
    """The field of the layer's unit (by default its strongest) where its map is largest on an image, and its value."""
    subject = question.subject
    x = question.x[image : image + 1].detach().requires_grad_()
    with torch.enable_grad():
        volume = subject.volumes(x, {position})[position][0]
    unit = int(volume.flatten(1).amax(1).argmax()) if question.unit is None else question.unit
    subject.units(position, [unit])
    at = tuple(int(i) for i in np.unravel_index(int(volume[unit].argmax()), tuple(volume.shape[1:])))
    value: Tensor = volume[(unit, *at)]
    (dx,) = torch.autograd.grad(value, x)
    influence: Any = dx[0].abs().sum(0).double().cpu().numpy()
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
        Panel("the image: theory yellow, effect blue", pixels, marks=tuple(marks)),
        Panel("root of the influence", colours.painted(root, signed=False, scale=1.0), Bar(False, 1.0)),
        Panel("both", colours.overlaid(question.fitted[image], root, signed=False, scale=1.0), marks=tuple(marks)),
    )
    token = field.row.node.layer.token
    return Strip(
        panels,
        (
            f"{question.images[image].name}: unit {unit} of {field.row.name} {token}, strongest at "
            f"{', '.join(map(str, field.position))} with {value:.3g}",
            f"it sees {field.theoretical_size:.4g} pixels across in theory, {field.size:.1f} in effect (above "
            f"{LEVEL:.2%} of the largest), {field.share:.0%} of it"
            + ("; clipped by the image" if field.clipped else ""),
        ),
    )


def _lines(field: EffectiveField) -> list[tuple[tuple[float, float], ...]]:
    return [tuple((float(i), float(j)) for i, j in line) for line in edges(field.seen)]


METHOD = View(
    name="field",
    says="what a unit sees of an image: its receptive field in theory and in effect",
    source="Luo et al., 2016; Araujo et al., 2019",
    needs=("image",),
    takes=("layers", "unit"),
    show=show,
)
