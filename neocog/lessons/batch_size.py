"""The size of a mini-batch: how much the loss oscillates from step to step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..initialise import initialise
from ..network import Network
from ..wording import Text
from .drawing import Line, Panel, chart, sheet
from .learning import SHAPE, accuracy, descend, digits
from .lesson import Claim, Lesson, Question, Table, Taught

TITLE = Text("Small mini-batches make the loss oscillate", "批量太小，损失会振荡")
HOW = Text(
    "{0} learns from {1:,} images at a rate of {2:g}, in mini-batches of "
    "different sizes. `oscillation` is the deviation of a step's loss from the line between its neighbours, over the "
    "second half of the run: sqrt(mean (l[t-1] - 2 l[t] + l[t+1])^2 / 6), so that the way down does not count.",
    "{0} 用 {1:,} 张图像训练，学习率 {2:g}，批量大小各不相同。"
    "“振荡”是后半段中每一步的损失偏离前后两步连线的程度："
    "sqrt(mean (l[t-1] - 2 l[t] + l[t+1])^2 / 6)，下降的趋势不计在内。",
)
HEADER = (
    Text("mini-batch", "批量"),
    Text("steps", "步数"),
    Text("mean loss, second half", "后半段平均损失"),
    Text("oscillation", "振荡"),
    Text("oscillation / loss", "振荡 / 损失"),
    Text("accuracy", "准确率"),
    Text("memory", "内存"),
)
FALLS = Text(
    "the smaller the mini-batch, the more the loss oscillates: {0}",
    "批量越小，损失振荡越大：{0}",
)
ROOT = Text(
    "four times as many images a step divide it by {0:.1f} on average; independent images of equal loss would by 2",
    "每步的图像数增加到 4 倍，振荡平均降到 1/{0:.1f}；若各图像相互独立、损失水平相同，应降到 1/2",
)
MEMORY = Text(
    "what limits them is memory: by the plan, a step takes {0:.0f} KiB with {1} images and {2:.0f} KiB with {3}",
    "批量的上限取决于内存：按规划，批量为 {1} 时一步占 {0:.0f} KiB，为 {3} 时占 {2:.0f} KiB",
)
COST = Text(
    "with as many images, small mini-batches make more steps and learn more: {0:.0%} right with {1}, {2:.0%} with {3}",
    "图像总数相同时，批量小则步数多，学得也更多：批量为 {1} 时准确率 {0:.0%}，为 {3} 时 {2:.0%}",
)
LOSSES = Text("loss of each step, by the size of the mini-batch", "每一步的损失，按批量大小")
SEEN = Text("images seen", "看过的图像数")
SIZES = (4, 16, 64, 256)
STEPS, LEAST, LR, TESTS = 32, 16, 0.05, 1000
NET = "FC32 -> RELU -> FC10"


class Run(NamedTuple):
    """One size's step losses, its accuracy at the end, and the bytes that a step takes by the plan."""

    losses: list[float]
    accuracy: float
    memory: int

    @property
    def kib(self) -> float:
        """The memory in KiB."""
        return self.memory / 1024

    @property
    def second_half(self) -> list[float]:
        """The losses of the later steps."""
        return self.losses[len(self.losses) // 2 :]

    @property
    def mean(self) -> float:
        """Of the second half."""
        return float(np.mean(self.second_half))

    @property
    def oscillation(self) -> float:
        """The deviation of a loss from the line between its neighbours, of the second half."""
        bends = np.diff(self.second_half, 2)
        return float(np.sqrt((bends**2).mean() / 6))


def measured(seed: int, images: int) -> dict[int, Run]:
    """The same network trained on the same number of images with each size."""
    network, data, tests = Network.parse(f"{SHAPE} -> {NET}"), digits(images), digits(TESTS, "test")
    start = initialise(network, seed, "he")
    found = {}
    for size in SIZES:
        learned = descend(network, start, data, batch=size, steps=images // size, lr=LR, seed=seed)
        memory = network.plan(batch=size, optimizer="sgd").as_dict()["memory"]["training_bytes"]
        found[size] = Run(learned.losses, accuracy(network, learned.weights, tests), memory)
    return found


def teach(question: Question) -> Taught:
    """So many steps with the largest size, at least LEAST, and as many images with the others."""
    images = max(LEAST, question.steps or STEPS) * SIZES[-1]
    found = measured(question.seed, images)
    swings = [found[size].oscillation for size in SIZES]
    ratio = (swings[0] / swings[-1]) ** (1 / (len(SIZES) - 1))
    rows = tuple((str(size), *_row(run)) for size, run in found.items())
    lines = [
        Line(str(size), [((k + 1) * size, loss) for k, loss in enumerate(run.losses)]) for size, run in found.items()
    ]
    first, last = found[SIZES[0]], found[SIZES[-1]]
    return Taught(
        blocks=(HOW.filled(NET, images, LR), Table(HEADER, rows, optional=(4, 6))),
        claims=(
            Claim(FALLS.filled(" > ".join(f"{s:.3f}" for s in swings)), swings == sorted(swings, reverse=True)),
            Claim(ROOT.filled(ratio), 1.4 < ratio < 2.8),
            Claim(COST.filled(first.accuracy, SIZES[0], last.accuracy, SIZES[-1]), first.accuracy > last.accuracy),
            Claim(MEMORY.filled(first.kib, SIZES[0], last.kib, SIZES[-1]), first.memory < last.memory),
        ),
        numbers={
            "images": images,
            "runs": [
                {
                    "batch_size": size,
                    "steps": len(run.losses),
                    "mean_loss": run.mean,
                    "oscillation": run.oscillation,
                    "accuracy": run.accuracy,
                    "memory_bytes": run.memory,
                }
                for size, run in found.items()
            ],
        },
        picture=sheet(TITLE, [[Panel(LOSSES, chart(lines, SEEN))]]),
    )


def _row(run: Run) -> tuple[str, ...]:
    swing = f"{run.oscillation:.3f}", f"{run.oscillation / run.mean:.2f}"
    return str(len(run.losses)), f"{run.mean:.3f}", *swing, f"{run.accuracy:.1%}", f"{run.kib:.0f} KiB"


LESSON = Lesson("batch-size", TITLE, ("A5",), teach, frozenset({"steps"}))
