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
from ..spelling import Dims
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
    where = f"{node.name}, {node.layer}"
    own = {name: array.copy() for name, array in own_arrays(weights, node.name).items()}
    if "weight" not in own:
        raise RewriteError("this layer has no weights to set", where=where)
    if to is None and scale is None and bias is None:
        raise RewriteError("it is not said what to set", where=where, hint="--to gaussian, --scale 2 or --bias 1")
    which = _which(node, filter)
    made: Any = node.layer
    if to is not None:
        own["weight"][which] = _kernel(network, k, to)[which]
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
        if scale is not None:
            own["weight"][which] *= scale
        if bias is not None:
            if "bias" not in own:
                if not hasattr(made, "bias"):
                    raise RewriteError("this layer has no bias", where=where)
                own["bias"], made = np.zeros(_biases(network, k), np.float32), replace(made, bias=True)
            own["bias"][which] += bias
    if not all(np.isfinite(array).all() for array in own.values()):
        raise RewriteError("the layer would hold values that are not finite", where=where)
    return substituted(network, weights, {node.name: (Part(made, own),)})


def _which(node: Node, filter: int | None) -> int | slice:
    """The part of the weight, and of the bias, that is meant. Raises RewriteError for a filter that there is not."""
    if filter is None:
        return slice(None)
    layer: Any = node.layer
    where, outputs = f"{node.name}, {layer}", getattr(layer, "out_channels", 0)
    if not outputs or isinstance(layer, Deconv) or getattr(layer, "table", None) is not None:
        raise RewriteError("this layer's weights are not stored filter by filter", where=where, hint="without --filter")
    if not 0 <= filter < outputs:
        raise RewriteError("there is no such filter", where=where, received=str(filter), hint=f"0 to {outputs - 1}")
    return filter


def _biases(network: Network, k: int) -> tuple[int, ...]:
    shape = network.shapes[k]
    return (shape.channels, *shape.spatial) if network.nodes[k].layer.op == "LOCAL" else (shape.channels,)


def _kernel(network: Network, k: int, name: str) -> NDArray[np.float64]:
    """The values for all of a layer's `weight`, each filter's kernel divided by the number of maps that it reads."""
    node = network.nodes[k]
    layer: Any = node.layer
    (volume,) = network.input_shapes(node)
    shape = layer.parameters(volume)["weight"].shape
    where = f"{node.name}, {layer}"
    if name == BILINEAR:
        if not isinstance(layer, Deconv):
            raise RewriteError("bilinear interpolation is a DECONV's", where=where)
        return _bilinear(shape, node)
    if not isinstance(layer, Conv):
        raise RewriteError("a filter for images goes into a CONV", where=where)
    size = layer.window(volume).kernel
    if len(size) != 2 or min(size) < 3:
        raise RewriteError("a filter for images needs a kernel of 3x3 or more", where=where)
    kernel = _gaussian(size) if name == "gaussian" else _in_the_middle(FILTERS[name], size)
    maps = np.full(shape[:1], volume.channels // layer.groups)
    if layer.table is not None:  # its kernels stand one after another, for each pair of maps
        maps = np.array([len(row) for row in layer.table for _ in row])
    return np.broadcast_to(kernel, shape) / maps.reshape(-1, *(1,) * (len(shape) - 1))


def _gaussian(size: Dims) -> NDArray[np.float64]:
    """Of that size, with the sum 1."""
    kernel = _outer([np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) * SPREAD / n) ** 2) for n in size])
    return np.asarray(kernel / kernel.sum())


def _in_the_middle(small: NDArray[np.float64], size: Dims) -> NDArray[np.float64]:
    """A kernel of 3x3 in one of that size, with zeros around it."""
    kernel = np.zeros(size)
    kernel[tuple(slice((n - 3) // 2, (n - 3) // 2 + 3) for n in size)] = small
    return kernel


def _outer(axes: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    product = axes[0]
    for axis in axes[1:]:
        product = np.multiply.outer(product, axis)
    return product


def _bilinear(shape: tuple[int, ...], node: Node) -> NDArray[np.float64]:
    """Of (C, K, *F): map c goes to map c, by a tent of F positions; Caffe's filler."""
    if shape[0] != shape[1]:
        raise RewriteError("interpolation needs as many maps out as in", where=f"{node.name}, {node.layer}")
    tents = []
    for n in shape[2:]:
        half = (n + 1) // 2
        centre = half - 1 if n % 2 else half - 0.5
        tents.append(1 - np.abs(np.arange(n) - centre) / half)
    found = np.zeros(shape)
    found[np.arange(shape[0]), np.arange(shape[0])] = _outer(tents)
    return found


def means(network: Network, weights: Weights, **settings: Any) -> Iterator[str]:
    """The mean and deviation of the layer's weights before and after."""
    k = position_of(network, settings["layer"])
    made = set_weights(network, weights, **settings)
    name = network.nodes[k].name
    for parameter, after in own_arrays(made.weights, name).items():
        before = weights.get(f"{name}.{parameter}", np.zeros(1, np.float32))
        a, b = (array.astype(np.float64) for array in (before, after))  # squares of large float32 overflow
        mean, deviation = f"{a.mean():.4g} -> {b.mean():.4g}", f"{a.std():.4g} -> {b.std():.4g}"
        yield f"{name}.{parameter}: mean {mean}, deviation {deviation}"
