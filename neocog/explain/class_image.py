r"""Class images: from noise, the image that is a class most certainly.

    x* = arg max of  s_c(x) - log of the sum of e^s over the other classes

the log-odds of the class. (The score alone, as in Simonyan's paper, can grow while another class's grows more.) Without
regularisation steps follow the gradient alone, and what comes up is noise that the network takes for the class with
certainty. With it, shifts, blur and decay leave what the class is recognised by. Beside each image stands how sure the
network is of it as it is saved, and of the same moved by a pixel.

Sources: Simonyan et al., arXiv 1312.6034, section 2; Nguyen et al., "Deep neural networks are easily fooled", CVPR
2015.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..wording import Text
from . import colours
from .climbing import Canvas, Climb, climb
from .method import View
from .question import Question, Shown, class_number
from .sheet import Panel, in_rows
from .subject import Subject, Target

PLAIN = Climb(steps=150, rate=0.03)
REGULARISED = Climb(steps=300, rate=0.03, jitter=2, blur=0.7, decay=0.002, variation=0.2)
CLASSES, ACROSS = 10, 5
SURE = Text("{0}: {1:.1%}, moved {2:.1%}", "{0}：{1:.1%}，移动后 {2:.1%}")
CAPTION = Text(
    "how sure the network is of the class: of the image in bytes, and moved by one pixel; from noise, {0} steps of "
    "Adam at {1}{2}, seed {3}",
    "网络对该类的把握：对存为字节的图像，以及移动一个像素之后；从噪声开始，Adam {0} 步，步长 {1}{2}，种子 {3}",
)
MILD = Text(
    ", shifts up to {0}, blur {1} every {2} steps, decay {3}",
    "，平移不超过 {0}，每 {2} 步模糊 {1}，衰减 {3}",
)
SMOOTH = Text("what each class looks like to the network", "网络眼中每一类的样子")
CERTAIN = Text("what the network takes for each class with most certainty", "网络最确信属于每一类的图像")


def show(question: Question, how: Climb, title: Text) -> Shown:
    """One image for the target, or for each of the first classes."""
    subject, model = question.subject, question.model
    every = range(min(question.count or CLASSES, len(model.classes)))
    chosen = [class_number(model, str(question.target))] if question.target is not None else list(every)
    target, canvas = subject.classes(chosen), Canvas(question.blank, subject.device)
    start = canvas.noise(len(chosen), question.shape, question.seed)

    def value(x: Tensor, part: slice) -> Tensor:
        return lead(subject, x, target.of(part))

    with subject.working(), torch.no_grad():
        (made,) = climb(subject, canvas, start, value, how, question.seed)
        saved = canvas.rounded(made)
        sure = [subject.probabilities(x) for x in (canvas.numbers(start), saved, saved.roll((1, 1), dims=(2, 3)))]
    rows = [
        {"class": model.classes[c], "start": float(a[c]), "probability": float(b[c]), "moved": float(m[c])}
        for c, a, b, m in zip(chosen, *sure, strict=True)
    ]
    panels = [
        Panel(SURE.filled(row["class"], row["probability"], row["moved"]), colours.in_colour(image))
        for row, image in zip(rows, canvas.bytes(made), strict=True)
    ]
    mild = MILD.filled(how.jitter, how.blur, how.blur_every, how.decay) if how.blur else ""
    caption = CAPTION.filled(how.steps, how.rate, mild, question.seed)
    return Shown(title, in_rows(panels, ACROSS, caption), {"classes": rows, "steps": how.steps})


def lead(subject: Subject, x: Tensor, target: Target) -> Tensor:
    """By how much the targets' scores lead all others together: (N,); of a single output, the score."""
    volume = subject.volumes(x, {target.position})[target.position]
    own = target.score(volume)
    if volume.shape[1] == 1:
        return own
    signs = torch.from_numpy(target.signs).to(volume)[:, None]
    scores = signs * volume.reshape(*volume.shape[:2], -1).mean(2)
    mine = F.one_hot(torch.from_numpy(target.maps).to(volume.device), scores.shape[1]).bool()
    return own - scores.masked_fill(mine, -torch.inf).logsumexp(1)


METHOD = View(
    name="class-image",
    says=Text(
        "images that a class is most certain for, kept smooth",
        "使某类最确信的图像，保持平滑",
    ),
    source="Simonyan et al., 2013; Yosinski et al., 2015",
    needs=(),
    takes=("target", "count"),
    show=partial(show, how=REGULARISED, title=SMOOTH),
)
PLAIN_METHOD = View(
    name="class-image-plain",
    says=Text(
        "images that a class is most certain for, without regularisation",
        "使某类最确信的图像，不加正则",
    ),
    source="Simonyan et al., 2013; Nguyen et al., 2015",
    needs=(),
    takes=("target", "count"),
    show=partial(show, how=PLAIN, title=CERTAIN),
)
