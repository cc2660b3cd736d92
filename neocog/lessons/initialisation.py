"""Starting weights: zero, small, large, and He's, by what becomes of the signal and of a short training."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .. import reference
from ..initialise import initialise
from ..network import Network
from ..wording import Text
from .drawing import Line, Panel, chart, sheet
from .learning import SHAPE, Digits, Weights, accuracy, descend, digits
from .lesson import Claim, Lesson, Question, Table, Taught

TITLE = Text("Starting weights decide whether a network learns", "初始权重决定网络能不能学会")
HOW = Text(
    "{0}: the deviation of the values behind each RELU for 256 digits, and {1} steps of gradient "
    "descent (mini-batches of 32, rate 0.05). Weights start with a deviation of 0.01; of 0.5; with He's sqrt(2/n), n "
    "being the number of inputs of a neuron; and as zero.",
    "{0}：256 张手写数字通过每个 RELU 之后激活值的标准差，以及 {1} 步梯度下降（小批量 32，学习率 0.05）的结果。"
    "初始权重有四种：标准差 0.01；标准差 0.5；He 的 sqrt(2/n)，n 是一个神经元的输入个数；全零。",
)
HEADER = (
    Text("weights", "初始权重"),
    *(Text(f"layer {k}", f"第 {k} 层") for k in range(1, 7)),
    Text("loss before", "训练前损失"),
    Text("loss after", "训练后损失"),
    Text("accuracy", "准确率"),
)
STARTS = {
    "small": Text("small, 0.01", "太小，0.01"),
    "large": Text("large, 0.5", "太大，0.5"),
    "he": Text("He, sqrt(2/n)", "He，sqrt(2/n)"),
    "zero": Text("zero", "零"),
}
ZERO = Text(
    "zero: every neuron stays like every other, only the last bias learns; accuracy {0:.0%} after training",
    "零：所有神经元始终一模一样，只有最后的偏置在学；训练后准确率 {0:.0%}",
)
SMALL = Text(
    "small: the signal fades, by layer 6 to {0:.1e} of the first layer's; accuracy {1:.0%}",
    "太小：信号逐层消失，到第 6 层只剩第 1 层的 {0:.1e}；准确率 {1:.0%}",
)
LARGE = Text(
    "large: the signal grows {0:,.0f} times up to layer 6, the loss begins at {1:,.0f}, not ln 10; accuracy {2:.0%}",
    "太大：到第 6 层信号增长 {0:,.0f} 倍，最初的损失为 {1:,.0f}，而不是 ln 10；准确率 {2:.0%}",
)
HE = Text(
    "He: the signal at layer 6 is {0:.2f} of the first layer's, and training comes to {1:.0%}, the best of the four",
    "He：第 6 层的信号是第 1 层的 {0:.2f} 倍，训练达到 {1:.0%}，四者中最好",
)
DEVIATIONS = Text("deviation of the values behind each RELU", "每个 RELU 之后激活值的标准差")
CUT_OFF = Text("loss, cut off at {0:g}", "损失，超过 {0:g} 的部分截去")
LAYER, STEP = Text("layer", "层"), Text("step", "步")
DEPTH, STEPS, BATCH, LR, IMAGES, TESTS = 6, 100, 32, 0.05, 2000, 1000
CUT = 5.0
NET = f"[FC64 -> RELU]*{DEPTH} -> FC10"


class Start(NamedTuple):
    """What came of one kind of starting weights: deviations behind each RELU, losses of the steps, accuracy."""

    deviations: list[float]
    losses: list[float]
    accuracy: float

    @property
    def after(self) -> float | None:
        """The mean loss of the last steps; None where it is no number any more."""
        mean = float(np.mean(self.losses[-10:]))
        return mean if math.isfinite(mean) else None


def weights(kind: str, network: Network, seed: int) -> Weights:
    """Starting weights of a kind: those of `initialise`, the large ones fifty times the small."""
    made = initialise(network, seed, {"zero": "zeros", "he": "he"}.get(kind, "gaussian"))
    return {name: 50 * w for name, w in made.items()} if kind == "large" else made


def teach(question: Question) -> Taught:
    """All four kinds on the same network and the same digits."""
    steps = question.steps or STEPS
    found = measured(question.seed, steps)
    last = {kind: start.deviations[-1] / (start.deviations[0] or 1.0) for kind, start in found.items()}
    right = {kind: start.accuracy for kind, start in found.items()}
    rows: tuple[tuple[str | Text, ...], ...] = tuple(
        (STARTS[kind], *(f"{d:.2g}" for d in start.deviations), *_ends(start)) for kind, start in found.items()
    )
    lines = [
        Line(STARTS[kind], [(k + 1.0, d) for k, d in enumerate(start.deviations)], True)
        for kind, start in found.items()
        if kind != "zero"
    ]
    losses = [
        Line(STARTS[kind], [(k, _cut(loss)) for k, loss in enumerate(start.losses)]) for kind, start in found.items()
    ]
    return Taught(
        blocks=(HOW.filled(NET, steps), Table(HEADER, rows, optional=(2, 3, 5))),
        claims=(
            Claim(ZERO.filled(right["zero"]), right["zero"] < 0.2 and not any(found["zero"].deviations)),
            Claim(SMALL.filled(last["small"], right["small"]), last["small"] < 1e-3 and right["small"] < 0.2),
            Claim(
                LARGE.filled(last["large"], found["large"].losses[0], right["large"]),
                found["large"].losses[0] > 10 and right["large"] < right["he"],
            ),
            Claim(HE.filled(last["he"], right["he"]), 0.3 < last["he"] < 3 and right["he"] == max(right.values())),
        ),
        numbers={
            kind: {
                "deviation": start.deviations,
                "loss_before": start.losses[0],
                "loss_after": start.after,
                "accuracy": start.accuracy,
            }
            for kind, start in found.items()
        },
        picture=sheet(
            TITLE, [[Panel(DEVIATIONS, chart(lines, LAYER, log=True)), Panel(CUT_OFF.filled(CUT), chart(losses, STEP))]]
        ),
    )


def measured(seed: int, steps: int) -> dict[str, Start]:
    """What comes of each kind of starting weights."""
    network, data, tests = Network.parse(f"{SHAPE} -> {NET}"), digits(IMAGES), digits(TESTS, "test")
    return {kind: _start(network, weights(kind, network, seed), data, tests, seed, steps) for kind in STARTS}


def _start(network: Network, own: Weights, data: Digits, tests: Digits, seed: int, steps: int) -> Start:
    trace = reference.forward(network, own, data.x[:256])
    behind = [y.std() for y, node in zip(trace.outputs, network.nodes, strict=True) if node.layer.op == "RELU"]
    with np.errstate(all="ignore"):  # large weights may overflow, which is what is shown
        learned = descend(network, own, data, batch=BATCH, steps=steps, lr=LR, seed=seed)
        right = accuracy(network, learned.weights, tests)
    return Start([float(d) for d in behind], learned.losses, right)


def _ends(start: Start) -> tuple[str, ...]:
    after = "NaN" if start.after is None else f"{start.after:,.2f}"
    return f"{start.losses[0]:,.2f}", after, f"{start.accuracy:.1%}"


def _cut(loss: float) -> float:
    return loss if loss < CUT else CUT


LESSON = Lesson("initialisation", TITLE, ("A4",), teach, frozenset({"steps"}))
