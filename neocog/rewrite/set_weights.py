r"""set-weights: put numbers of your own into a layer, as in net surgery by hand.

    --filter 0 --to gaussian     filter 0's kernel on every input map (divided by their number) is a Gaussian of the
                                 layer's own size; `sobel-x`, `sobel-y`, `edge`, `sharpen`, `mean` are 3x3, in the
                                 middle of a larger kernel
    --to bilinear                a DECONV that enlarges each map by S, interpolating linearly
    --scale 2                    the weights, or the filter's, times a number
    --bias 1                     added to the biases, or to the filter's

They are done in this order. What the network computes changes; the mean of the layer's output before and after is
reported beside the difference of the scores.

Sources: Caffe's notebook "Net surgery" (the filters and the bias); Long, Shelhamer and Darrell, CVPR 2015, section 3.3
(bilinear).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError
from ..layers import Conv
from ..layers.deconv import Deconv
from ..network import Network, Node
from ..signal import FILTERS
from .parts import Part, Rewritten, Weights, own_arrays, position_of, substituted

BILINEAR = "bilinear"
SPREAD = 4
"""A Gaussian's standard deviation is the kernel's size over this."""


def kernel_name(text: str) -> str:
    """A name that `--to` knows. Raises ValueError."""
    if text not in (*FILTERS, BILINEAR):
        raise ValueError(f"one of {', '.join((*FILTERS, BILINEAR))}")
    return text


def number_of(text: str) -> int:
    """A whole number from 0. Raises ValueError."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("a whole number from 0")
    return int(text)


def set_weights(
    network: Network,
    weights: Weights,
    layer: str = "",
    filter: int | None = None,
    to: str | None = None,
    scale: float | None = None,
    bias: float | None = None,
) -> Rewritten:
    """The network with those numbers in the layer named. Raises RewriteError where it has none such."""
    k = position_of(network, layer)
    node = network.nodes[k]
    own = {name: array.copy() for name, array in own_arrays(weights, node.name).items()}
    if "weight" not in own or (to is None and scale is None and bias is None):
        raise RewriteError(
            "a layer with weights, and --to, --scale or --bias are needed", where=f"{node.name}, {node.layer}"
        )
    which = _which(node, own, filter)
    made: Any = node.layer
    if to is not None:
        own["weight"][which] = _kernel(node, own["weight"][which], to)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
        if scale is not None:
            own["weight"][which] *= scale
        if bias is not None:
            if "bias" not in own:
                if not hasattr(made, "bias"):
                    raise RewriteError("this layer has no bias", where=f"{node.name}, {node.layer}")
                own["bias"], made = np.zeros(_biases(network, k), np.float32), replace(made, bias=True)
            own["bias"][which] += bias
    if not all(np.isfinite(array).all() for array in own.values()):
        raise RewriteError("the layer would hold values that are not finite", where=f"{node.name}, {node.layer}")
    return substituted(network, weights, {node.name: (Part(made, own),)})


def _which(node: Node, own: Weights, filter: int | None) -> Any:
    """The part of the weight that is meant."""
    if filter is None:
        return slice(None)
    outputs = getattr(node.layer, "out_channels", 0)
    tables = getattr(node.layer, "table", None) is not None
    if isinstance(node.layer, Deconv) or tables or not 0 <= filter < outputs:
        raise RewriteError(
            "there is no such filter", where=f"{node.name}, {node.layer}", received=f"filter {filter}",
            hint=f"0 to {outputs - 1}" if outputs and not tables else "without --filter",
        )  # fmt: skip
    return filter


def _biases(network: Network, k: int) -> tuple[int, ...]:
    shape = network.shapes[k]
    return (shape.channels, *shape.spatial) if network.nodes[k].layer.op == "LOCAL" else (shape.channels,)


def _kernel(node: Node, weight: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The values for all of `weight`, whose last axes are the kernel's."""
    layer: Any = node.layer
    if name == BILINEAR:
        if not isinstance(layer, Deconv):
            raise RewriteError("bilinear interpolation is a DECONV's", where=f"{node.name}, {layer}")
        return _bilinear(weight, node)
    if not isinstance(layer, Conv):
        raise RewriteError("a filter for images goes into a CONV", where=f"{node.name}, {layer}")
    rank = len(layer.kernel_size) if len(layer.kernel_size) > 1 else 2
    size = weight.shape[-rank:]
    if weight.ndim < rank + 1 or min(size) < 3:
        raise RewriteError("a filter for images needs a kernel of 3x3 or more", where=f"{node.name}, {layer}")
    if name == "gaussian":
        kernel = _outer([np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) * SPREAD / n) ** 2) for n in size])
        kernel = kernel / kernel.sum()
    else:
        kernel = np.zeros(size)
        kernel[tuple(slice((n - 3) // 2, (n - 3) // 2 + 3) for n in size)] = FILTERS[name]
    maps = weight.shape[-rank - 1]
    return np.broadcast_to(kernel / maps, weight.shape).astype(np.float32)


def _outer(axes: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    product = axes[0]
    for axis in axes[1:]:
        product = np.multiply.outer(product, axis)
    return product


def _bilinear(weight: NDArray[np.float32], node: Node) -> NDArray[np.float32]:
    """Of (C, K, *F): map c goes to map c, by a tent of F positions; Caffe's filler."""
    if weight.shape[0] != weight.shape[1]:
        raise RewriteError("interpolation needs as many maps out as in", where=f"{node.name}, {node.layer}")
    tents = []
    for n in weight.shape[2:]:
        half = (n + 1) // 2
        centre = half - 1 if n % 2 else half - 0.5
        tents.append(1 - np.abs(np.arange(n) - centre) / half)
    found = np.zeros_like(weight)
    found[np.arange(len(weight)), np.arange(len(weight))] = _outer(tents)
    return found


def means(network: Network, weights: Weights, **settings: Any) -> Iterator[str]:
    """The mean and deviation of the layer's weights before and after."""
    k = position_of(network, settings["layer"])
    made = set_weights(network, weights, **settings)
    name = network.nodes[k].name
    for parameter, after in own_arrays(made.weights, name).items():
        before = weights.get(f"{name}.{parameter}", np.zeros(1, np.float32))
        mean, deviation = (
            f"{a:.4g} -> {b:.4g}" for a, b in ((before.mean(), after.mean()), (before.std(), after.std()))
        )
        yield f"{name}.{parameter}: mean {mean}, deviation {deviation}"
