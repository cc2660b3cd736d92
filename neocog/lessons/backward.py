"""The way back through a convolution, term by term: 3x3 input, 2x2 kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..network import Network
from ..signal import convolve, cross_correlate
from ..wording import Text
from .drawing import Panel, matrix, sheet
from .lesson import Claim, Figures, Lesson, Picture, Question, Taught
from .written import beside

TITLE = Text("The way back through a convolution, term by term", "卷积的反馈运算（反向传播），逐项展开")
FORWARD = Text(
    "Forward, z = a ⋆ w + b is the cross-correlation of a 3x3 input a with a 2x2 kernel w. Back comes the error term "
    "δ = ∂E/∂z, 2x2. Each a_ij gets the sum of δ·w over the windows that read it:",
    "前馈：z = a ⋆ w + b，3x3 的输入 a 与 2x2 的卷积核 w 作互相关。反馈：误差项 δ = ∂E/∂z，2x2。"
    "凡是包含 a_ij 的窗口各贡献一项 δ·w，加起来就是 a_ij 的梯度：",
)
WHOLE = Text(
    "The nine sums are one wide convolution of δ with w, which is the wide cross-correlation of δ with rot180(w). "
    "∇w is the narrow cross-correlation of a with δ, and ∇b the sum of δ:",
    "九个和式合起来就是 δ 与 w 的宽卷积，即 δ 与 rot180(w) 的宽互相关。∇w 是 a 与 δ 的窄互相关，∇b 是 δ 之和：",
)
REFERENCE = Text(
    "terms, formulas and the reference's backward pass agree, to 1e-12",
    "逐项展开、公式与参考实现的反馈运算一致，误差不超过 1e-12",
)
FINITE = Text(
    "finite differences of E = sum of δ·z agree, to 1e-8",
    "与 E = Σδ·z 的有限差分一致，误差不超过 1e-8",
)
WRONG = Text(
    "without the turn, δ cross-correlated with w itself does not give ∇a: it is off by up to {0:g}",
    "如果不旋转，直接用 δ 与 w 作互相关，得到的就不是 ∇a：最多相差 {0:g}",
)
STRIDED = Text(
    "with a stride of 2, δ is first spread apart with zeros, then the same holds: on a 4x4 input, to 1e-12",
    "步长为 2 时，先在 δ 的元素之间插入零，结论照样成立：4x4 的输入上误差不超过 1e-12",
)
PADDED = Text("delta, padded", "delta，补零后")
TURNED = Text("dE/da: wide, with rot180(w)", "dE/da：与 rot180(w) 宽互相关")
A, W = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), np.array([[1, 2], [3, 4]])
DELTA, BIAS = np.array([[1, -1], [2, 3]]), 1

Array = NDArray[Any]


def terms(i: int, j: int) -> list[tuple[int, int, int, int]]:
    """The windows (p, q) that read a_ij, each with the weight (u, v) that it read it with; all from 1."""
    places = [(p, q, i - p + 1, j - q + 1) for p in (1, 2) for q in (1, 2)]
    return [(p, q, u, v) for p, q, u, v in places if u in (1, 2) and v in (1, 2)]


def sentence(i: int, j: int) -> str:
    """`∇a22 = δ11·w22 + δ12·w21 + δ21·w12 + δ22·w11 = ...` (fact C15)."""
    letters = " + ".join(f"δ{p}{q}·w{u}{v}" for p, q, u, v in terms(i, j))
    numbers = " + ".join(
        f"{f'({d})' if (d := DELTA[p - 1, q - 1]) < 0 else d}·{W[u - 1, v - 1]}" for p, q, u, v in terms(i, j)
    )
    return f"∇a{i}{j} = {letters} = {numbers} = {_summed(i, j)}"


def _summed(i: int, j: int) -> int:
    return int(sum(DELTA[p - 1, q - 1] * W[u - 1, v - 1] for p, q, u, v in terms(i, j)))


def teach(question: Question) -> Taught:
    """The worked example; nothing in it is drawn by chance."""
    by_terms = np.array([[_summed(i, j) for j in (1, 2, 3)] for i in (1, 2, 3)])
    formulas = {"∇a": convolve(DELTA, W, "wide"), "∇w": cross_correlate(A, DELTA), "∇b": DELTA.sum().reshape(1, 1)}
    z, grads = backward(A, W, DELTA)
    gap = max(float(np.abs(formulas[name] - found).max()) for name, found in (*grads.items(), ("∇a", by_terms)))
    finite = _finite_gap(by_terms)
    wrong = float(np.abs(cross_correlate(DELTA, W, "wide") - by_terms).max())
    strided = _strided_gap()
    flat = {name: value if value.ndim == 2 else value.reshape(1, -1) for name, value in formulas.items()}
    return Taught(
        blocks=(
            FORWARD,
            Figures(beside({"a": A, "w": W, "b": np.array([[BIAS]]), "z": z, "δ": DELTA})),
            Figures(tuple(sentence(i, j) for i in (1, 2, 3) for j in (1, 2, 3))),
            WHOLE,
            Figures(beside(flat)),
        ),
        claims=(
            Claim(REFERENCE, gap < 1e-12),
            Claim(FINITE, finite < 1e-8),
            Claim(WRONG.filled(wrong), wrong > 0),
            Claim(STRIDED, strided < 1e-12),
        ),
        numbers={
            "a": A.tolist(),
            "w": W.tolist(),
            "b": BIAS,
            "z": z.tolist(),
            "delta": DELTA.tolist(),
            "gradient_a": by_terms.tolist(),
            "gradient_w": formulas["∇w"].tolist(),
            "gradient_b": int(formulas["∇b"].sum()),
            "terms": {f"{i}{j}": [list(term) for term in terms(i, j)] for i in (1, 2, 3) for j in (1, 2, 3)},
        },
        picture=_picture(formulas),
    )


def backward(a: Array, w: Array, delta: Array, stride: int = 1) -> tuple[Array, dict[str, Array]]:
    """The reference's z, and its gradients for a, w and b, when δ comes back."""
    network = Network.parse(f"INPUT[{len(a)}x{len(a)}x1] -> CONV{len(w)}-1(S={stride}, P=0)")
    weights = {"conv1.weight": w[None, None], "conv1.bias": np.array([BIAS])}
    trace = reference.forward(network, weights, a[None, None])
    da, grads = reference.backward(trace, np.asarray(delta, np.float64)[None, None])
    found = {"∇a": da[0, 0], "∇w": grads["conv1.weight"][0, 0], "∇b": grads["conv1.bias"].reshape(1, 1)}
    return trace.outputs[-1][0, 0], found


