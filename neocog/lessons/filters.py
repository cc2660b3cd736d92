"""Fixed filters: blur, sharpen, edges and slopes on an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..data import load_data
from ..data.decode import decode
from ..data.resample import resized
from ..network import Network
from ..signal import FILTERS
from ..wording import Text
from .drawing import IMAGE, Panel, grey, painted, photo, sheet
from .lesson import Claim, Figures, Lesson, Picture, Question, Table, Taught
from .written import beside

TITLE = Text("Fixed filters: blur, sharpen, edges, slopes", "固定的滤波器：模糊、锐化、边缘、灰度变化")
HOW = Text(
    "A FILTER layer slides one 3x3 kernel over each channel. Kernels whose weights add up to 1 keep an even area as "
    "it is; those that add up to 0 answer with 0 there, and to edges with what has a sign: blue below 0, red above.",
    "FILTER 层让一个 3x3 的卷积核在每个通道上滑动。权重之和为 1 的卷积核使均匀的区域保持不变；"
    "权重之和为 0 的卷积核在均匀区域输出 0，在边缘处输出有正有负的值：图中蓝色为负，红色为正。",
)
SEEN = Text("Image: {0}, {1}x{2}.", "图像：{0}，{1}x{2}。")
OWN = Text("a digit of the test set", "测试集里的一个数字")
HEADER = (
    Text("filter", "滤波器"),
    Text("sum of weights", "权重之和"),
    Text("mean", "均值"),
    Text("deviation", "标准差"),
    Text("roughness", "粗糙度"),
)
ROUGHNESS = Text(
    "Roughness is the mean magnitude of the difference between neighbouring pixels, which are 0 to 1, without the "
    "border, which sees padding.",
    "粗糙度是相邻像素之差的绝对值的平均；像素值在 0 到 1 之间，受零填充影响的边框不计入。",
)
EVEN = Text(
    "on an even image mean, gaussian and sharpen change nothing, edge and sobel give 0, to 1e-12",
    "在均匀的图像上，mean、gaussian、sharpen 不改变任何值，edge 与 sobel 输出 0，误差不超过 1e-12",
)
ORDER = Text(
    "mean and gaussian make the image smoother, sharpen rougher: {0:.3f} and {1:.3f} < {2:.3f} < {3:.3f}",
    "mean 与 gaussian 使图像更平滑，sharpen 使其更粗糙：{0:.3f}、{1:.3f} < {2:.3f} < {3:.3f}",
)
STAYS = Text(
    "this image is even, and stays so under mean, gaussian and sharpen",
    "这幅图像是均匀的，经过 mean、gaussian、sharpen 仍然均匀",
)
SLOPES = Text(
    "sobel-x answers to slopes across, sobel-y to slopes down: {0:g} and {1:g} on a slope to the right",
    "sobel-x 只响应横向的灰度变化，sobel-y 只响应纵向的：在向右均匀变亮的图像上，输出分别为 {0:g} 和 {1:g}",
)
SCALE = Text("{0}, to ±{1:.2g}", "{0}，到 ±{1:.2g}")
LONGEST = 320
"""A photo is made so large at most."""


def teach(question: Question) -> Taught:
    """All filters on a photo, or on a digit."""
    image = _photo(question.photo) if question.photo else load_data("mnist").test.images[0] / 255
    answers = {name: filtered(name, image) for name in FILTERS}
    even = max(
        float(np.abs(filtered(name, np.full((5, 5, 1), 0.5))[1:-1, 1:-1] - 0.5 * FILTERS[name].sum()).max())
        for name in FILTERS
    )
    slope = np.tile(np.arange(5.0), (5, 1))[..., None]
    across, down = (float(filtered(name, slope)[2, 2, 0]) for name in ("sobel-x", "sobel-y"))
    rough = {name: _roughness(answers[name]) for name in ("mean", "gaussian", "sharpen")}
    own = _roughness(image)
    height, width = image.shape[:2]
    return Taught(
        blocks=(
            HOW,
            Figures(beside({name: FILTERS[name] for name in ("mean", "gaussian", "sharpen")})),
            Figures(beside({name: FILTERS[name] for name in ("edge", "sobel-x", "sobel-y")})),
            SEEN.filled(question.photo.name if question.photo else OWN, height, width),
            Table(HEADER, (("x", "", *_figures(image)), *(_row(name, y) for name, y in answers.items()))),
            ROUGHNESS,
        ),
        claims=(
            Claim(EVEN, even < 1e-12),
            _order(rough, own),
            Claim(SLOPES.filled(across, down), across > 0 and abs(down) < 1e-12),
        ),
        numbers={
            "size": [height, width],
            "roughness": {"x": own, **{name: _roughness(y) for name, y in answers.items()}},
            "mean": {name: float(y.mean()) for name, y in answers.items()},
            "deviation": {name: float(y.std()) for name, y in answers.items()},
        },
        picture=_picture(image, answers),
    )


def _order(rough: dict[str, float], own: float) -> Claim:
    """Which filters make an image of its own roughness smoother, and which rougher."""
    if own == 0:
        return Claim(STAYS, max(rough.values()) < 1e-12)
    mean, gaussian, sharpen = (rough[name] for name in ("mean", "gaussian", "sharpen"))
    return Claim(ORDER.filled(mean, gaussian, own, sharpen), max(mean, gaussian) < own < sharpen)


def filtered(name: str, image: NDArray[Any]) -> NDArray[np.float64]:
    """An image (H, W, C) through the FILTER layer, at the same size."""
    height, width, channels = image.shape
    network = Network.parse(f"INPUT[{height}x{width}x{channels}] -> FILTER({name})")
    x = np.moveaxis(np.asarray(image, np.float64), -1, 0)
    y = reference.forward(network, {"filter1.kernel": FILTERS[name]}, x[None]).outputs[-1]
    return np.moveaxis(y[0], 0, -1)


def _photo(path: Path) -> NDArray[np.float64]:
    """The photo's pixels from 0 to 1, made smaller where it is large. Raises DataError."""
    pixels = decode(path)
    scale = min(1.0, LONGEST / max(pixels.shape[:2]))
    size = max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    return np.asarray(resized(pixels, size), np.float64) / 255


