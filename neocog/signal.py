"""Convolution and correlation as mathematics defines them, for signals, images and volumes of numbers.

Convolution flips the kernel, cross-correlation does not (fact C1):

    convolve:         y[n] = sum over u of x[n - u] * w[u]
    cross_correlate:  y[n] = sum over u of conj(x[n + u]) * w[u]

each with one index for each axis. What deep learning calls convolution is `cross_correlate` of real arrays.
For complex arrays the first argument is conjugated, so `convolve(x, w)` is `cross_correlate(conj(x), flip(w))`
and `cross_correlate(x, w)` is the complex conjugate of `np.correlate(x, w)`.

`mode` says which n are kept, for a signal of length n and a kernel of length m (fact C2):

| mode   | also called | padding     | length    |
|--------|-------------|-------------|-----------|
| narrow | valid       | 0           | n - m + 1 |
| same   | same        | (m - 1) / 2 | n         |
| wide   | full        | m - 1       | n + m - 1 |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from .errors import NeocogError, ShapeError

Numbers = NDArray[Any]

FILTERS: dict[str, NDArray[np.float64]] = {
    "mean": np.ones((3, 3)) / 9,
    "gaussian": np.outer([1, 2, 1], [1, 2, 1]) / 16,
    "sharpen": np.array([[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]),
    "edge": np.array([[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]]),
    "sobel-x": np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]),
    "sobel-y": np.outer([-1.0, 0.0, 1.0], [1.0, 2.0, 1.0]),
}
"""Kernels of image processing, for `cross_correlate` (fact C13): `sobel-x` is positive where brightness grows to
the right, `sobel-y` where it grows downwards. Blurs keep a constant image as it is; edges make it zero."""


def cross_correlate(x: ArrayLike, w: ArrayLike, mode: str = "narrow") -> Numbers:
    """Slide w over x unflipped, multiply conj(x) by w and sum. Arrays of 1, 2 or 3 axes.

    `cross_correlate([1, 2, 3, 4], [1, 0, -1])` is `[-2, -2]`.
    Raises NeocogError for an unknown mode, ShapeError when the arrays do not fit.
    """
    x, w = np.asarray(x), np.asarray(w)
    padded = np.pad(x.conj(), [(p, p) for p in _padding(x, w, mode)])
    windows = sliding_window_view(padded, w.shape)
    return np.tensordot(windows, w, axes=w.ndim)


def convolve(x: ArrayLike, w: ArrayLike, mode: str = "narrow") -> Numbers:
    """Slide the flipped w over x, multiply and sum. Arrays of 1, 2 or 3 axes.

    `convolve([1, 2, 3, 4], [1, 0, -1])` is `[2, 2]`. Raises what `cross_correlate` raises.
    """
    return cross_correlate(np.conj(x), np.flip(w), mode)


def auto_correlate(x: ArrayLike, mode: str = "wide") -> Numbers:
    """How much x looks like itself shifted: `cross_correlate(x, x)`, largest at no shift, in the middle."""
    return cross_correlate(x, x, mode)


def im2col(x: ArrayLike, kernel: int, stride: int = 1, padding: int = 0) -> Numbers:
    """A volume (C, H, W) as the matrix whose columns are the windows a filter sees: (C*F*F, H'*W').

    A layer of K filters w (K, C, F, F) is then one product: `w.reshape(K, -1) @ im2col(x, F, S, P)` is
    (K, H'*W'). Where windows overlap the matrix repeats values: AlexNet's first layer, 227x227x3 with F=11
    and S=4, becomes 363x3025, seven times its input (fact C8). Raises ShapeError when windows do not tile.
    """
    x = np.asarray(x)
    for size in x.shape[1:]:
        room = size - kernel + 2 * padding
        if room < 0 or room % stride:
            raise ShapeError(f"windows do not tile: (W - F + 2P)/S = ({size} - {kernel} + {2 * padding})/{stride}")
    padded = np.pad(x, [(0, 0), (padding, padding), (padding, padding)])
    windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]  # (C, H', W', F, F)
    columns = windows.transpose(0, 3, 4, 1, 2)
    return columns.reshape(len(x) * kernel * kernel, -1)


def _padding(x: Numbers, w: Numbers, mode: str) -> list[int]:
    """Zeros to add at both ends of each axis of x."""
    if x.ndim != w.ndim or not 1 <= x.ndim <= 3:
        raise ShapeError("signal and kernel have 1, 2 or 3 axes, both as many", received=f"{x.ndim} and {w.ndim}")
    if mode == "same" and any(m % 2 == 0 for m in w.shape):
        raise ShapeError("the same size needs an odd kernel: P = (m - 1)/2", received=f"{w.shape}")
    if mode == "narrow" and any(m > n for n, m in zip(x.shape, w.shape, strict=True)):
        raise ShapeError("a narrow convolution needs a kernel that fits inside", received=f"{w.shape} on {x.shape}")
    by_mode = {
        "narrow": [0 for _ in w.shape],
        "same": [(m - 1) // 2 for m in w.shape],
        "wide": [m - 1 for m in w.shape],
    }
    if mode not in by_mode:
        raise NeocogError("there is no such mode", received=mode, hint=", ".join(by_mode))
    return by_mode[mode]
