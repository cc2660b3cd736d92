r"""Inverted representations: what of an image a layer still knows, as another image with the same maps.

    x* = arg min of  |A(x) - A(x0)|^2 / |A(x0)|^2 + variation,        from noise

The relative error says how well it was done: of images that are matched exactly it is 0, of noise it is near 1. What
differs from the image although the error is small is what the layer has thrown away.

Source: Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..measure.field import looking
from . import colours
from .climbing import Canvas, Climb, climb, reached
from .method import View
from .question import Question, Shown
from .sheet import Panel, Strip
from .subject import Subject

HOW = Climb(steps=300, rate=0.03, variation=0.02)
LAYERS = 5


def spread(subject: Subject, most: int) -> tuple[int, ...]:
    """So many layers from the first to the last: those that look further, and the one that the scores are made from."""
    names = set(looking(subject.planned))
    last = subject.network.nodes[subject.end].inputs[0]
    found = [k for k in subject.order if subject.network.nodes[k].name in names and k < last]
    found = sorted({*found, last} - {0})
    steps = max(1, min(most, len(found)))
    return tuple(found[round(i * (len(found) - 1) / max(1, steps - 1))] for i in range(steps))


def show(question: Question) -> Shown:
    """A strip for each image: the image, and its inversion from each layer."""
    subject = question.subject
    layers = question.positions or spread(subject, question.count or LAYERS)
    canvas = Canvas(question.pixels, subject.device)
    start = canvas.noise(len(question.x), question.shape, question.seed)
    made: dict[int, tuple[Tensor, list[float]]] = {}
    with subject.working(), torch.no_grad():
        for k in layers:
            parts = subject.batches(len(question.x), backward=False)
            wanted = torch.cat([subject.volumes(question.x[part], {k})[k] for part in parts])

            def off(x: Tensor, part: slice, k: int = k, wanted: Tensor = wanted) -> Tensor:
                away = (subject.volumes(x, {k})[k] - wanted[part]).square().flatten(1).sum(1)
                return -away / wanted[part].square().flatten(1).sum(1).clamp(min=1e-12)

            (z,) = climb(subject, canvas, start, off, HOW, question.seed)
            made[k] = z, [-number for number in reached(subject, canvas, z, off)]
    strips, rows = [], []
    for n, image in enumerate(question.images):
        panels = [Panel("what the network sees", colours.in_colour(question.fitted[n]))]
        for k, (z, errors) in made.items():
            name = subject.network.nodes[k].name
            panels.append(Panel(f"{name}: error {errors[n]:.2g}", colours.in_colour(canvas.bytes(z[n : n + 1])[0])))
            rows.append({"file": image.name, "layer": name, "relative_error": errors[n]})
        caption = f"{image.name}: {HOW.steps} steps of Adam from noise, variation {HOW.variation}, seed {question.seed}"
        strips.append(
            Strip(tuple(panels), (f"{caption}; error is |A(x) - A(x0)|^2 / |A(x0)|^2 of the image in bytes",))
        )
    return Shown("what each layer still knows of the image", tuple(strips), {"inversions": rows})


METHOD = View(
    name="inversion",
    says="another image with the same maps: what a layer still knows",
    source="Mahendran and Vedaldi, 2015",
    needs=("image",),
    takes=("layers", "count"),
    show=show,
)
