r"""Activation maximisation: from noise, the image that makes units of a layer as active as they get.

    x* = arg max of the mean of map k over its positions

Without a unit it is done for the layer's first few. Beside each stands its value at the start and of the image as
saved.

Sources: Erhan et al., "Visualizing higher-layer features of a deep network", 2009; `climbing` has the steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from . import colours
from .climbing import Canvas, Climb, climb
from .method import View
from .question import Question, Shown
from .sheet import Panel, in_rows

HOW = Climb(steps=200, rate=0.03, jitter=2, blur=0.5)
UNITS, ACROSS = 12, 6
TITLE = Text("what units of {0} respond to most", "{0} 的单元响应最强的图像")
GROWN = Text("unit {0}: {1:.2g} to {2:.2g}", "单元 {0}：{1:.2g} 到 {2:.2g}")
CAPTION = Text(
    "{0} {1}: the mean of each unit's map, of noise at first and of the image in bytes; {2} steps of Adam, shifts up "
    "to {3} pixels, blur {4} every {5} steps, seed {6}",
    "{0} {1}：每个单元特征图的均值，先是噪声的，后是存为字节的图像的；"
    "Adam {2} 步，平移不超过 {3} 像素，每 {5} 步模糊 {4}，种子 {6}",
)


def show(question: Question) -> Shown:
    """One image for each unit."""
    subject, position = question.subject, question.layer()
    node, target = subject.network.nodes[position], question.unit_targets(position, UNITS)
    units = target.maps.tolist()
    canvas = Canvas(question.blank, subject.device)
    start = canvas.noise(len(units), question.shape, question.seed)

    def value(x: Tensor, part: slice) -> Tensor:
        return subject.score(x, target.of(part))

    with subject.working(), torch.no_grad():
        (made,) = climb(subject, canvas, start, value, HOW, question.seed)
        before, after = (subject.scores(x, target).tolist() for x in (canvas.numbers(start), canvas.rounded(made)))
    panels = [
        Panel(GROWN.filled(unit, low, high), colours.in_colour(image))
        for unit, image, low, high in zip(units, canvas.bytes(made), before, after, strict=True)
    ]
    how = HOW.steps, HOW.jitter, HOW.blur, HOW.blur_every, question.seed
    caption = CAPTION.filled(node.name, node.layer.token, *how)
    rows = [{"unit": unit, "start": low, "value": high} for unit, low, high in zip(units, before, after, strict=True)]
    document = {"layer": node.name, "units": rows}
    return Shown(TITLE.filled(node.name), in_rows(panels, ACROSS, caption), document)


METHOD = View(
    name="maximise",
    says=Text(
        "images that units of a layer respond to most, from noise",
        "从噪声出发，某层单元响应最强的图像",
    ),
    source="Erhan et al., 2009; Yosinski et al., 2015",
    needs=(),
    takes=("layer", "unit", "count"),
    show=show,
)
