"""The oracle: a network run forwards and backwards in NumPy float64, one layer's own formulas after another.

It is written to be checked by eye, not to be fast. It shares no arithmetic with the torch and native engines,
which is why their agreement with it is evidence (`neocog check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layer import Array
from .network import Network, Node

Weights = Mapping[str, NDArray[Any]]
"""Every array of a network by `<node>.<parameter>`, as in the torch module's `state_dict`."""


@dataclass(frozen=True)
class Trace:
    """One forward pass: each node's output (N, C, *size), and what the backward pass needs."""

    network: Network
    outputs: tuple[Array, ...]
    caches: tuple[Any, ...]
    params: tuple[dict[str, Array], ...]

    @property
    def output(self) -> Array:
        """The network's output as scores (N, K) where it is a vector, else as a volume (N, K, *size)."""
        return as_scores(self.outputs[-1])

    @property
    def side_outputs(self) -> dict[str, Array]:
        """The scores (N, K) of each side branch (AUX), by node name."""
        named = zip(self.network.nodes, self.outputs, strict=True)
        return {node.name: as_scores(y) for node, y in named if node.name in self.network.side_outputs}


def as_scores(y: Array) -> Array:
    """(N, K, 1, 1) -> (N, K): the one rule by which a network's last volume becomes scores."""
    return y.reshape(len(y), -1) if all(n == 1 for n in y.shape[2:]) else y


def node_params(node: Node, weights: Weights) -> dict[str, Array]:
    """The arrays of one node, in float64, under the names its layer uses."""
    prefix = f"{node.name}."
    return {k[len(prefix) :]: np.asarray(w, np.float64) for k, w in weights.items() if k.startswith(prefix)}


def forward(network: Network, weights: Weights, x: NDArray[Any], rng: np.random.Generator | None = None) -> Trace:
    """Run the network on x (N, C, *size). With a generator as `rng` it runs as in training."""
    params = tuple(node_params(node, weights) for node in network.nodes)
    outputs: list[Array] = []
    caches: list[Any] = []
    for node, own in zip(network.nodes, params, strict=True):
        inputs = [outputs[i] for i in node.inputs] or [np.asarray(x, np.float64)]
        y, cache = node.layer.forward(own, *inputs, rng=rng)
        outputs.append(y)
        caches.append(cache)
    return Trace(network, tuple(outputs), tuple(caches), params)


def backward(trace: Trace, dy: Array, dsides: Mapping[str, Array] | None = None) -> tuple[Array, dict[str, Array]]:
    """Gradients for the network's input and for every trainable array, from the gradient of its output.

    `dy` has the shape of `trace.output`, and `dsides` those of `trace.side_outputs`, zero where left out. A volume read
    by several nodes gets the sum of their gradients.
    """
    volumes, grads = gradients(trace, dy, dsides)
    return volumes[0], grads


def gradients(
    trace: Trace, dy: Array, dsides: Mapping[str, Array] | None = None
) -> tuple[list[Array], dict[str, Array]]:
    """As `backward`, with the gradient for every node's output volume, in the order of `trace.outputs`."""
    grads: dict[str, Array] = {}
    arriving = [np.zeros_like(y) for y in trace.outputs]
    arriving[-1] = dy.reshape(trace.outputs[-1].shape)
    for i, node in enumerate(trace.network.nodes):
        if dsides and node.name in dsides:
            arriving[i] = dsides[node.name].reshape(trace.outputs[i].shape)
    for i in reversed(range(len(arriving))):
        node = trace.network.nodes[i]
        dxs, own = node.layer.backward(trace.params[i], trace.caches[i], arriving[i])
        for source, dx in zip(node.inputs, dxs, strict=True) if node.inputs else ():
            arriving[source] += dx
        grads.update({f"{node.name}.{name}": grad for name, grad in own.items()})
    return arriving, grads


def updated(trace: Trace) -> dict[str, Array]:
    """The not-trainable arrays after a training pass: running statistics with their new values."""
    found = {}
    for node, own, cache in zip(trace.network.nodes, trace.params, trace.caches, strict=True):
        found.update({f"{node.name}.{name}": value for name, value in node.layer.updated(own, cache).items()})
    return found
