"""A model that was written as ONNX, back as it was: its arrays in the order in which layers own them.

`onnx_layers.py` writes some arrays in another form: kernels dense and turned, LOCAL's position by position. Here each
goes the other way, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..initialise import initialise
from ..layer import Shape
from ..model import Model, weight_shapes
from ..network import Network, Node
from ..reference import Weights
from .onnx_file import read_onnx


class Restored(NamedTuple):
    """The model, and the names of arrays that are not in the file: those of branches that prediction leaves out."""

    model: Model
    fresh: tuple[str, ...]


def restored(path: Path) -> Restored:
    """The model that was exported into a file: all of it but AUX branches, whose arrays are what training starts from.

    Raises ModelFileError for a file that neocog did not write, or that was changed since.
    """
    export = read_onnx(path)
    network = export.model.network
    found = own_arrays(network, export.arrays)
    fresh = tuple(name for name in weight_shapes(network) if name not in found)
    drawn = initialise(network) if fresh else {}
    weights = found | {name: np.asarray(drawn[name], np.float32) for name in fresh}
    return Restored(replace(export.model, weights=weights), fresh)


def own_arrays(network: Network, arrays: Weights) -> dict[str, NDArray[np.float32]]:
    """The arrays of a network's layers, from those of its graph; without what is not in the graph."""
    found: dict[str, NDArray[np.float32]] = {}
    for node in network.nodes:
        shapes = network.input_shapes(node)
        for name, parameter in node.layer.parameters(*shapes).items():
            if (array := arrays.get(f"{node.name}.{name}")) is not None:
                own = _own(node, name, array, shapes[0]).reshape(parameter.shape)
                found[f"{node.name}.{name}"] = np.array(own, np.float32)
    return found


def _own(node: Node, name: str, array: NDArray[Any], x: Shape) -> NDArray[Any]:
    """An array of the graph as its layer has it, but for axes of size 1."""
    layer: Any = node.layer
    match layer.op, name:
        case "CONV", "weight":
            turned = np.flip(array, axis=tuple(range(2, array.ndim))) if layer.flip else array
            return turned if layer.table is None else turned[layer.table_index()]
        case "FILTER", "kernel":
            return array[:1]
        case "LOCAL", "weight":
            positions, taps, outputs = array.shape
            return array.reshape(positions, x.channels, taps // x.channels, outputs).transpose(3, 1, 0, 2)
    return array
