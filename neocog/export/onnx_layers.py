"""Every layer as operators of ONNX, in one table.

A function gets a `Place`, which is a layer with what it reads, and returns what it gives. Those that slide a window are
in `onnx_windows.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..layers.lcn import FLAT
from ..layers.scaledtanh import AMPLITUDE, SLOPE
from ..network import Network, Node, schedule
from ..reference import Weights
from ..spelling import Dims
from . import onnx_windows as windows
from .onnx_graph import Graph, Value
from .onnx_place import Place, Translation

OUTPUT = "output"


def operators(network: Network, weights: Weights, graph: Graph, x: Value) -> Value:
    """Append a network's operators for its input x; what it gives, as scores (N, K) where it is a vector."""
    values: dict[int, Value] = {}
    arrays: defaultdict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
    for name, array in weights.items():
        owner, _, parameter = name.partition(".")
        arrays[owner][parameter] = array
    for k, _ in schedule(network, training=False):
        node = network.nodes[k]
        inputs = tuple(values[i] for i in node.inputs) or (x,)
        shapes = network.input_shapes(node) or (network.input_shape,)
        place = Place(graph, node, inputs, shapes, arrays[node.name])
        before = len(graph.operators)
        made = translation(node)(place)
        values[k] = graph.call(made, node.name) if len(graph.operators) > before else made
    last = values[len(network.nodes) - 1]
    if network.shapes[-1].positions == 1 and not last.flat:
        last = Value(graph.add("Flatten", OUTPUT, [last.name], {"axis": 1}), flat=True)
    return last


def translation(node: Node) -> Translation:
    """What translates a node. Raises NeocogError where ONNX has no meaning for it."""
    try:
        return TRANSLATIONS[node.layer.op]
    except KeyError:
        raise NeocogError(
            f"{node.layer.op} has no translation into ONNX", where=node.name, received=str(node.layer)
        ) from None


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
    mean = p.op("AveragePool", p.op("Mul", x, x), **windows.attributes(p, window, count_include_pad=1))
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
    "CONV": windows.conv,
    "LOCAL": windows.local,
    "POOL": windows.pool,
    "AVGPOOL": windows.avgpool,
    "L2POOL": windows.l2pool,
    "STOPOOL": windows.stopool,
    "GAP": windows.gap,
    "SUBSAMPLE": windows.subsample,
    "SPP": windows.spp,
    "FILTER": windows.filter,
    "DECONV": windows.deconv,
    "UPSAMPLE": windows.upsample,
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
