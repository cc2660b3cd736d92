r"""Inverted representations: what of an image a layer still knows, as another image with the same maps.

    x* = arg min of  |A(x) - A(x0)|^2 / |A(x0)|^2 + variation,        from noise

The relative error says how well it was done: of images that are matched exactly it is 0, of noise it is near 1. What
differs from the image although the error is small is what the layer has thrown away.

Source: Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import NeocogError
from ..measure.field import looking
from ..wording import Text
from . import colours
from .climbing import Canvas, Climb, climb, reached
from .method import View
from .question import Question, Shown
from .sheet import Panel, Strip, as_seen
from .subject import Subject

HOW = Climb(steps=300, rate=0.03, variation=0.02)
LAYERS = 5
TITLE = Text("what each layer still knows of the image", "每一层还知道图像的什么")
ERROR = Text("{0}: error {1:.2g}", "{0}：误差 {1:.2g}")
CAPTION = Text(
    "{0}: {1} steps of Adam from noise, variation {2}, seed {3}; error is |A(x) - A(x0)|^2 / |A(x0)|^2 of the image in "
    "bytes",
    "{0}：从噪声开始，Adam {1} 步，变差 {2}，种子 {3}；误差为存为字节的图像的 |A(x) - A(x0)|^2 / |A(x0)|^2",
)


def spread(subject: Subject, most: int) -> tuple[int, ...]:
    """So many layers from the first to the last: those that look further, and the one that the scores are made from.

    None where the scores are made from the image itself.
    """
    names = set(looking(subject.planned))
    last = subject.network.nodes[subject.end].inputs[0]
    found = [k for k in subject.order if subject.network.nodes[k].name in names and k < last]
    found = sorted({*found, last} - {0})
    steps = min(most, len(found))
    return tuple(found[round(i * (len(found) - 1) / max(1, steps - 1))] for i in range(steps))


def show(question: Question) -> Shown:
    """A strip for each image: the image, and its inversion from each layer. Raises NeocogError without a layer."""
    layers = question.positions or spread(question.subject, question.count or LAYERS)
    if not layers:
        raise NeocogError("this network makes its scores from the image itself, so there is no layer to invert")
    canvas = Canvas(question.pixels, question.subject.device)
    with question.subject.working(), torch.no_grad():
        made = {question.subject.network.nodes[k].name: inverted(question, canvas, k) for k in layers}
    strips, rows = [], []
    for n, image in enumerate(question.images):
        panels = [as_seen(question.fitted[n])]
        for name, (z, errors) in made.items():
            panels.append(Panel(ERROR.filled(name, errors[n]), colours.in_colour(canvas.bytes(z[n : n + 1])[0])))
            rows.append({"file": image.name, "layer": name, "relative_error": errors[n]})
        caption = CAPTION.filled(image.name, HOW.steps, HOW.variation, question.seed)
        strips.append(Strip(tuple(panels), (caption,)))
    return Shown(TITLE, tuple(strips), {"inversions": rows})


def inverted(question: Question, canvas: Canvas, position: int) -> tuple[Tensor, list[float]]:
    """For each image another one, z (N, C, H, W), with the same maps at a layer, and its maps' relative errors."""
    subject, wanted = question.subject, question.subject.volume(question.x, position)

    def off(x: Tensor, part: slice) -> Tensor:
        away = (subject.volumes(x, {position})[position] - wanted[part]).square().flatten(1).sum(1)
        return -away / wanted[part].square().flatten(1).sum(1).clamp(min=1e-12)

    start = canvas.noise(len(question.x), question.shape, question.seed)
    (z,) = climb(subject, canvas, start, off, HOW, question.seed)
    return z, [-number for number in reached(subject, canvas, z, off)]


METHOD = View(
    name="inversion",
    says=Text(
        "another image with the same maps: what a layer still knows",
        "特征图相同的另一张图像：某层还知道什么",
    ),
    source="Mahendran and Vedaldi, 2015",
    needs=("image",),
    takes=("layers", "count"),
    show=show,
)
