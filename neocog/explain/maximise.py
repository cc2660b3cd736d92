r"""Activation maximisation: from noise, the image that makes units of a layer as active as they get.

    x* = arg max of the mean of map k over its positions

Without a unit it is done for the layer's first few. Beside each stands its value at the start and of the image as
saved.

Sources: Erhan et al., "Visualizing higher-layer features of a deep network", 2009; `climbing` has the steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import colours
from .climbing import Canvas, Climb, climb
from .method import View
from .question import Question, Shown
from .sheet import Panel, in_rows

HOW = Climb(steps=200, rate=0.03, jitter=2, blur=0.5)
UNITS, ACROSS = 12, 6


def show(question: Question) -> Shown:
    """One image for each unit."""
    subject, position = question.subject, question.layer()
    node, target = subject.network.nodes[position], question.unit_targets(position, UNITS)
    units = target.maps.tolist()
    canvas = Canvas(question.blank, subject.device)
    start = canvas.noise(len(units), tuple(question.shape), question.seed)

    def value(x: Tensor, part: slice) -> Tensor:
        return subject.score(x, target.of(part))

    with subject.working(), torch.no_grad():
        (made,) = climb(subject, canvas, start, value, HOW, question.seed)
        before, after = (subject.scores(x, target).tolist() for x in (canvas.numbers(start), canvas.rounded(made)))
    images = canvas.bytes(made)
    panels = [
        Panel(f"unit {unit}: {low:.2g} to {high:.2g}", colours.in_colour(image))
        for unit, image, low, high in zip(units, images, before, after, strict=True)
    ]
    caption = (
        f"{node.name} {node.layer.token}: the mean of each unit's map, of noise at first and of the image in bytes; "
        f"{HOW.steps} steps of Adam, shifts up to {HOW.jitter} pixels, blur {HOW.blur} every {HOW.blur_every} steps, "
        f"seed {question.seed}"
    )
    rows = [{"unit": unit, "start": low, "value": high} for unit, low, high in zip(units, before, after, strict=True)]
    return Shown(
        f"what units of {node.name} respond to most",
        in_rows(panels, ACROSS, caption),
        {"layer": node.name, "units": rows},
    )


METHOD = View(
    name="maximise",
    says="images that units of a layer respond to most, from noise",
    source="Erhan et al., 2009; Yosinski et al., 2015",
    needs=(),
    takes=("layer", "unit", "count"),
    show=show,
)
