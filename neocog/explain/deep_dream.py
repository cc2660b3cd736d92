r"""DeepDream: an image is changed so that a layer, or one unit of it, sees more of what it sees in it already.

    x* grows  mean of A^2 over all values of the layer      or  mean of map k, with a unit

from the image itself, with shifts. There is no blur: on an image with sharp edges it would take away more than a step
brings. The steps in between are shown, so that one sees what grows.

Source: Mordvintsev, Olah and Tyka, "Inceptionism: going deeper into neural networks", 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import colours
from .climbing import Canvas, Climb, climb, reached
from .method import View
from .question import Question, Shown
from .sheet import Panel, Strip

HOW = Climb(steps=60, rate=0.012, jitter=2)
FRAMES = (0, 10, 30)


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
    what = "the mean square of all maps" if target is None else f"the mean of map {question.unit}"
    caption = (
        f"{node.name} {node.layer.token}: {what} grows; {HOW.steps} steps of Adam at {HOW.rate}, seed {question.seed}"
    )
    strips, rows = [], []
    for k, image in enumerate(question.images):
        names = [f"step {step}: {found[k]:.3g}" for step, found in zip((*FRAMES, HOW.steps), values, strict=True)]
        shown = [colours.in_colour(canvas.bytes(z[k : k + 1])[0]) for z in frames]
        panels = tuple(Panel(name, pixels) for name, pixels in zip(names, shown, strict=True))
        strips.append(Strip(panels, (f"{image.name}: {caption}",)))
        rows.append({"file": image.name, "start": values[0][k], "value": values[-1][k]})
    document = {"layer": node.name, "unit": question.unit, "images": rows}
    return Shown("DeepDream: more of what the layer sees", tuple(strips), document)


METHOD = View(
    name="deepdream",
    says="an image changed so that a layer sees more of what it sees",
    source="Mordvintsev et al., 2015",
    needs=("image",),
    takes=("layer", "unit"),
    show=show,
)
