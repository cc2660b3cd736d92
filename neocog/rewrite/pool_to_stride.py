r"""pool-to-stride: a network without pooling, as All-CNN.

    --by conv      POOL F, S on C maps becomes CONV F-C(S) that starts as the mean of each map's window; behind
                   AVGPOOL that is the same function, behind POOL it is not
    --by stride    the CONV before a pooling takes over its stride, and the pooling goes; never the same function

The result is a start for training, not an equal network, so the difference of outputs is measured and reported.

Source: Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for simplicity: the all convolutional net", ICLR 2015
workshop, section 2: the models All-CNN-C (by conv) and Strided-CNN-C (by stride).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import RewriteError
from ..layer import Layer, Shape, per_axis
from ..layers import Conv
from ..layers._pooling import Pooling
from ..layers.avgpool import AvgPool
from ..layers.l2pool import L2Pool
from ..layers.pool import MaxPool
from ..layers.stopool import StochasticPool
from ..network import Network
from ..spelling import Dims, uniform
from .alike import EACH_VALUE
from .parts import Part, Rewritten, Weights, own_arrays, position_of, readers_of, substituted

POOLINGS: tuple[type[Layer], ...] = (MaxPool, AvgPool, L2Pool, StochasticPool)
WAYS = ("conv", "stride")
PASSED = EACH_VALUE | {"BN", "PRELU"}
"""What may stand between a CONV and the pooling whose stride it takes over."""


def way(text: str) -> str:
    """`conv` or `stride`. Raises ValueError."""
    if text not in WAYS:
        raise ValueError(f"one of {', '.join(WAYS)}")
    return text


def pool_to_stride(network: Network, weights: Weights, layer: str | None = None, by: str = "conv") -> Rewritten:
    """The network with its poolings, or the one named, replaced. Raises RewriteError where that cannot be."""
    poolings = (
        [k for k, node in enumerate(network.nodes) if isinstance(node.layer, POOLINGS)]
        if layer is None
        else [position_of(network, layer, *POOLINGS)]
    )
    if not poolings:
        raise RewriteError("there is no pooling to replace")
    nodes = network.nodes
    instead: dict[str, Sequence[Part]] = {}
    layers: list[Any] = [node.layer for node in nodes]
    for k in poolings:
        (volume,) = network.input_shapes(nodes[k])
        if by == "conv":
            instead[nodes[k].name] = (_averaging(layers[k], volume),)
        else:
            host = _convolution_before(network, k)
            layers[host] = _strided(layers[host], layers[k].window(volume).stride)
            own = own_arrays(weights, nodes[host].name)
            instead |= {nodes[k].name: (), nodes[host].name: (Part(layers[host], own),)}
    return substituted(network, weights, instead)


def _averaging(pooling: Pooling, volume: Shape) -> Part:
    """A CONV over the pooling's windows whose filter k is the mean of map k."""
    weight = np.zeros((volume.channels, volume.channels, *pooling.window(volume).kernel), np.float32)
    weight[np.arange(volume.channels), np.arange(volume.channels)] = 1 / pooling.taps(volume)
    conv = Conv(
        pooling.kernel_size,
        volume.channels,
        pooling.stride,
        pooling.padding,
        pooling.apart,
        bias=True,
        fit=pooling.fit,
    )
    return Part(conv, {"weight": weight, "bias": np.zeros(volume.channels, np.float32)})


def _convolution_before(network: Network, k: int) -> int:
    """The CONV whose maps a pooling reads, behind layers that a stride passes through."""
    readers = readers_of(network)
    node = network.nodes[k]
    while True:
        (before,) = node.inputs
        node = network.nodes[before]
        if len(readers[before]) > 1 or not (isinstance(node.layer, Conv) or node.layer.op in PASSED):
            raise RewriteError(
                "no CONV that this pooling alone reads could take over its stride",
                where=f"{network.nodes[k].name}, {network.nodes[k].layer}",
                received=f"{node.name}, {node.layer}",
                hint="--by conv",
            )
        if isinstance(node.layer, Conv):
            return before


def _strided(conv: Conv, stride: Dims) -> Conv:
    """The CONV with a pooling's stride, one number for each axis, on top of its own."""
    own = per_axis(conv.stride, len(stride), conv)
    return replace(conv, stride=uniform(tuple(a * b for a, b in zip(own, stride, strict=True))), fit="floor")
