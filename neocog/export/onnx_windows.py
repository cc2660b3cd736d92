"""Layers that slide a window, and those that look at bins or grow a volume, as operators of ONNX.

Windows that hang over the edge (`fit=ceil`) are padding at the end here, so that no runtime's own rule for rounding up
is relied on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layer import Window
from ..layers import _window as rule
from ..spelling import Dims
from .onnx_graph import Value
from .onnx_place import Place


def _hang(p: Place, window: Window) -> Dims:
    return rule.overhang(p.shape, window, p.output.spatial)


def attributes(p: Place, window: Window, **more: Any) -> dict[str, Any]:
    """A window's attributes, the overhang behind the padding at the end."""
    ends = [pad + hang for pad, hang in zip(window.padding, _hang(p, window), strict=True)]
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": [*window.padding, *ends],
        **more,
    }


def conv(p: Place) -> Value:
    """The kernel as cross-correlation uses it: dense where there is a table, turned where it is flipped."""
    window = p.layer.window(p.shape)
    channels = p.shape.channels
    shape = (p.layer.out_channels, channels // p.layer.groups, *window.kernel)
    weight = p.made("weight", shape, lambda: p.layer.dense(p.arrays["weight"], channels))
    told = attributes(p, window, dilations=list(window.dilation), group=p.layer.groups)
    return Value(p.op("Conv", p.volume(), weight, *p.weights("bias"), **told))


def deconv(p: Place) -> Value:
    """The transpose of a convolution."""
    kernel = p.layer.kernel(p.shape.rank)
    told = {
        "kernel_shape": list(kernel.kernel),
        "strides": list(kernel.stride),
        "pads": [*kernel.padding, *kernel.padding],
        "dilations": list(kernel.dilation),
    }
    return Value(p.op("ConvTranspose", p.volume(), *p.weights("weight", "bias"), **told))


def local(p: Place) -> Value:
    """The values of each window as channels, by a convolution with kernels of a single 1; then a product a position."""
    window, outputs, channels = p.layer.window(p.shape), p.output, p.shape.channels
    taps = math.prod(window.kernel)
    ones = np.tile(np.eye(taps).reshape(taps, 1, *window.kernel), (channels, *(1,) * (1 + p.shape.rank)))
    unfolded = p.op("Conv", p.volume(), p.constant("windows", ones), **attributes(p, window, group=channels))
    rows = p.op("Reshape", unfolded, p.whole("rows", 0, channels * taps, outputs.positions))
    by_position = p.op("Transpose", rows, perm=[2, 0, 1])
    shape = (outputs.positions, channels * taps, outputs.channels)

    def weight() -> NDArray[Any]:
        kernels = p.arrays["weight"].reshape(outputs.channels, channels, outputs.positions, taps)
        return kernels.transpose(2, 1, 3, 0).reshape(shape)

    products = p.op("Transpose", p.op("MatMul", by_position, p.made("weight", shape, weight)), perm=[1, 2, 0])
    y = p.op("Reshape", products, p.whole("size", 0, outputs.channels, *outputs.spatial))
    return Value(p.op("Add", y, p.weight("bias")) if "bias" in p.arrays else y)


def filter(p: Place) -> Value:
    """A convolution with a group for each channel."""
    channels = p.shape.channels
    kernel = p.made("kernel", (channels, 1, 3, 3), lambda: np.tile(p.arrays["kernel"], (channels, 1, 1, 1)))
    return Value(p.op("Conv", p.volume(), kernel, **attributes(p, p.layer.window(p.shape), group=channels)))


def pool(p: Place) -> Value:
    """Padding never wins."""
    window = p.layer.window(p.shape)
    apart = {"dilations": list(window.dilation)} if set(window.dilation) != {1} else {}
    return Value(p.op("MaxPool", p.volume(), **attributes(p, window, **apart)))


def _means(p: Place, x: str) -> str:
    """The mean of each window, zeros of padding and overhang counted."""
    return p.op("AveragePool", x, **attributes(p, p.layer.window(p.shape), count_include_pad=1))


def _sums(p: Place, x: str) -> str:
    taps = float(p.layer.taps(p.shape))
    return p.op("Mul", _means(p, x), p.constant("taps", taps))


def avgpool(p: Place) -> Value:
    """Means; what counts in them is ONNX's rule but for overhang."""
    window = p.layer.window(p.shape)
    if not p.layer.zeros:
        return Value(p.op("AveragePool", p.volume(), **attributes(p, window, count_include_pad=0)))
    y = _means(p, p.volume())
    if any(_hang(p, window)):  # what hangs beyond the padding is never counted
        y = p.op("Mul", y, p.constant("counted", _taps_per_counted(p, window)))
    return Value(y)


def _taps_per_counted(p: Place, window: Window) -> NDArray[np.float64]:
    """F*F over how many of a window's positions lie on the padded input: (1, 1, *size')."""
    factor = np.ones((1, 1, *p.output.spatial))
    for axis, outputs in enumerate(p.output.spatial):
        start = np.arange(outputs) * window.stride[axis]
        inside = np.minimum(start + window.kernel[axis], p.shape.spatial[axis] + 2 * window.padding[axis]) - start
        along = [1] * factor.ndim
        along[2 + axis] = outputs
        factor = factor * (window.kernel[axis] / inside).reshape(along)
    return factor


def l2pool(p: Place) -> Value:
    """The root of the sum of squares."""
    x = p.volume()
    return Value(p.op("Sqrt", _sums(p, p.op("Mul", x, x))))


def stopool(p: Place) -> Value:
    """The sum of squares over the sum; 0 where nothing is above 0."""
    a = p.op("Relu", p.volume())
    total, squares = _means(p, a), _means(p, p.op("Mul", a, a))
    zero, one = p.constant("zero", 0.0), p.constant("one", 1.0)
    return Value(p.op("Div", squares, p.op("Where", p.op("Greater", total, zero), total, one)))


def subsample(p: Place) -> Value:
    """Sums times a map's weight, plus its bias."""
    scaled = p.op("Mul", _sums(p, p.volume()), p.each("weight"))
    return Value(p.op("Add", scaled, p.each("bias")))


def gap(p: Place) -> Value:
    """The mean of each channel."""
    return Value(p.op("GlobalAveragePool", p.volume()))


def spp(p: Place) -> Value:
    """Bins of all levels, one after the other."""
    levels = [p.op("Flatten", _bins(p, p.volume(), level), axis=1) for level in p.layer.levels]
    return Value(p.op("Concat", *levels, axis=1) if len(levels) > 1 else levels[0], flat=True)


def _bins(p: Place, x: str, bins: int) -> str:
    """The largest value of each bin: pooling where all have one size, else axis by axis, from slices."""
    if all(size % bins == 0 for size in p.shape.spatial):
        sizes = [size // bins for size in p.shape.spatial]
        return p.op("MaxPool", x, kernel_shape=sizes, strides=sizes)
    for axis, size in enumerate(p.shape.spatial, start=2):
        parts = []
        for k in range(bins):
            edges = (p.whole("edge", k * size // bins), p.whole("edge", -(-(k + 1) * size // bins)))
            part = p.op("Slice", x, *edges, p.whole("axis", axis))
            parts.append(p.op("ReduceMax", part, axes=[axis], keepdims=1))
        x = p.op("Concat", *parts, axis=axis) if bins > 1 else parts[0]
    return x


def upsample(p: Place) -> Value:
    """Copies, or torch's `align_corners=False`."""
    factors = [n // m for n, m in zip(p.output.spatial, p.shape.spatial, strict=True)]
    scales = p.constant("scales", [1.0, 1.0, *factors])
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if p.layer.mode == "bilinear":
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return Value(p.op("Resize", p.volume(), "", scales, **how))
