"""Arrays of weights as rows of a program's memory: one for each input and tap, in it a number for each output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layer import Layer, Shape
from ..layers import Conv
from ..network import Network
from .program import Region


def owner(network: Network, region: Region) -> tuple[Layer, Shape]:
    """The layer whose parameters a region holds, and what it reads."""
    node = network.node(region.name.partition(".")[0])
    return node.layer, network.input_shapes(node)[0]


def as_rows(network: Network, region: Region, array: NDArray[Any]) -> NDArray[np.float32]:
    """The part of a layer's array that a region holds: (rows, count)."""
    layer, inputs = owner(network, region)
    if array.ndim == 1:
        return array[None]
    if isinstance(layer, Conv):
        array = layer.dense(np.asarray(array, np.float64), inputs.channels).astype(np.float32)
    part = array[region.group * region.count : (region.group + 1) * region.count]
    return part.reshape(region.count, -1).T
