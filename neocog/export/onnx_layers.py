"""Every layer as operators of ONNX, in one table.

A function here gets a `Place`, which is a layer with what it reads, and returns what it gives. Windows that hang over
the edge (`fit=ceil`) are padding at the end here, so that no runtime's own rule for rounding up is relied on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NeocogError
from ..layer import Shape, Window
from ..layers import _window as rule
from ..layers.lcn import FLAT
from ..layers.scaledtanh import AMPLITUDE, SLOPE
from ..network import Network, Node, schedule
from ..reference import Weights
from ..spelling import Dims
from .onnx_graph import Graph, Value


@dataclass(frozen=True, eq=False)
class Place:
    """A layer in a network, and the graph that it is added to."""

    graph: Graph
    node: Node
    inputs: tuple[Value, ...]
    shapes: tuple[Shape, ...]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def layer(self) -> Any:
        """The layer; each function knows which it is."""
        return self.node.layer

    @property
    def shape(self) -> Shape:
        """The volume read, where it is one."""
        return self.shapes[0]

    @property
    def output(self) -> Shape:
        """The volume given."""
        return self.node.layer.output_shape(*self.shapes)

    def op(self, type_: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator."""
        return self.graph.add(type_, self.node.name, inputs, attributes)

    def constant(self, what: str, array: ArrayLike, dtype: type = np.float32) -> str:
        """An array that the text decides."""
        return self.graph.constant(self.node.name, what, array, dtype)

    def whole(self, what: str, *numbers: int) -> str:
        """Whole numbers, as operators take shapes and axes."""
        return self.constant(what, numbers, np.int64)

    def weight(self, what: str) -> str:
        """One of the layer's own arrays."""
        return self.made(what, self.arrays[what].shape, lambda: self.arrays[what])

    def made(self, what: str, shape: Sequence[int], make: Callable[[], NDArray[Any]]) -> str:
        """An array of that shape, made of the layer's own."""
        return self.graph.weight(f"{self.node.name}.{what}", shape, make)

    def weights(self, *names: str) -> list[str]:
        """Those of the layer's arrays that it has."""
        return [self.weight(name) for name in names if name in self.arrays]

    def each(self, what: str) -> str:
        """An array (C,) so that it meets the channels of a volume."""
        shape = (self.shape.channels, *(1,) * self.shape.rank)
        return self.made(what, shape, lambda: self.arrays[what].reshape(shape))

    def volume(self, k: int = 0) -> str:
        """What is read as (N, C, *size)."""
        value, rank = self.inputs[k], self.shapes[k].rank
        return self.op("Unsqueeze", value.name, self.whole("axes", *range(2, 2 + rank))) if value.flat else value.name

    def flat(self) -> str:
        """What is read as (N, C * positions), in the order channels, rows, columns."""
        (value,) = self.inputs
        return value.name if value.flat else self.op("Flatten", value.name, axis=1)

    @property
    def positions(self) -> list[int]:
        """The axes of positions."""
        return list(range(2, 2 + self.shape.rank))


Translation = Callable[[Place], Value]


def operators(network: Network, weights: Weights, graph: Graph, x: Value) -> Value:
    """Append a network's operators for its input x; what it gives, as scores (N, K) where it is a vector."""
    values: dict[int, Value] = {}
    for k, _ in schedule(network, training=False):
        node = network.nodes[k]
        prefix = f"{node.name}."
        own = {name[len(prefix) :]: array for name, array in weights.items() if name.startswith(prefix)}
        inputs = tuple(values[i] for i in node.inputs) or (x,)
        shapes = network.input_shapes(node) or (network.input_shape,)
        place = Place(graph, node, inputs, shapes, own)
        before = len(graph.operators)
        made = translation(node)(place)
        values[k] = graph.call(made, node.name) if len(graph.operators) > before else made
    last = values[len(network.nodes) - 1]
    if network.shapes[-1].positions == 1 and not last.flat:
        last = Value(graph.add("Flatten", SCORES_SCOPE, [last.name], {"axis": 1}), flat=True)
    return last


SCORES_SCOPE = "output"


def translation(node: Node) -> Translation:
    """What translates a node. Raises NeocogError where ONNX has no meaning for it."""
    try:
        return TRANSLATIONS[node.layer.op]
    except KeyError:
        raise NeocogError(
            f"{node.layer.op} has no translation into ONNX", where=node.name, received=str(node.layer)
        ) from None


# -- windows -----------------------------------------------------------------------------------------------------


