"""The patches of a data set that make units of a layer most active, each cut to what the unit sees.

For each unit the images with the largest values anywhere in its map, one patch of an image; the patch is the receptive
field of that place by the plan, grey where it lies beyond the image.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, figure 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..plan.receptive_field import Span
from ..wording import Text
from . import colours
from .method import View
from .placing import seen
from .question import Question, Shown
from .sheet import Panel, Strip

UNITS, BEST, OUTSIDE = 8, 9, 128
SIDE = 96
TITLE = Text(
    "patches of {0} that units of {1} respond to most; each sees {2} pixels",
    "{0} 中 {1} 的单元响应最强的图块；每个单元看 {2} 像素",
)
CAPTION = Text(
    "unit {0}: class and value of each of its {1} best images",
    "单元 {0}：响应最强的 {1} 张图像，各自的类别与响应值",
)


class Found(NamedTuple):
    """Where in the data set a unit's map has one of its largest values."""

    value: float
    image: int
    position: tuple[int, ...]


def strongest(question: Question, position: int, units: Sequence[int], best: int) -> list[list[Found]]:
    """For each unit its best images of the data set, the strongest first; of equal ones, the earlier."""
    subject, dataset = question.subject, question.images_of_data()
    size = subject.network.shapes[position].spatial
    values, places = [], []
    with torch.no_grad():
        for x in question.inputs(dataset):
            volume = subject.finite(subject.volumes(x, {position})[position], position)[:, list(units)].flatten(2)
            largest = volume.max(dim=2)
            values.append(largest.values.cpu().numpy())
            places.append(largest.indices.cpu().numpy())
    value, place = np.concatenate(values), np.concatenate(places)
    found = []
    for u in range(len(units)):
        order = np.argsort(-value[:, u], kind="stable")[:best]
        found.append([Found(float(value[n, u]), int(n), _position(int(place[n, u]), size)) for n in order])
    return found


def _position(flat: int, size: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, tuple(size)))


def cut(image: NDArray[np.uint8], spans: Sequence[Span]) -> NDArray[np.uint8]:
    """The part (h, w, C) of an image (H, W, C) from the first to the last pixel of each span, grey beyond the image."""
    (top, bottom), (left, right) = [(math.floor(low + 0.5), math.floor(high + 0.5)) for low, high in spans]
    patch = np.full((bottom - top + 1, right - left + 1, image.shape[2]), OUTSIDE, np.uint8)
    inside = image[max(0, top) : bottom + 1, max(0, left) : right + 1]
    above, before = max(0, -top), max(0, -left)
    patch[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
    return patch


def show(question: Question) -> Shown:
    """A strip of patches for each unit."""
    subject, position = question.subject, question.layer()
    row, dataset = subject.planned.rows[position], question.images_of_data()
    units = question.unit_targets(position, UNITS).maps.tolist()
    with subject.working():
        every = strongest(question, position, units, BEST)
    strips, rows = [], []
    for unit, best in zip(units, every, strict=True):
        panels = []
        for found in best:
            pixels = question.preprocessing.pixels(np.asarray(dataset.images[found.image : found.image + 1]))
            spans = seen(row, found.position)
            patch = cut(pixels.images[0], spans)
            label = dataset.classes[int(dataset.labels[found.image])]
            panels.append(Panel(f"{label} {found.value:.2g}", colours.in_colour(patch), side=SIDE))
            rows.append({"unit": unit, **found._asdict(), "class": label, "view": spans})
        strips.append(Strip(tuple(panels), (CAPTION.filled(unit, len(best)),)))
    title = TITLE.filled(dataset.name, row.name, "x".join(f"{axis.size:g}" for axis in row.field))
    return Shown(title, tuple(strips), {"layer": row.name, "data": dataset.name, "patches": rows})


METHOD = View(
    name="patches",
    says=Text(
        "the patches of a data set that units of a layer respond to most",
        "数据集中使某层单元响应最强的图块",
    ),
    source="Zeiler and Fergus, 2014, figure 2",
    needs=("data",),
    takes=("layer", "unit", "count"),
    show=show,
)
