"""Sharing of parameters: CONV, LOCAL and FC with as many neurons, by what they cost and what they learn from little."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..initialise import initialise
from ..network import Network
from ..wording import Text
from .drawing import Line, Panel, chart, sheet
from .learning import SHAPE, accuracy, descend, digits
from .lesson import Claim, Lesson, Question, Table, Taught

TITLE = Text("Shared parameters: fewer to learn, and shifts matter less", "参数共享：要学的更少，平移的影响更小")
HOW = Text(
    "Three networks whose first layer has 10 x 10 x 4 = 400 neurons: CONV5-4 shares 4 kernels over all positions, "
    "LOCAL5-4 sees the same windows with a kernel of its own at each, FC400 sees everything. Behind CONV and LOCAL, "
    "POOL2 takes the largest of 2 x 2. Each learns from {0} digits in {1} steps (mini-batches of 20, rate 0.05), {2} "
    "times from other weights, and reads {3} others: as they are, and shifted by 1 pixel of 14 (the mean of 4 ways).",
    "三个网络，第一层都有 10 x 10 x 4 = 400 个神经元：CONV5-4 在所有位置共享 4 个卷积核；"
    "LOCAL5-4（局部连接层）看同样的窗口，但每个位置有自己的卷积核；FC400（全连接层）看整幅图像。"
    "CONV 与 LOCAL 之后用 POOL2 取 2 x 2 的最大值。各自用 {0} 张数字训练 {1} 步（小批量 20，学习率 0.05），"
    "换初始权重共做 {2} 次，再识别另外 {3} 张：原样，以及平移 1 个像素（图像边长 14，四个方向取平均）。",
)
HEADER = (
    Text("first layer", "第一层"),
    Text("parameters", "参数"),
    Text("connections", "连接"),
    Text("trained on", "训练集"),
    Text("test digits", "测试数字"),
    Text("shifted by 1", "平移 1"),
)
COUNTS = Text(
    "CONV has {0:,} parameters for {1:,} connections, LOCAL one for each of its {2:,} connections, FC {3:,}",
    "CONV 有 {1:,} 个连接但只有 {0:,} 个参数；LOCAL 的 {2:,} 个连接各有一个参数；FC 有 {3:,} 个",
)
ALEXNET = Text(
    "AlexNet's first layer: {0:,} parameters where they are shared, {1:,} where they are not",
    "AlexNet 的第一层：共享时 {0:,} 个参数，不共享时 {1:,} 个",
)
FEW = Text(
    "from {0} digits CONV learns more than LOCAL, each time: {1:.1%} of the test digits and {2:.1%}",
    "只有 {0} 张数字时，CONV 每次都比 LOCAL 学得好：测试数字分别为 {1:.1%} 与 {2:.1%}",
)
EQUAL = Text(
    "and no less than FC, with {0:,.0f} times fewer parameters in the first layer: {1:+.1f} percentage points",
    "也不比 FC 差，而第一层的参数只有它的 {0:,.0f} 分之一：相差 {1:+.1f} 个百分点",
)
SHIFTED = Text(
    "shifted digits are read best by CONV, each time: {0:.1%}, LOCAL {1:.1%}, FC {2:.1%}",
    "平移后的数字每次都是 CONV 认得最好：{0:.1%}，LOCAL {1:.1%}，FC {2:.1%}",
)
READ = Text("share of the test digits read right", "测试数字的识别率")
PIXELS = Text("shifted by so many pixels", "平移的像素数")
NETS = {
    "CONV": "CONV5-4(P=0) -> RELU -> POOL2 -> FC10",
    "LOCAL": "LOCAL5-4(P=0) -> RELU -> POOL2 -> FC10",
    "FC": "FC400 -> RELU -> FC10",
}
IMAGES, TESTS, STEPS, BATCH, LR, RUNS = 100, 500, 200, 20, 0.05, 3
SHIFTS = (0, 1, 2)
WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1))
CHANCE = 2.0
"""Percentage points within which two accuracies count as equal: about the deviation of one on 500 digits."""


class Kind(NamedTuple):
    """One network: the costs of its first layer, and what it reads after each run.

    `trained` (runs,) is the share of the digits that it learned from, `shifted` (runs, shifts) of others by shift.
    """

    parameters: int
    connections: int
    trained: NDArray[np.float64]
    shifted: NDArray[np.float64]

    @property
    def by_shift(self) -> list[float]:
        """The share of test digits for each shift, on average."""
        return [float(share) for share in self.shifted.mean(axis=0)]


def measured(seed: int, steps: int) -> dict[str, Kind]:
    """Costs by the plan, and what each network learns."""
    data, tests = digits(IMAGES), digits(TESTS, "test")
    moved = [[tests.shifted(by * row, by * column) for row, column in (WAYS if by else WAYS[:1])] for by in SHIFTS]
    found = {}
    for name, text in NETS.items():
        network = Network.parse(f"{SHAPE} -> {text}")
        cost = network.nodes[1].layer.cost(network.shapes[0])
        trained, shifted = [], []
        for run in range(seed, seed + RUNS):
            start = initialise(network, run, "he")
            learned = descend(network, start, data, batch=BATCH, steps=steps, lr=LR, seed=run).weights
            trained.append(accuracy(network, learned, data))
            shifted.append([np.mean([accuracy(network, learned, some) for some in ways]) for ways in moved])
        found[name] = Kind(cost.parameters, cost.connections, np.array(trained), np.array(shifted))
    return found


def alexnet(word: str) -> int:
    """Parameters of AlexNet's first layer, written with CONV or with LOCAL (fact C7)."""
    return int(Network.parse(f"INPUT[227x227x3] -> {word}11-96(S=4, P=0)").plan().totals["parameters"])


