"""One output value of a layer taken apart: the window it sees, the numbers that make it, and where its gradient goes.

The window is laid out from the layer's own hyper-parameters, value by value; its products, sum and bias must give what
the reference has at that place, and `difference` says how far they do not. Backwards, the layer's `backward` is run on
a gradient that is zero but at this place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from ..layer import Array, Window
from ..layers import Conv
from ..layers.fc import FullyConnected
from ..reference import Trace
from .pictures import short

MOST_PARTS = 8
"""Input channels that are laid out at once; sums are over all of them."""
FORMULAS = {
    "RELU": "max(0, x)",
    "LRELU": "x > 0 ? x : a x",
    "PRELU": "x > 0 ? x : a x",
    "SIGMOID": "1 / (1 + exp(-x))",
    "TANH": "tanh(x)",
    "SCALEDTANH": "1.7159 tanh(2x / 3)",
    "GELU": "x Phi(x)",
    "SILU": "x / (1 + exp(-x))",
    "ID": "x",
    "DROPOUT": "x",
}
POOLS = {"POOL": "max", "AVGPOOL": "mean", "GAP": "mean", "L2POOL": "root of the sum of squares"}

Gradients = tuple[list[Array], dict[str, Array]]
Place = tuple[int, ...]


def cell(trace: Trace, gradients: Gradients, k: int, channel: int, place: Place, first: int) -> dict[str, Any]:
    """The value of node `k` at a channel and a place, as plain values for the page."""
    node = trace.network.nodes[k]
    at = (0, channel, *place)
    y = float(trace.outputs[k][at])
    told: dict[str, Any] = {"layer": node.name, "token": node.layer.token, "channel": channel, "place": list(place)}
    told |= {"output": y, "formula": FORMULAS.get(node.layer.op, ""), "kind": "input"}
    dy = float(gradients[0][k][at])
    if not node.inputs:
        return told | {"gradient": dy}
    xs = [trace.outputs[i] for i in node.inputs]
    flow, dparams = _flow(trace, k, at, dy)
    told |= _taken_apart(trace, k, channel, place, first)
    told["difference"] = abs(told["made"] - y) if "made" in told else None
    back: dict[str, Any] = {"gradient": dy}
    if "parts" in told:
        source = gradients[0][node.inputs[0]]
        for part in told["parts"]:
            index = (0, part["channel"])
            part["dx"] = _at(flow[0][index], part["rows"], part["columns"])
            part["dx_total"] = _at(source[index], part["rows"], part["columns"])
            if isinstance(node.layer, Conv | FullyConnected) and node.layer.op in ("CONV", "FC"):
                part["dw"] = short(dy * np.array(part["values"]))
                part["dw_total"] = _total(trace, gradients[1], k, channel, part)
    if "bias" in dparams and f"{node.name}.bias" in gradients[1]:
        back["bias"] = float(dparams["bias"].reshape(-1)[channel])
        back["bias_total"] = float(gradients[1][f"{node.name}.bias"].reshape(-1)[channel])
    if told["kind"] in ("each", "other", "join"):
        back["inputs"] = [float(dx[_like(at, x)]) if _like(at, x) else None for dx, x in zip(flow, xs, strict=True)]
    if told["kind"] == "softmax":
        back["inputs"] = short(flow[0].reshape(-1))
    return told | {"back": back, "gradient": dy}


def _flow(trace: Trace, k: int, at: tuple[int, ...], dy: float) -> tuple[tuple[Array, ...], dict[str, Array]]:
    """Where a gradient goes that is zero but at one place, by the layer's own backward pass."""
    alone = np.zeros_like(trace.outputs[k])
    alone[at] = dy
    return trace.network.nodes[k].layer.backward(trace.params[k], trace.caches[k], alone)


def _taken_apart(trace: Trace, k: int, channel: int, place: Place, first: int) -> dict[str, Any]:
    node = trace.network.nodes[k]
    layer, x = node.layer, trace.outputs[node.inputs[0]][0]
    shapes = trace.network.input_shapes(node)
    if layer.op in ("CONV", "FC"):
        return _weighed(trace, k, channel, place, first)
    if layer.op in POOLS:
        window = layer.window(*shapes) or Window.over(shapes[0])
        part = _part(x, channel, window, place)
        inside = np.array(part["values"])[np.array(part["inside"])]
        made = {"POOL": inside.max, "AVGPOOL": inside.mean, "GAP": inside.mean}.get(layer.op)
        told: dict[str, Any] = {"kind": "pool", "pool": POOLS[layer.op], "parts": [part]}
        return told | ({"made": float(made())} if made else {})
    if layer.op == "SOFTMAX":
        logits = x.reshape(len(x), -1)[:, 0]
        powers = np.exp(logits - logits.max())
        told = {"kind": "softmax", "logits": short(logits), "powers": short(powers), "shift": float(logits.max())}
        return told | {"sum": float(powers.sum()), "made": float(powers[channel] / powers.sum())}
    if layer.op == "FLATTEN":
        source = np.unravel_index(channel, x.shape)
        return {"kind": "flatten", "source": [int(n) for n in source], "made": float(x[source])}
    if len(node.inputs) > 1:
        inputs = [trace.outputs[i] for i in node.inputs]
        values = [
            float(one[_like((0, channel, *place), one)]) if _like((0, channel, *place), one) else None for one in inputs
        ]
        names = [trace.network.nodes[i].name for i in node.inputs]
        return {"kind": "join", "inputs": values, "names": names}
    same = x.shape == trace.outputs[k].shape[1:]
    kind = "each" if layer.op in FORMULAS else "other"
    return {"kind": kind, "inputs": [float(x[(channel, *place)])] if same else []}


