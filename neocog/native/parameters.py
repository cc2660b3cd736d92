"""Arrays of weights as rows of a program's memory: one for each input and tap, in it a number for each output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layer import Layer, Shape
from ..layers import Conv
from ..network import Network
from .program import Region

Floats = NDArray[np.float32]


def write(network: Network, regions: Iterable[Region], memory: Floats, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put arrays, by `<node>.<parameter>`, where regions lie in a memory."""
    for region in regions:
        region.rows_in(memory)[:, : region.count] = as_rows(
            network, region, np.asarray(arrays[region.name], np.float32)
        )


def read(network: Network, regions: Iterable[Region], memory: Floats) -> dict[str, Floats]:
    """Copies of the arrays that regions hold in a memory, by name."""
    found: dict[str, list[Floats]] = {}
    for region in regions:
        rows = region.rows_in(memory)[:, : region.count]
        found.setdefault(region.name, []).append(from_rows(network, region, rows))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def as_rows(network: Network, region: Region, array: NDArray[Any]) -> Floats:
    """The part of a layer's array that a region holds: (rows, count)."""
    layer, inputs = _owner(network, region)
    if array.ndim == 1:
        return array[None]
    if isinstance(layer, Conv):
        array = layer.dense(np.asarray(array, np.float64), inputs.channels).astype(np.float32)
    part = array[region.group * region.count : (region.group + 1) * region.count]
    return part.reshape(region.count, -1).T


def from_rows(network: Network, region: Region, rows: Floats) -> Floats:
    """The part of a layer's array that rows (rows, count) of a region are."""
    layer, inputs = _owner(network, region)
    shape = layer.parameters(inputs)[region.name.partition(".")[2]].shape
    if len(shape) == 1:
        alone: Floats = rows[0].copy()
        return alone
    if not isinstance(layer, Conv):
        return rows.T.reshape(region.count, *shape[1:]).copy()
    kernel = layer.window(inputs).kernel
    dense: Floats = rows.T.reshape(region.count, -1, *kernel)
    if layer.flip:
        dense = np.flip(dense, axis=tuple(range(2, dense.ndim)))
    return dense[layer.table_index()] if layer.table is not None else dense.copy()


def _owner(network: Network, region: Region) -> tuple[Layer, Shape]:
    """The layer whose parameters a region holds, and what it reads."""
    node = network.node(region.name.partition(".")[0])
    return node.layer, network.input_shapes(node)[0]
