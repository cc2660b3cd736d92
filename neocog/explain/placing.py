"""A layer's positions on the image: which pixels they look at, by the plan's receptive field.

Position i of an axis has its view's centre at pixel start + i * jump. Between centres a map is interpolated, beyond the
first and the last it goes on as it is. Stretching the map over the image instead, as is common, is off by up to half a
receptive field behind layers without padding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..errors import NeocogError
from ..layer import Shape
from ..plan.plan import Row
from ..plan.receptive_field import Axis, Field, Span, view
from ..spelling import Dims
from .subject import Subject


def onto_image(maps: Tensor, field: Field, size: Dims) -> Tensor:
    """Maps (N, *positions) over the image's pixels: (N, *size)."""
    for axis, (one, pixels) in enumerate(zip(field, size, strict=True), start=1):
        matrix = _interpolation(one, maps.shape[axis], pixels).to(maps)
        maps = torch.movedim(torch.tensordot(maps, matrix, dims=([axis], [1])), -1, axis)
    return maps


def _interpolation(axis: Axis, positions: int, pixels: int) -> Tensor:
    """Weights (pixels, positions), each row's sum 1."""
    jump = axis.jump or pixels / positions  # where branches disagree the map is spread evenly
    start = axis.start if axis.jump else (jump - 1) / 2
    at = np.clip((np.arange(pixels) - start) / jump, 0, positions - 1)
    low = np.minimum(at.astype(int), max(0, positions - 2))
    matrix = np.zeros((pixels, positions))
    rows = np.arange(pixels)
    matrix[rows, low] = 1 - (at - low)
    if positions > 1:
        matrix[rows, low + 1] = at - low
    return torch.from_numpy(matrix)


def seen(row: Row, position: Dims) -> tuple[Span, ...]:
    """The first and the last pixel on each axis that a position sees in theory, perhaps beyond the image.

    Raises NeocogError where joined branches look at different strides, so that no rule says where.
    """
    found = view(row.field, position)
    if found is None:
        raise NeocogError("its branches look at different strides, so no rule says where", where=row.name)
    return found


def default_layer(subject: Subject) -> int:
    """The last layer with several positions whose receptive field is smaller than the image.

    All that the output reads must go through it. Where no layer is so, the last that gives a map; raises NeocogError
    where none does.
    """
    rows, source = subject.planned.rows, subject.network.input_shape
    trunk = [k for k in _trunk(subject) if rows[k].output.positions > 1 and k < subject.end and k > 0]
    if not trunk:
        raise NeocogError(
            "no layer of this network has more than one position", hint="a layer by name, or a method that reads none"
        )
    return next((k for k in reversed(trunk) if _sees_part(rows[k], source)), trunk[-1])


def _sees_part(row: Row, source: Shape) -> bool:
    return all(axis.size < side for axis, side in zip(row.field, source.spatial, strict=True))


def _trunk(subject: Subject) -> list[int]:
    """Positions whose volume is all that is left when they have run."""
    alive: set[int] = set()
    found = []
    for k, dropped in subject.turns:
        alive = (alive | {k}) - set(dropped)
        if alive == {k}:
            found.append(k)
    return found


def spatial(subject: Subject, position: int, method: str) -> Row:
    """The plan's row of a layer whose maps are to be read. Raises NeocogError for a vector, and behind the scores."""
    row = subject.planned.rows[position]
    if position > subject.end:
        raise NeocogError("the scores are made before this layer", where=row.name)
    if row.output.positions == 1 and math.prod(subject.network.input_shape.spatial) > 1:
        last = subject.planned.rows[default_layer(subject)].name
        raise NeocogError(f"{method} reads maps, and this layer has one position", where=row.name, hint=f"layer {last}")
    return row
