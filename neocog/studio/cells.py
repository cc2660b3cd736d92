"""One output value of a layer taken apart: the window it sees, the numbers that make it, and where its gradient goes.

The window is laid out from the layer's own hyper-parameters, value by value; its products, sum and bias must give what
the reference has at that place, and `difference` says how far they do not. Backwards, a weight gets the gradient times
its value and a value the gradient times its weight; of layers without weights, `backward` is run on a gradient that is
zero but at this place. Beside what flows from here stands what arrives in all, which is the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layer import Array, Window
from ..layers import Conv
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
WEIGHED = ("CONV", "FC")

Gradients = tuple[list[Array], dict[str, Array]]
Place = tuple[int, ...]


class Seen(NamedTuple):
    """Where a window lies on a map: rows, columns, and which of them (rows, columns) are on it and not on padding."""

    rows: list[int]
    columns: list[int]
    inside: NDArray[np.bool_]

    @classmethod
    def at(cls, place: Place, window: Window, size: Sequence[int]) -> Seen:
        """What the window at a place of the output sees of maps of a size (H, W), or (L,): then in one row."""
        axes = [
            [s * at + d * u - p for u in range(f)]
            for at, f, s, p, d in zip(place, window.kernel, window.stride, window.padding, window.dilation, strict=True)
        ]
        rows, columns = axes if len(axes) == 2 else ([0], axes[0])
        height, width = size if len(size) == 2 else (1, size[0])
        here = [[0 <= r < height and 0 <= c < width for c in columns] for r in rows]
        return cls(rows, columns, np.array(here))

    def of(self, maps: Array) -> Array:
        """What is seen of maps (n, H, W) or (n, L): (n, rows, columns), 0 on padding."""
        square = maps[:, None, :] if maps.ndim == 2 else maps
        rows, columns = np.clip(self.rows, 0, square.shape[1] - 1), np.clip(self.columns, 0, square.shape[2] - 1)
        seen: Array = np.where(self.inside, square[:, rows[:, None], columns], 0.0)
        return seen

    def told(self, values: Array) -> list[list[float | None]]:
        """Values (rows, columns) as lists; None on padding."""
        pairs = zip(values.tolist(), self.inside.tolist(), strict=True)
        return [[v if here else None for v, here in zip(*pair, strict=True)] for pair in pairs]

    def part(self, channel: int, values: Array) -> dict[str, Any]:
        """What is seen of one channel, for the page."""
        told = {"channel": channel, "rows": self.rows, "columns": self.columns, "inside": self.inside.tolist()}
        return told | {"values": short(values)}


def cell(trace: Trace, gradients: Gradients, k: int, channel: int, place: Place, first: int) -> dict[str, Any]:
    """The value of node `k` at a channel and a place, as plain values for the page.

    Of a sum's input channels, those from number `first` on are laid out.
    """
    node, at = trace.network.nodes[k], (0, channel, *place)
    y, dy = float(trace.outputs[k][at]), float(gradients[0][k][at])
    told: dict[str, Any] = {"layer": node.name, "token": node.layer.token, "channel": channel, "place": list(place)}
    told |= {"output": y, "gradient": dy, "formula": FORMULAS.get(node.layer.op, ""), "kind": "input"}
    if node.layer.op in WEIGHED:
        told |= _weighed(trace, gradients, k, at, first)
    elif node.layer.op in POOLS:
        told |= _pooled(trace, gradients, k, at)
    elif node.inputs:
        told |= _computed(trace, k, at)
        told["back"] = _sent_back(trace, gradients, k, at, told["kind"])
    return told | {"difference": abs(told["made"] - y) if "made" in told else None}


def _weighed(trace: Trace, gradients: Gradients, k: int, at: Place, first: int) -> dict[str, Any]:
    """A convolution's or FC's value: windows times weights, their sums, and the bias; and its gradient to each."""
    node, params, (volumes, grads) = trace.network.nodes[k], trace.params[k], gradients
    source, channel, dy = node.inputs[0], at[1], float(volumes[k][at])
    x = trace.outputs[source][0]
    window, seen = _seen(trace, k, at)
    connected, kernels = _kernels(node.layer, params["weight"], channel, x.shape)
    values = seen.of(x[connected])
    products = values * kernels
    sums = products.sum(axis=(1, 2))
    shown = slice(first, first + MOST_PARTS)
    dx_total = seen.of(volumes[source][0][connected[shown]])
    dw_total = _kernels(node.layer, grads[f"{node.name}.weight"], channel, x.shape)[1][shown]
    parts = [
        seen.part(c, values[n])
        | {"weights": short(kernels[n]), "products": short(products[n]), "sum": float(sums[n])}
        | {"dx": seen.told(dy * kernels[n]), "dx_total": seen.told(dx_total[n - first])}
        | {"dw": short(dy * values[n]), "dw_total": short(dw_total[n - first])}
        for n, c in list(enumerate(connected))[shown]
    ]
    total, bias, back = float(sums.sum()), 0.0, {}
    if "bias" in params:
        bias = float(params["bias"].reshape(-1)[channel])
        back = {"bias": dy, "bias_total": float(grads[f"{node.name}.bias"].reshape(-1)[channel])}
    told: dict[str, Any] = {"kind": "sum", "parts": parts, "channels": len(connected), "first": first, "back": back}
    return told | {"sum": total, "bias": bias, "made": total + bias, "geometry": geometry(window)}


def _pooled(trace: Trace, gradients: Gradients, k: int, at: Place) -> dict[str, Any]:
    """A pooling's value, and its gradient to what the window sees."""
    node, channel = trace.network.nodes[k], at[1]
    source = node.inputs[0]
    _, seen = _seen(trace, k, at)
    flow, _ = _alone(trace, gradients, k, at)
    maps = [volume[0, channel] for volume in (trace.outputs[source], flow[0], gradients[0][source])]
    values, dx, dx_total = seen.of(np.stack(maps))
    inside = values[seen.inside]
    made = {"POOL": inside.max, "AVGPOOL": inside.mean, "GAP": inside.mean}.get(node.layer.op)
    part = seen.part(channel, values) | {"dx": seen.told(dx), "dx_total": seen.told(dx_total)}
    told: dict[str, Any] = {"kind": "pool", "pool": POOLS[node.layer.op], "parts": [part], "back": {}}
    return told | ({"made": float(made())} if made else {})