def _hang(p: Place, window: Window) -> Dims:
    return rule.overhang(p.shape, window, p.output.spatial)


def _window(p: Place, window: Window, **more: Any) -> dict[str, Any]:
    """A window's attributes, the overhang behind the padding at the end."""
    ends = [pad + hang for pad, hang in zip(window.padding, _hang(p, window), strict=True)]
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": [*window.padding, *ends],
        **more,
    }


def _conv(p: Place) -> Value:
    window = p.layer.window(p.shape)
    channels = p.shape.channels
    shape = (p.layer.out_channels, channels // p.layer.groups, *window.kernel)
    weight = p.made("weight", shape, lambda: p.layer.dense(p.arrays["weight"], channels))
    told = _window(p, window, dilations=list(window.dilation), group=p.layer.groups)
    return Value(p.op("Conv", p.volume(), weight, *p.weights("bias"), **told))


def _deconv(p: Place) -> Value:
    kernel = p.layer.kernel(p.shape.rank)
    told = {
        "kernel_shape": list(kernel.kernel),
        "strides": list(kernel.stride),
        "pads": [*kernel.padding, *kernel.padding],
        "dilations": list(kernel.dilation),
    }
    return Value(p.op("ConvTranspose", p.volume(), *p.weights("weight", "bias"), **told))


def _local(p: Place) -> Value:
    """The values of each window as channels, by a convolution with kernels of a single 1; then a product a position."""
    window, outputs, channels = p.layer.window(p.shape), p.output, p.shape.channels
    taps = math.prod(window.kernel)
    ones = np.tile(np.eye(taps).reshape(taps, 1, *window.kernel), (channels, *(1,) * (1 + p.shape.rank)))
    unfolded = p.op("Conv", p.volume(), p.constant("windows", ones), **_window(p, window, group=channels))
    rows = p.op("Reshape", unfolded, p.whole("rows", 0, channels * taps, outputs.positions))
    by_position = p.op("Transpose", rows, perm=[2, 0, 1])
    shape = (outputs.positions, channels * taps, outputs.channels)

    def weight() -> NDArray[Any]:
        kernels = p.arrays["weight"].reshape(outputs.channels, channels, outputs.positions, taps)
        return kernels.transpose(2, 1, 3, 0).reshape(shape)

    products = p.op("Transpose", p.op("MatMul", by_position, p.made("weight", shape, weight)), perm=[1, 2, 0])
    y = p.op("Reshape", products, p.whole("size", 0, outputs.channels, *outputs.spatial))
    return Value(p.op("Add", y, p.weight("bias")) if "bias" in p.arrays else y)


def _filter(p: Place) -> Value:
    channels = p.shape.channels
    kernel = p.made("kernel", (channels, 1, 3, 3), lambda: np.tile(p.arrays["kernel"], (channels, 1, 1, 1)))
    return Value(p.op("Conv", p.volume(), kernel, **_window(p, p.layer.window(p.shape), group=channels)))


def _pool(p: Place) -> Value:
    return Value(p.op("MaxPool", p.volume(), **_window(p, p.layer.window(p.shape))))


def _means(p: Place, x: str) -> str:
    """The mean of each window, zeros of padding and overhang counted."""
    return p.op("AveragePool", x, **_window(p, p.layer.window(p.shape), count_include_pad=1))


def _sums(p: Place, x: str) -> str:
    taps = float(p.layer.taps(p.shape))
    return p.op("Mul", _means(p, x), p.constant("taps", taps))


def _avgpool(p: Place) -> Value:
    window = p.layer.window(p.shape)
    if not p.layer.zeros:
        return Value(p.op("AveragePool", p.volume(), **_window(p, window, count_include_pad=0)))
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


def _l2pool(p: Place) -> Value:
    x = p.volume()
    return Value(p.op("Sqrt", _sums(p, p.op("Mul", x, x))))


def _stopool(p: Place) -> Value:
    """The sum of squares over the sum; 0 where nothing is above 0."""
    a = p.op("Relu", p.volume())
    total, squares = _means(p, a), _means(p, p.op("Mul", a, a))
    zero, one = p.constant("zero", 0.0), p.constant("one", 1.0)
    return Value(p.op("Div", squares, p.op("Where", p.op("Greater", total, zero), total, one)))


def _subsample(p: Place) -> Value:
    scaled = p.op("Mul", _sums(p, p.volume()), p.each("weight"))
    return Value(p.op("Add", scaled, p.each("bias")))


def _gap(p: Place) -> Value:
    return Value(p.op("GlobalAveragePool", p.volume()))


def _spp(p: Place) -> Value:
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


def _upsample(p: Place) -> Value:
    factors = [n // m for n, m in zip(p.output.spatial, p.shape.spatial, strict=True)]
    scales = p.constant("scales", [1.0, 1.0, *factors])
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if p.layer.mode == "bilinear":
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return Value(p.op("Resize", p.volume(), "", scales, **how))


# -- vectors -----------------------------------------------------------------------------------------------------


def _fc(p: Place) -> Value:
    return Value(p.op("Gemm", p.flat(), *p.weights("weight", "bias"), transB=1), flat=True)


def _rbf(p: Place) -> Value:
    rows = p.op("Unsqueeze", p.flat(), p.whole("axes", 1))
    difference = p.op("Sub", rows, p.weight("codes"))
    squares = p.op("Mul", difference, difference)
    return Value(p.op("ReduceSum", squares, p.whole("summed", 2), keepdims=0), flat=True)


def _flatten(p: Place) -> Value:
    return Value(p.flat(), flat=True)


# -- values by themselves ----------------------------------------------------------------------------------------


def _same(p: Place) -> Value:
    return p.inputs[0]


def _pointwise(make: Callable[[Place, str], str]) -> Translation:
    """Of each value alone, so that it does not matter how a volume lies."""
    return lambda p: Value(make(p, p.inputs[0].name), p.inputs[0].flat)


def _operator(type_: str, **attributes: Any) -> Translation:
    return _pointwise(lambda p, x: p.op(type_, x, **attributes))


def _prelu(p: Place) -> Value:
    (value,) = p.inputs
    return Value(p.op("PRelu", value.name, p.weight("weight") if value.flat else p.each("weight")), value.flat)


def _scaled_tanh(p: Place, x: str) -> str:
    inner = p.op("Tanh", p.op("Mul", x, p.constant("slope", SLOPE)))
    return p.op("Mul", inner, p.constant("amplitude", AMPLITUDE))


def _gelu(p: Place, x: str) -> str:
    erf = p.op("Erf", p.op("Mul", x, p.constant("scale", math.sqrt(0.5))))
    share = p.op("Mul", p.op("Add", erf, p.constant("one", 1.0)), p.constant("half", 0.5))
    return p.op("Mul", x, share)


def _silu(p: Place, x: str) -> str:
    return p.op("Mul", x, p.op("Sigmoid", x))


# -- normalizations ----------------------------------------------------------------------------------------------


def _batchnorm(p: Place) -> Value:
    channels = p.shape.channels
    if p.layer.affine:
        scale, shift = p.weights("weight", "bias")
    else:
        scale, shift = p.constant("ones", np.ones(channels)), p.constant("zeros", np.zeros(channels))
    statistics = p.weights("running_mean", "running_var")
    return Value(p.op("BatchNormalization", p.volume(), scale, shift, *statistics, epsilon=p.layer.eps))


def _groupnorm(p: Place) -> Value:
    groups, (channels, spatial) = p.layer.groups, (p.shape.channels, p.shape.spatial)
    rows = p.op("Reshape", p.volume(), p.whole("groups", 0, groups, -1))
    one, zero = p.constant("ones", np.ones(groups)), p.constant("zeros", np.zeros(groups))
    normal = p.op("InstanceNormalization", rows, one, zero, epsilon=p.layer.eps)
    y = p.op("Reshape", normal, p.whole("size", 0, channels, *spatial))
    return Value(p.op("Add", p.op("Mul", y, p.each("weight")), p.each("bias")) if p.layer.affine else y)


def _lrn(p: Place) -> Value:
    layer = p.layer
    if layer.region == "within":
        return Value(_lrn_within(p))
    told = {"size": layer.size, "alpha": layer.alpha * layer.size, "beta": layer.beta, "bias": layer.k}
    if p.shape.rank == 2:
        return Value(p.op("LRN", p.volume(), **told))
    row = p.op("Unsqueeze", p.volume(), p.whole("axes", 2))  # runtimes take images only
    return Value(p.op("Squeeze", p.op("LRN", row, **told), p.whole("axes", 2)))


def _lrn_within(p: Place) -> str:
    layer, x = p.layer, p.volume()
    window = layer.window(p.shape)
    mean = p.op("AveragePool", p.op("Mul", x, x), **_window(p, window, count_include_pad=1))
    energy = p.op("Mul", mean, p.constant("alpha", layer.alpha * math.prod(window.kernel)))
    power = p.op("Pow", p.op("Add", energy, p.constant("k", layer.k)), p.constant("beta", layer.beta))
    return p.op("Div", x, power)


def _lcn(p: Place) -> Value:
    x, rank, channels = p.volume(), p.shape.rank, p.shape.channels
    kernel = p.arrays["kernel"]
    around = {"kernel_shape": list(kernel.shape), "pads": [n // 2 for n in kernel.shape] * 2}
    weight, maps = p.made("kernel", (1, 1, *kernel.shape), lambda: kernel[None, None]), p.whole("maps", 1)
    whole = p.made("weights", (1, 1, *p.shape.spatial), lambda: _covered(kernel, p.shape.spatial) * channels)

    def local(values: str) -> str:
        sums = p.op("Conv", p.op("ReduceSum", values, maps, keepdims=1), weight, **around)
        return p.op("Div", sums, whole)

    v = p.op("Sub", x, local(x))
    deviation = p.op("Sqrt", local(p.op("Mul", v, v)))
    if p.layer.least:
        least = p.constant("least", p.layer.least)
    else:
        mean = p.op("ReduceMean", deviation, axes=list(range(1, 2 + rank)), keepdims=1)
        least = p.op("Max", mean, p.constant("flat", FLAT))
    return Value(p.op("Div", v, p.op("Max", deviation, least)))


def _covered(kernel: NDArray[Any], size: Dims) -> NDArray[np.float64]:
    """How much of the window's weight lies on the image at each position: (1, 1, *size)."""
    around = np.pad(np.ones(size), [(n // 2, n // 2) for n in kernel.shape])
    views = np.lib.stride_tricks.sliding_window_view(around, kernel.shape)
    covered: NDArray[np.float64] = np.tensordot(views, kernel, axes=kernel.ndim)[None, None]
    return covered


# -- joins -------------------------------------------------------------------------------------------------------


def _add(p: Place) -> Value:
    flat = all(value.flat for value in p.inputs)
    names = [value.name if flat else p.volume(k) for k, value in enumerate(p.inputs)]
    return Value(p.op("Add" if len(names) == 2 else "Sum", *names), flat)


def _concat(p: Place) -> Value:
    flat = all(value.flat for value in p.inputs)
    names = [value.name if flat else p.volume(k) for k, value in enumerate(p.inputs)]
    return Value(p.op("Concat", *names, axis=1), flat)


def _shortcut(p: Place) -> Value:
    steps = p.layer.window(p.shape).stride
    x = p.volume()
    if any(step > 1 for step in steps):
        starts, ends = [0] * len(steps), list(p.shape.spatial)
        bounds = [p.whole(what, *n) for what, n in (("starts", starts), ("ends", ends))]
        x = p.op("Slice", x, *bounds, p.whole("axes", *p.positions), p.whole("steps", *steps))
    if new := p.output.channels - p.shape.channels:
        nothing = [0] * p.shape.rank
        x = p.op("Pad", x, p.whole("maps", 0, 0, *nothing, 0, new, *nothing))
    return Value(x)


TRANSLATIONS: dict[str, Translation] = {
    "INPUT": _same,
    "CONV": _conv,
    "LOCAL": _local,
    "POOL": _pool,
    "AVGPOOL": _avgpool,
    "L2POOL": _l2pool,
    "STOPOOL": _stopool,
    "GAP": _gap,
    "SUBSAMPLE": _subsample,
    "SPP": _spp,
    "FILTER": _filter,
    "DECONV": _deconv,
    "UPSAMPLE": _upsample,
    "FC": _fc,
    "RBF": _rbf,
    "FLATTEN": _flatten,
    "RELU": _operator("Relu"),
    "LRELU": _pointwise(lambda p, x: p.op("LeakyRelu", x, alpha=p.layer.slope)),
    "PRELU": _prelu,
    "SIGMOID": _operator("Sigmoid"),
    "TANH": _operator("Tanh"),
    "SCALEDTANH": _pointwise(_scaled_tanh),
    "SOFTMAX": _operator("Softmax", axis=1),
    "GELU": _pointwise(_gelu),
    "SILU": _pointwise(_silu),
    "BN": _batchnorm,
    "GROUPNORM": _groupnorm,
    "LRN": _lrn,
    "LCN": _lcn,
    "DROPOUT": _same,
    "ADD": _add,
    "CONCAT": _concat,
    "AUX": _same,
    "ID": _same,
    "SHORTCUT": _shortcut,
}
"""By the layer's word. AUX ends a branch that prediction leaves out; DROPOUT does nothing there."""