def _finite_gap(gradient: Array) -> float:
    """Central differences of E = sum of δ·z for every a_ij against the gradient."""
    step, gaps = 1e-3, []
    for i, j in np.ndindex(3, 3):
        moved = np.zeros((3, 3))
        moved[i, j] = step
        up, down = (float((DELTA * cross_correlate(A + s * moved, W)).sum()) for s in (1, -1))
        gaps.append(abs((up - down) / (2 * step) - gradient[i, j]))
    return float(max(gaps))


def _strided_gap() -> float:
    """The wide convolution of δ, spread apart, with w against the reference at stride 2."""
    a = np.arange(16).reshape(4, 4)
    spread = np.zeros((3, 3))
    spread[::2, ::2] = DELTA
    _, grads = backward(a, W, DELTA, stride=2)
    return float(np.abs(convolve(spread, W, "wide") - grads["∇a"]).max())


def _picture(formulas: dict[str, Array]) -> Picture:
    """δ with zeros around it, rot180(w) over it where ∇a22 is made, and ∇a."""
    middle = np.zeros((3, 3), bool)
    middle[1, 1] = True
    under = np.zeros((4, 4), bool)
    under[1:3, 1:3] = True
    return sheet(
        TITLE,
        [
            [
                Panel("a", matrix(A, marked=middle)),
                Panel("w", matrix(W)),
                Panel("rot180(w)", matrix(np.rot90(W, 2))),
            ],
            [
                Panel(PADDED, matrix(np.pad(DELTA, 1), marked=under)),
                Panel(TURNED, matrix(formulas["∇a"], marked=middle)),
                Panel("dE/dw", matrix(formulas["∇w"])),
                Panel("dE/db", matrix(formulas["∇b"])),
            ],
        ],
    )


LESSON = Lesson("backward", TITLE, ("C15",), teach)
