"""Recorded operations -> a network and its arrays: recognised one by one, then written as a chain with branches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import NeocogError
from ..network import Network
from .operations import Recognised
from .recognise import recognise
from .torch_graph import Operation, Stored
from .wiring import Graph, Vertex, as_chain


class Imported(NamedTuple):
    """A network, and its arrays in float32 by `<node>.<parameter>`, as `Model` and `torch_engine.build` take them."""

    network: Network
    weights: dict[str, NDArray[np.float32]]


def as_network(output: Operation) -> tuple[Network, dict[str, Stored]]:
    """The network whose last layer gives an operation's result, and its arrays by `<node>.<parameter>`.

    Raises NeocogError for an operation that is no layer, weights used twice, and branches that cross.
    """
    graph = _layers(recognise(output))
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


def imported(output: Operation) -> Imported:
    """The same with copies of the arrays' values. Raises NeocogError for one that has none."""
    network, stored = as_network(output)
    return Imported(network, {name: _values(array) for name, array in stored.items()})


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