def _weighed(trace: Trace, k: int, channel: int, place: Place, first: int) -> dict[str, Any]:
    """A convolution's or FC's value: windows times weights, their sums, and the bias."""
    node = trace.network.nodes[k]
    layer, x = node.layer, trace.outputs[node.inputs[0]][0]
    params = trace.params[k]
    (shape,) = trace.network.input_shapes(node)
    window = layer.window(shape) or Window.over(shape)
    weight, begin = _kernel(layer, params, channel, x.shape)
    connected = layer.table[channel] if isinstance(layer, Conv) and layer.table else range(begin, begin + len(weight))
    total, parts = 0.0, []
    for number, c in enumerate(connected):
        kernel = _square(weight[c - begin])
        part = _part(x, c, window, place)
        products = np.array(part["values"]) * kernel
        total += float(products.sum())
        if first <= number < first + MOST_PARTS:
            parts.append(part | {"weights": short(kernel), "products": short(products), "sum": float(products.sum())})
    bias = float(params["bias"].reshape(-1)[channel]) if "bias" in params else 0.0
    told: dict[str, Any] = {"kind": "sum", "parts": parts, "channels": len(connected), "first": first, "sum": total}
    return told | {"bias": bias, "made": total + bias, "geometry": geometry(window)}


def _kernel(layer: Any, params: dict[str, Array], channel: int, size: Sequence[int]) -> tuple[Array, int]:
    """The weights (C/G, *F) of one output, and the first input channel that they are for."""
    weight = params["weight"]
    if not isinstance(layer, Conv):
        return weight[channel].reshape(size), 0
    dense = layer.dense(weight, size[0])
    group = channel // (layer.out_channels // layer.groups)
    return dense[channel], group * (size[0] // layer.groups)


def geometry(window: Window) -> dict[str, list[int]]:
    """Kernel, stride, padding and dilation of a window."""
    return {part: list(getattr(window, part)) for part in ("kernel", "stride", "padding", "dilation")}


def _part(x: Array, channel: int, window: Window, place: Place) -> dict[str, Any]:
    """What the window at a place sees of one channel: rows, columns, which are inside, and values (0 outside)."""
    axes = [
        [s * at + d * u - p for u in range(f)]
        for at, f, s, p, d in zip(place, window.kernel, window.stride, window.padding, window.dilation, strict=True)
    ]
    map_ = x[channel]
    if len(axes) == 1:
        axes, map_ = [[0], axes[0]], map_[None]
    rows, columns = axes
    inside = [[0 <= r < map_.shape[0] and 0 <= s < map_.shape[1] for s in columns] for r in rows]
    values = np.zeros((len(rows), len(columns)))
    for (u, r), (v, s) in product(enumerate(rows), enumerate(columns)):
        if inside[u][v]:
            values[u, v] = map_[r, s]
    return {"channel": channel, "rows": rows, "columns": columns, "inside": inside, "values": short(values)}


def _square(kernel: Array) -> Array:
    return kernel[None] if kernel.ndim == 1 else kernel


def _at(map_: Array, rows: list[int], columns: list[int]) -> list[list[float | None]]:
    """The values of a map at rows and columns; None outside."""
    square = _square(map_)
    height, width = square.shape
    return [[float(square[r, s]) if 0 <= r < height and 0 <= s < width else None for s in columns] for r in rows]


def _total(trace: Trace, grads: dict[str, Array], k: int, channel: int, part: dict[str, Any]) -> Any:
    """The gradient of the loss for the weights of one output and input channel."""
    node = trace.network.nodes[k]
    grad = grads[f"{node.name}.weight"]
    size = trace.outputs[node.inputs[0]].shape[1:]
    weight, begin = _kernel(node.layer, {"weight": grad}, channel, size)
    return short(_square(weight[part["channel"] - begin]))


def _like(at: tuple[int, ...], x: Array) -> tuple[int, ...]:
    """The same place in another volume; empty where that has no such place."""
    return at if x.ndim == len(at) and all(i < n for i, n in zip(at, x.shape, strict=True)) else ()