def _roughness(image: NDArray[np.float64]) -> float:
    steps = np.concatenate([np.abs(np.diff(image[1:-1, 1:-1], axis=axis)).ravel() for axis in (0, 1)])
    return round(float(steps.mean()), 9) if len(steps) else 0.0


def _figures(image: NDArray[np.float64]) -> tuple[str, ...]:
    return f"{round(image.mean(), 3) + 0.0:.3f}", f"{image.std():.3f}", f"{_roughness(image):.3f}"


def _row(name: str, y: NDArray[np.float64]) -> tuple[str, ...]:
    return name, f"{FILTERS[name].sum():.0f}", *_figures(y)


def _picture(image: NDArray[np.float64], answers: dict[str, NDArray[np.float64]]) -> Picture:
    """Each without the border that sees padding, on a scale of its own where it has a sign."""
    side = max(IMAGE, *image.shape[:2])

    def shown(name: str, y: NDArray[np.float64]) -> Panel:
        y = y[1:-1, 1:-1] if min(y.shape[:2]) > 2 else y
        signed = abs(FILTERS[name].sum()) < 0.5 if name in FILTERS else False
        if signed:
            means = y.mean(axis=2)
            return Panel(SCALE.filled(name, np.abs(means).max()), photo(painted(means), side))
        return Panel(name, photo(grey(y[..., 0] if y.shape[2] == 1 else y), side))

    panels = [shown("x", image), *(shown(name, y) for name, y in answers.items())]
    return sheet(TITLE, [panels[:4], panels[4:]])


LESSON = Lesson("filters", TITLE, ("C13",), teach, frozenset({"photo"}))