def teach(question: Question) -> Taught:
    """The three networks, and AlexNet's first layer."""
    steps = question.steps or STEPS
    found = measured(question.seed, steps)
    conv, local, fc = found.values()
    shared, own = alexnet("CONV"), alexnet("LOCAL")
    table = tuple(
        (_first(name), f"{kind.parameters:,}", f"{kind.connections:,}", *_shares(kind)) for name, kind in found.items()
    )
    counted = conv.parameters == 104 and conv.connections == local.connections == local.parameters
    right, by_one = zip(*(kind.by_shift[:2] for kind in found.values()), strict=True)
    beside_fc = 100 * (right[0] - right[2])
    lines = [Line(name, list(zip(SHIFTS, kind.by_shift, strict=True)), True) for name, kind in found.items()]
    return Taught(
        blocks=(HOW.filled(IMAGES, steps, RUNS, TESTS), Table(HEADER, table)),
        claims=(
            Claim(COUNTS.filled(conv.parameters, conv.connections, local.parameters, fc.parameters), counted),
            Claim(ALEXNET.filled(shared, own), (shared, own) == (34_944, 105_705_600)),
            Claim(FEW.filled(IMAGES, right[0], right[1]), _above(conv, local, 0)),
            Claim(EQUAL.filled(fc.parameters / conv.parameters, beside_fc), beside_fc > -CHANCE),
            Claim(SHIFTED.filled(*by_one), _above(conv, local, 1) and _above(conv, fc, 1)),
        ),
        numbers={
            **{name: _plain(kind) for name, kind in found.items()},
            "shifts": list(SHIFTS),
            "alexnet": {"shared": shared, "unshared": own},
        },
        picture=sheet(TITLE, [[Panel(READ, chart(lines, PIXELS))]]),
    )


def _above(one: Kind, other: Kind, shift: int) -> bool:
    """Whether the one reads more in every run."""
    return bool((one.shifted[:, shift] > other.shifted[:, shift]).all())


def _first(name: str) -> str:
    return NETS[name].partition(" ")[0].partition("(")[0]


def _shares(kind: Kind) -> tuple[str, ...]:
    return tuple(f"{share:.1%}" for share in (kind.trained.mean(), *kind.by_shift[:2]))


def _plain(kind: Kind) -> dict[str, object]:
    return {
        "parameters": kind.parameters,
        "connections": kind.connections,
        "trained": kind.trained.tolist(),
        "by_shift": kind.shifted.tolist(),
    }


LESSON = Lesson("sharing", TITLE, ("C7", "C12"), teach, frozenset({"steps"}))
