"""im2col: a convolution as one product of matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..network import Network
from ..signal import im2col
from ..wording import Text
from .drawing import Panel, matrix, sheet
from .lesson import Claim, Figures, Lesson, Picture, Question, Table, Taught
from .written import beside

TITLE = Text("im2col: a convolution as one product of matrices", "im2col：卷积就是一次矩阵乘法")
HOW = Text(
    "Each window that a filter sees becomes a column of X_col, each filter a row of W_row. Their product is every "
    "output at once, a row for each map.",
    "滤波器看到的每个窗口成为 X_col 的一列，每个滤波器成为 W_row 的一行；两者之积一次给出全部输出，每张特征图一行。",
)
SAME = Text(
    "the product is what the CONV layer of the reference gives, exactly",
    "乘积与参考实现的 CONV 层完全一致",
)
MEMORY = Text(
    "Windows that overlap repeat values: here {0} numbers become {1}. AlexNet's first layer:",
    "窗口重叠，数值就要重复存放：这里 {0} 个数变成 {1} 个。AlexNet 的第一层：",
)
ALEXNET = Text(
    "AlexNet's X_col is {0}x{1}, W_row {2}x{0}, the product {2}x{1} = 55x55x96; X_col holds {3:.1f} times the image",
    "AlexNet 的 X_col 为 {0}x{1}，W_row 为 {2}x{0}，乘积 {2}x{1} 即 55x55x96；X_col 中数的个数是图像的 {3:.1f} 倍",
)
HEADER = (Text("matrix", "矩阵"), Text("rows", "行"), Text("columns", "列"), Text("numbers", "数的个数"))
FILTERS = np.array([[[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[0, 1, 0], [1, -4, 1], [0, 1, 0]]])


def teach(question: Question) -> Taught:
    """Two 3x3 filters on a 4x4 image, and AlexNet's first layer."""
    x = np.random.default_rng(question.seed).integers(0, 10, (4, 4))
    columns, rows = im2col(x[None], 3), FILTERS.reshape(2, 9)
    product = rows @ columns
    network = Network.parse("INPUT[4x4x1] -> CONV3-2(P=0, BIAS=no)")
    y = reference.forward(network, {"conv1.weight": FILTERS[:, None]}, x[None, None]).output
    gap = float(np.abs(y.reshape(2, -1) - product).max())
    large, image = im2col(np.zeros((3, 227, 227), np.float32), 11, 4), 3 * 227 * 227
    planned = Network.parse("INPUT[227x227x3] -> CONV11-96(S=4, P=0)").shapes[-1]
    sizes = (*large.shape, planned.channels)
    shapes = {"X_col": large.shape, "W_row": (96, len(large)), "W_row X_col": (96, large.shape[1])}
    table = tuple((name, *map(str, shape), f"{shape[0] * shape[1]:,}") for name, shape in shapes.items())
    fits = sizes == (363, 3025, 96) and planned.as_list() == [55, 55, 96]
    return Taught(
        blocks=(
            HOW,
            Figures(beside({"x": x, "W_row": rows})),
            Figures(beside({"X_col": columns, "W_row X_col": product})),
            MEMORY.filled(x.size, columns.size),
            Table(HEADER, table),
        ),
        claims=(
            Claim(SAME, gap == 0),
            Claim(ALEXNET.filled(*sizes, large.size / image), fits and large.size > 7 * image),
        ),
        numbers={
            "x": x.tolist(),
            "x_col": columns.tolist(),
            "w_row": rows.tolist(),
            "product": product.tolist(),
            "largest_difference": gap,
            "alexnet": {name: list(shape) for name, shape in shapes.items()},
            "alexnet_times_the_image": large.size / image,
        },
        picture=_picture(x, columns, rows, product),
    )


def _picture(
    x: NDArray[np.int64], columns: NDArray[np.int64], rows: NDArray[np.int64], product: NDArray[np.int64]
) -> Picture:
    """The first window and its column have a frame, and so has what it gives."""
    window, column, given = np.zeros(x.shape, bool), np.zeros(columns.shape, bool), np.zeros(product.shape, bool)
    window[:3, :3] = column[:, 0] = given[:, 0] = True
    return sheet(
        TITLE,
        [
            [
                Panel("x  4x4", matrix(x, marked=window)),
                Panel("X_col  9x4", matrix(columns, 34, marked=column)),
                Panel("W_row  2x9", matrix(rows, 34)),
                Panel("W_row X_col  2x4", matrix(product, marked=given)),
            ]
        ],
    )


LESSON = Lesson("im2col", TITLE, ("C7", "C8"), teach)
