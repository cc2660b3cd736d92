"""A torch module read into the notation: its network, and its weights under the network's names.

>>> from torch import nn
>>> from neocog.interop import from_torch
>>> module = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1176, 10))
>>> network, weights = from_torch(module, "28x28x1")
>>> print(network)
INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> FC10
>>> list(weights)
['conv1.weight', 'conv1.bias', 'fc1.weight', 'fc1.bias']
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import NeocogError
from ..layer import Shape
from ..network import Network
from ..notation import parse
from .operations import Recognised
from .recognise import recognise
from .torch_graph import Operation, Stored, record
from .wiring import Graph, Vertex, as_chain


class Imported(NamedTuple):
    """A network, and its arrays in float32 by `<node>.<parameter>`, as `Model` and `torch_engine.build` take them."""

    network: Network
    weights: dict[str, NDArray[np.float32]]


def from_torch(module: nn.Module, shape: Shape | str) -> Imported:
    """The network that a module is for images of a shape, with copies of its weights.

    `shape` is one image's, as in INPUT: `"224x224x3"`, height x width x channels, or `"100x8"` for sequences. The
    network gives what the module gives in evaluation mode; (N, K, 1, 1) counts as (N, K). The module is left as it was.
    Raises what `network_of` raises, and NeocogError for weights that have no values.
    """
    network, stored = _read(module, shape)
    return Imported(network, {name: _values(tensor) for name, tensor in stored.items()})


def network_of(module: nn.Module, shape: Shape | str) -> Network:
    """The same without the weights, which need not even exist: a module on the `meta` device has none.

    Raises NeocogError naming the place in the module: for an operation that is no layer, a forward pass that depends on
    values, weights used twice, branches that cross, and an input that the module does not take.
    """
    return _read(module, shape)[0]


def _read(module: nn.Module, shape: Shape | str) -> tuple[Network, dict[str, Stored]]:
    wanted = shape if isinstance(shape, Shape) else _shape(shape)
    graph = _layers(recognise(record(module, wanted)))
    _check_used_once(graph)
    chain, behind = as_chain(graph)
    network = Network(chain)
    stored = {
        f"{node.name}.{name}": array
        for node, vertex in zip(network.nodes, behind, strict=True)
        if vertex is not None
        for name, array in vertex.arrays.items()
    }
    return network, stored


def _shape(text: str) -> Shape:
    if not isinstance(text, str):
        raise NeocogError(
            "the size of an image is a text, as in INPUT",
            received=repr(text),
            hint='"224x224x3", height x width x channels',
        )
    return parse(f"INPUT[{text}]").input_shape


def _layers(found: dict[Operation, Recognised]) -> Graph:
    """The layers alone, numbered in the order of their operations; what passes its input on unchanged is no layer."""

    def origin(op: Operation) -> int:
        while found[op].layer is None:
            (op,) = found[op].inputs
        return op.position

    return {
        op.position: Vertex(known.layer, tuple(origin(x) for x in known.inputs), op.where, known.arrays)
        for op, known in sorted(found.items(), key=lambda item: item[0].position)
        if known.layer is not None
    }


def _check_used_once(graph: Graph) -> None:
    """Weights that two layers share would be counted, and trained, twice."""
    users: dict[str, str] = {}
    for vertex in graph.values():
        for array in vertex.arrays.values():
            if array.name in users:
                raise NeocogError(
                    f"{array.name} is used a second time, and in the notation every layer has weights of its own",
                    where=vertex.where,
                    received=f"first at {users[array.name]}",
                    hint="a module for each place",
                )
            users[array.name] = vertex.where


def _values(stored: Stored) -> NDArray[np.float32]:
    if stored.tensor.is_meta:
        raise NeocogError("a module on the meta device has no weights", received=stored.name, hint="Network.from_torch")
    array: NDArray[np.float32] = stored.tensor.detach().to("cpu", torch.float32, copy=True).numpy()
    return array
