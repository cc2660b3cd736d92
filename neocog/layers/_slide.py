"""The oracle's own view of windows over arrays; it shares nothing with the size rule in `_window.py`.

How many windows there are is never computed here by (W - F + 2P) / S + 1: it falls out of where windows can
start. `slide` is linear in its array, and `unslide` is its transpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..layer import Array, Window
from ..spelling import Dims


def slide(x: Array, window: Window, fit: str = "exact", fill: float = 0.0) -> Array:
    """All windows of `x` (N, C, *size): a view (N, C, *outputs, *kernel). Padding holds `fill`."""
    padded = _pad(x, window, fit, fill)
    rank = x.ndim - 2
    view = sliding_window_view(padded, window.extent, axis=tuple(range(2, 2 + rank)))
    starts = tuple(slice(None, s.stop, s.step) for s in _starts(x.shape[2:], window, fit))
    taps = tuple(slice(None, None, d) for d in window.dilation)
    return view[(slice(None), slice(None), *starts, *taps)]


def unslide(windows: Array, size: Dims, window: Window, fit: str = "exact") -> Array:
    """Add every window's values back to where `slide` read them: (N, C, *outputs, *kernel) -> (N, C, *size)."""
    summed = np.zeros_like(_pad(np.zeros((*windows.shape[:2], *size)), window, fit, 0.0))
    for tap, where in _taps(summed, size, window, fit):
        summed[where] += windows[(slice(None),) * (windows.ndim - len(tap)) + tap]
    inside = tuple(slice(p, p + n) for p, n in zip(window.padding, size, strict=True))
    return summed[(slice(None), slice(None), *inside)]


def _starts(size: Dims, window: Window, fit: str) -> list[slice]:
    """Where windows may start in the padded array, as slices over the positions of a dense scan."""
    slices = []
    for n, p, s, e in zip(size, window.padding, window.stride, window.extent, strict=True):
        last = n + 2 * p - e  # the last start whose window lies inside the padding
        if fit == "ceil":
            last = min(last + s - 1, n + p - 1)  # one more may hang over, if it starts on the input
        slices.append(slice(0, max(last, n + 2 * p - e) + 1, s))
    return slices


def _pad(x: Array, window: Window, fit: str, fill: float) -> Array:
    hang = [s - 1 if fit == "ceil" else 0 for s in window.stride]
    widths = [(p, p + h) for p, h in zip(window.padding, hang, strict=True)]
    return np.pad(x, [(0, 0), (0, 0), *widths], constant_values=fill)


def _taps(padded: Array, size: Dims, window: Window, fit: str) -> Iterator[tuple[Dims, tuple[slice, ...]]]:
    """For each kernel position, the strided slice of the padded array that it reads."""
    starts = _starts(size, window, fit)
    for tap in product(*(range(f) for f in window.kernel)):
        offsets = [t * d for t, d in zip(tap, window.dilation, strict=True)]
        where = [slice(o, o + s.stop, s.step) for o, s in zip(offsets, starts, strict=True)]
        yield tap, (slice(None), slice(None), *where)