def _computed(trace: Trace, k: int, at: Place) -> dict[str, Any]:
    """The value of a layer that looks through no window."""
    node, channel = trace.network.nodes[k], at[1]
    x = trace.outputs[node.inputs[0]][0]
    if node.layer.op == "SOFTMAX":
        logits = x.reshape(len(x), -1)[:, 0]
        powers = np.exp(logits - logits.max())
        told = {"kind": "softmax", "logits": short(logits), "powers": short(powers), "shift": float(logits.max())}
        return told | {"sum": float(powers.sum()), "made": float(powers[channel] / powers.sum())}
    if node.layer.op == "FLATTEN":
        source = np.unravel_index(channel, x.shape)
        return {"kind": "flatten", "source": [int(n) for n in source], "made": float(x[source])}
    if len(node.inputs) > 1:
        values = [_value(trace.outputs[i], at) for i in node.inputs]
        return {"kind": "join", "inputs": values, "names": [trace.network.nodes[i].name for i in node.inputs]}
    same = x.shape == trace.outputs[k].shape[1:]
    kind = "each" if node.layer.op in FORMULAS else "other"
    return {"kind": kind, "inputs": [float(x[at[1:]])] if same else []}


def _sent_back(trace: Trace, gradients: Gradients, k: int, at: Place, kind: str) -> dict[str, Any]:
    """Where such a value's gradient goes."""
    node, channel = trace.network.nodes[k], at[1]
    flow, dparams = _alone(trace, gradients, k, at)
    back: dict[str, Any] = {}
    if "bias" in dparams and f"{node.name}.bias" in gradients[1]:
        back["bias"] = float(dparams["bias"].reshape(-1)[channel])
        back["bias_total"] = float(gradients[1][f"{node.name}.bias"].reshape(-1)[channel])
    if kind in ("each", "other", "join"):
        back["inputs"] = [_value(dx, at) for dx, _ in zip(flow, node.inputs, strict=True)]
    if kind == "softmax":
        back["inputs"] = short(flow[0].reshape(-1))
    return back


def _alone(trace: Trace, gradients: Gradients, k: int, at: Place) -> tuple[tuple[Array, ...], dict[str, Array]]:
    """Where a gradient goes that is zero but at one place, by the layer's own backward pass."""
    alone = np.zeros_like(trace.outputs[k])
    alone[at] = gradients[0][k][at]
    return trace.network.nodes[k].layer.backward(trace.params[k], trace.caches[k], alone)


def _seen(trace: Trace, k: int, at: Place) -> tuple[Window, Seen]:
    """A layer's window, and what it sees from a place."""
    (shape,) = trace.network.input_shapes(trace.network.nodes[k])
    window = trace.network.nodes[k].layer.window(shape) or Window.over(shape)
    return window, Seen.at(at[2:], window, shape.spatial)


def _kernels(layer: Any, weight: Array, channel: int, size: Sequence[int]) -> tuple[list[int], Array]:
    """The input channels that one output is connected to, and its kernel (rows, columns) for each of them.

    `size` is that of the input, (C, H, W) or (C, L).
    """
    if isinstance(layer, Conv):
        group = channel // (layer.out_channels // layer.groups)
        begin, own = group * (size[0] // layer.groups), layer.dense(weight, size[0])[channel]
        connected = list(layer.table[channel]) if layer.table else list(range(begin, begin + len(own)))
        own = own[[c - begin for c in connected]]
    else:
        connected, own = list(range(size[0])), weight[channel].reshape(size)
    return connected, own[:, None, :] if own.ndim == 2 else own


def geometry(window: Window) -> dict[str, list[int]]:
    """Kernel, stride, padding and dilation of a window."""
    return {part: list(getattr(window, part)) for part in ("kernel", "stride", "padding", "dilation")}


def _value(volume: Array, at: Place) -> float | None:
    """The value of a volume at a place of another one; None where it has no such place."""
    there = volume.ndim == len(at) and all(i < n for i, n in zip(at, volume.shape, strict=True))
    return float(volume[at]) if there else None
