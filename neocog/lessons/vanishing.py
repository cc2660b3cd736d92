"""Gradients that vanish: by what they shrink from layer to layer behind sigmoids, and behind RELU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..initialise import initialise
from ..losses import default_loss
from ..network import Network
from ..wording import Text
from .drawing import Line, Panel, chart, sheet
from .learning import SHAPE, digits
from .lesson import Claim, Lesson, Question, Table, Taught

TITLE = Text("Gradients vanish behind sigmoids", "sigmoid 使梯度消失")
HOW = Text(
    "The derivative of a sigmoid is σ' = σ(1 - σ), at most 0.25. On the way back each layer multiplies the gradient "
    "by it, so {0} layers by at most 0.25^{0} = {1:.1e}, times what the weights do. RELU's derivative is 0 or 1. "
    "Here is one mini-batch of 64 digits through {2}, fresh from initialisation: the root "
    "mean square of ∂E/∂y behind each activation function, the last layer's being 1.",
    "sigmoid 的导数是 σ' = σ(1 - σ)，最大 0.25。反馈时每一层都要乘上它，"
    "{0} 层之后最多剩 0.25^{0} = {1:.1e}（权重的作用另计）。RELU 的导数是 0 或 1。"
    "下面让 64 张手写数字组成的一个小批量通过刚刚初始化的 {2}，表中是每个激活函数的输出处 ∂E/∂y 的均方根，"
    "以最后一层为 1。",
)
HEADER = (
    Text("layer", "层"),
    Text("SIGMOID, xavier", "SIGMOID，xavier"),
    Text("RELU, he", "RELU，he"),
    Text("mean σ'", "σ' 的均值"),
    Text("largest σ'", "σ' 的最大值"),
)
BOUND = Text("σ' is never above 0.25: the largest here is {0:.4f}", "σ' 从不超过 0.25：这里最大为 {0:.4f}")
SHRINKS = Text(
    "behind sigmoids the first layer's gradient is {0:.1e} of the last one's, a factor of {1:.2f} a layer",
    "在 sigmoid 之后，第一层的梯度只有最后一层的 {0:.1e}，平均每层乘以 {1:.2f}",
)
STAYS = Text(
    "behind RELU it is {0:.2g} of it, a factor of {1:.2f} a layer", "在 RELU 之后为 {0:.2g}，平均每层乘以 {1:.2f}"
)
SIZE = Text("root mean square of dE/dy, the last layer's being 1", "dE/dy 的均方根，以最后一层为 1")
LAYER = Text("layer", "层")
DEPTH, IMAGES = 10, 64
KINDS = {"SIGMOID": "xavier", "RELU": "he"}


def network(word: str) -> Network:
    """Ten fully connected layers of 64, each with that activation function."""
    return Network.parse(f"{SHAPE} -> [FC64 -> {word}]*{DEPTH} -> FC10")


def teach(question: Question) -> Taught:
    """One pass there and back, with each activation function."""
    found = {word: measured(word, question.seed) for word in KINDS}
    sizes = {word: rms / rms[-1] for word, (rms, _) in found.items()}
    slopes = found["SIGMOID"][1]
    first = {word: float(values[0]) for word, values in sizes.items()}
    factor = {word: value ** (1 / (DEPTH - 1)) for word, value in first.items()}
    rows = tuple(
        (str(k + 1), f"{sizes['SIGMOID'][k]:.1e}", f"{sizes['RELU'][k]:.2f}", *(f"{v:.3f}" for v in slopes[k]))
        for k in range(DEPTH)
    )
    lines = [Line(word, [(k + 1, float(v)) for k, v in enumerate(values)], True) for word, values in sizes.items()]
    return Taught(
        blocks=(HOW.filled(DEPTH, 0.25**DEPTH, f"[FC64 -> ...]*{DEPTH} -> FC10"), Table(HEADER, rows)),
        claims=(
            Claim(BOUND.filled(slopes[:, 1].max()), bool(slopes[:, 1].max() <= 0.25)),
            Claim(SHRINKS.filled(first["SIGMOID"], factor["SIGMOID"]), first["SIGMOID"] < 1e-3),
            Claim(STAYS.filled(first["RELU"], factor["RELU"]), 0.1 < first["RELU"] < 10),
        ),
        numbers={
            "gradient": {word: values.tolist() for word, values in sizes.items()},
            "mean_slope": slopes[:, 0].tolist(),
            "largest_slope": slopes[:, 1].tolist(),
            "factor_a_layer": factor,
        },
        picture=sheet(TITLE, [[Panel(SIZE, chart(lines, LAYER, log=True))]]),
    )


def measured(word: str, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Behind each activation function the rms of ∂E/∂y (depth,), and σ(1 - σ), mean and largest (depth, 2)."""
    net, data = network(word), digits(IMAGES)
    trace = reference.forward(net, initialise(net, seed, KINDS[word]), data.x)
    volumes, _ = reference.gradients(trace, default_loss(net).gradient(trace.output, data.labels))
    places = [k for k, node in enumerate(net.nodes) if node.layer.op == word]
    slopes = [trace.outputs[k] * (1 - trace.outputs[k]) for k in places]
    rms = np.array([np.sqrt((volumes[k] ** 2).mean()) for k in places])
    return rms, np.array([[slope.mean(), slope.max()] for slope in slopes])


LESSON = Lesson("vanishing", TITLE, ("A1",), teach)
