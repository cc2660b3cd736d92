r"""DeepDream: an image is changed so that a layer, or one unit of it, sees more of what it sees in it already.

    x* grows  mean of A^2 over all values of the layer      or  mean of map k, with a unit

from the image itself, with shifts. There is no blur: on an image with sharp edges it would take away more than a step
brings. The steps in between are shown, so that one sees what grows.

Source: Mordvintsev, Olah and Tyka, "Inceptionism: going deeper into neural networks", 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from . import colours
from .climbing import Canvas, Climb, climb, reached
from .method import View
from .question import Question, Shown
from .sheet import Panel, Strip

HOW = Climb(steps=60, rate=0.012, jitter=2)
FRAMES = (0, 10, 30)
TITLE = Text("DeepDream: more of what the layer sees", "DeepDream：更多该层所看到的东西")
ALL, ONE = Text("the mean square of all maps", "全部特征图的均方"), Text("the mean of map {0}", "特征图 {0} 的均值")
CAPTION = Text(
    "{0}: {1} {2}: {3} grows; {4} steps of Adam at {5}, seed {6}",
    "{0}：{1} {2}，{3}在增大；Adam {4} 步，步长 {5}，种子 {6}",
)
STEP = Text("step {0}: {1:.3g}", "第 {0} 步：{1:.3g}")


def show(question: Question) -> Shown:
    """A strip for each image: the image, frames, and the end."""
    subject, position = question.subject, question.layer()
    node = subject.network.nodes[position]
    target = None if question.unit is None else subject.units(position, [question.unit] * len(question.x))
    canvas = Canvas(question.pixels, subject.device)
    start = canvas.of(question.fitted)

    def value(x: Tensor, part: slice) -> Tensor:
        if target is not None:
            return subject.score(x, target.of(part))
        return subject.volumes(x, {position})[position].square().flatten(1).mean(1)

    with subject.working(), torch.no_grad():
        frames = climb(subject, canvas, start, value, HOW, question.seed, FRAMES)
        values = [reached(subject, canvas, z, value) for z in frames]
    how = ALL if target is None else ONE.filled(question.unit), HOW.steps, HOW.rate, question.seed
    strips, rows = [], []
    for k, image in enumerate(question.images):
        names = [STEP.filled(step, found[k]) for step, found in zip((*FRAMES, HOW.steps), values, strict=True)]
        shown = [colours.in_colour(canvas.bytes(z[k : k + 1])[0]) for z in frames]
        panels = tuple(Panel(name, pixels) for name, pixels in zip(names, shown, strict=True))
        strips.append(Strip(panels, (CAPTION.filled(image.name, node.name, node.layer.token, *how),)))
        rows.append({"file": image.name, "start": values[0][k], "value": values[-1][k]})
    document = {"layer": node.name, "unit": question.unit, "images": rows}
    return Shown(TITLE, tuple(strips), document)


METHOD = View(
    name="deepdream",
    says=Text(
        "an image changed so that a layer sees more of what it sees",
        "改变图像，使某层更多地看到它所看到的",
    ),
    source="Mordvintsev et al., 2015",
    needs=("image",),
    takes=("layer", "unit"),
    show=show,
)
