"""Convolution and cross-correlation: the one flips the kernel, the other does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..network import Network
from ..signal import convolve, cross_correlate
from ..wording import Text
from .drawing import Panel, matrix, sheet
from .lesson import Claim, Figures, Lesson, Question, Table, Taught
from .written import beside

TITLE = Text("Convolution flips the kernel, cross-correlation does not", "卷积翻转卷积核，互相关不翻转")
RULES = Text(
    "Convolution:        y[n] = sum over u of x[n - u] w[u].\n"
    "Cross-correlation:  y[n] = sum over u of x[n + u] w[u].\n"
    "What deep learning calls convolution is cross-correlation: kernels are learned, so nobody misses the flip.",
    "卷积：  y[n] = Σ_u x[n - u] w[u]。\n互相关：y[n] = Σ_u x[n + u] w[u]。\n"
    "深度学习里所说的“卷积”其实是互相关：卷积核是学出来的，翻转与否并无区别。",
)
POINT = Text(
    "A single point shows it: convolution draws the kernel there, cross-correlation the kernel turned by 180 degrees.",
    "一个孤立的点最能说明问题：卷积在那里画出卷积核本身，互相关画出旋转 180 度的卷积核。",
)
FLIPPED = Text(
    "the convolution of 100 random images, by the Fourier transform, is xcorr(x, flip(w)), to 1e-12",
    "对 100 幅随机图像，用傅里叶变换算出的卷积与 xcorr(x, flip(w)) 相同，误差不超过 1e-12",
)
LAYERS = Text(
    "CONV computes the cross-correlation and CONV(FLIP=yes) the convolution, to 1e-12",
    "CONV 层算的是互相关，CONV(FLIP=yes) 算的是卷积，误差不超过 1e-12",
)
LENGTHS = Text(
    "n = 5, m = 3: narrow n - m + 1 = {0}, same n = {1}, wide n + m - 1 = {2}",
    "n = 5、m = 3：窄卷积 n - m + 1 = {0}，等长卷积 n = {1}，宽卷积 n + m - 1 = {2}",
)
MODES = ("narrow", "same", "wide")
HEADER = (
    Text("mode", "方式"),
    Text("padding", "零填充"),
    Text("length", "长度"),
    Text("xcorr(x, w)", "互相关"),
    Text("conv(x, w)", "卷积"),
)
MODE_NAMES = (
    Text("narrow (valid)", "窄卷积 (valid)"),
    Text("same", "等长卷积 (same)"),
    Text("wide (full)", "宽卷积 (full)"),
)


def teach(question: Question) -> Taught:
    """A signal, a point, and random images."""
    signal, kernel = np.array([1, 2, 3, 4, 5]), np.array([1, 0, -1])
    correlated = {mode: cross_correlate(signal, kernel, mode) for mode in MODES}
    convolved = {mode: convolve(signal, kernel, mode) for mode in MODES}
    point, w = np.zeros((5, 5), int), np.arange(1, 10).reshape(3, 3)
    point[2, 2] = 1
    pictures = {"x": point, "w": w, "xcorr(x, w)": cross_correlate(point, w), "conv(x, w)": convolve(point, w)}
    flip, layers = _flip_gap(question.seed), _layer_gap(question.seed)
    lengths = tuple(len(correlated[mode]) for mode in MODES)
    rows: tuple[tuple[str | Text, ...], ...] = tuple(
        (name, str(padding), str(len(correlated[mode])), _row(correlated[mode]), _row(convolved[mode]))
        for name, mode, padding in zip(MODE_NAMES, MODES, (0, 1, 2), strict=True)
    )
    return Taught(
        blocks=(
            RULES,
            Figures(("x = 1 2 3 4 5   w = 1 0 -1",)),
            Table(HEADER, rows),
            POINT,
            Figures(beside(pictures)),
        ),
        claims=(
            Claim(FLIPPED, flip < 1e-12),
            Claim(LAYERS, layers < 1e-12),
            Claim(LENGTHS.filled(*lengths), lengths == (3, 5, 7)),
        ),
        numbers={
            "x": signal.tolist(),
            "w": kernel.tolist(),
            "cross_correlation": {mode: y.tolist() for mode, y in correlated.items()},
            "convolution": {mode: y.tolist() for mode, y in convolved.items()},
            "largest_difference": flip,
            "largest_difference_of_layers": layers,
        },
        picture=sheet(TITLE, [[Panel(name, matrix(v)) for name, v in pictures.items()]]),
    )


def _row(values: NDArray[Any]) -> str:
    return " ".join(map(str, values.tolist()))


def _flip_gap(seed: int) -> float:
    """How far xcorr(x, flip(w)) is from the convolution as the convolution theorem has it, which flips nothing."""
    rng = np.random.default_rng(seed)
    gaps = []
    for _ in range(100):
        x, w = rng.standard_normal((9, 8)), rng.standard_normal((3, 4))
        size = (9 + 3 - 1, 8 + 4 - 1)
        convolved = np.fft.irfft2(np.fft.rfft2(x, size) * np.fft.rfft2(w, size), size)
        gaps.append(np.abs(convolved - cross_correlate(x, np.flip(w), "wide")).max())
    return float(max(gaps))


def _layer_gap(seed: int) -> float:
    """How far the two layers are from the two sums."""
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((9, 8)), rng.standard_normal((3, 3))
    gaps = []
    for options, expected in (("", cross_correlate(x, w)), (", FLIP=yes", convolve(x, w))):
        network = Network.parse(f"INPUT[9x8x1] -> CONV3-1(P=0, BIAS=no{options})")
        y = reference.forward(network, {"conv1.weight": w[None, None]}, x[None, None]).output
        gaps.append(np.abs(y[0, 0] - expected).max())
    return float(max(gaps))


LESSON = Lesson("convolution", TITLE, ("C1", "C2"), teach)
