r"""conv-to-fc: the matrix that a convolution is, written out (fact C14).

Every layer that is linear in its input, up to a bias, is one matrix between the volume before and the volume after,
both read in the order channels, rows, columns: that of a CONV is mostly zero and repeats its weights along diagonals
(Toeplitz). From the named layer on, every CONV, DECONV, LOCAL, FILTER, SUBSAMPLE, UPSAMPLE, AVGPOOL and GAP becomes an
FC with that matrix, found by sending through the layer's own NumPy mathematics an image for each input value, with a
one there and zeros elsewhere. FC stays, FLATTEN and ID go, layers that treat every value alike stay, and the arrays
of BN and PRELU get one number for each value in place of one for each channel.

Max pooling and other layers that are no matrix are refused; without a name the rewrite begins behind the last of them.
For small networks: a matrix has H W C H' W' K values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError
from ..layer import Layer, Shape
from ..layers.fc import FullyConnected
from ..layers.flatten import Flatten
from ..network import Network, Node
from .alike import EACH_VALUE
from .parts import Part, Rewritten, Weights, own_arrays, position_of, substituted

LINEAR = {"CONV", "DECONV", "LOCAL", "FILTER", "SUBSAMPLE", "UPSAMPLE", "AVGPOOL", "GAP", "SHORTCUT"}
EACH_CHANNEL_ALIKE = {"BN", "PRELU"}
LARGEST = 2**26
"""Values of all matrices together: 256 MiB in float32."""


def conv_to_fc(network: Network, weights: Weights, layer: str | None = None) -> Rewritten:
    """The network with fully connected layers from `layer` on. Raises RewriteError naming a layer that is no matrix."""
    start = _start(network) if layer is None else position_of(network, layer)
    _check(network, start)
    instead: dict[str, Sequence[Part]] = {}
    for k, node in enumerate(network.nodes[start:], start):
        own = own_arrays(weights, node.name)
        volume = network.input_shapes(node)[0]
        unread = node.inputs[0] < start and volume.positions > 1
        flatten = (Part(Flatten()),) if unread else ()
        if node.layer.op in LINEAR:
            instead[node.name] = (_matrix(node.layer, own, volume, network.shapes[k]),)
        elif node.layer.op in ("FLATTEN", "ID"):
            instead[node.name] = flatten
        elif node.layer.op in EACH_CHANNEL_ALIKE:
            spread = {name: np.repeat(array, volume.positions) for name, array in own.items()}
            instead[node.name] = (*flatten, Part(node.layer, spread))
        elif unread and node.layer.op in EACH_VALUE:
            instead[node.name] = (*flatten, Part(node.layer, own))
    return substituted(network, weights, instead)


def _why_not(layer: Layer, shape: Shape) -> str:
    """Why a layer can be no matrix and stay no vector's; empty where it can."""
    if layer.op in LINEAR | EACH_VALUE | EACH_CHANNEL_ALIKE | {"FC", "FLATTEN", "ADD", "CONCAT", "AUX"}:
        return ""
    if layer.op in ("SOFTMAX", "RBF") and shape.positions == 1:
        return ""
    return f"{layer.op} is no matrix"


def _start(network: Network) -> int:
    """The first layer behind the last that is no matrix, and behind joins that would meet a volume from before it."""
    inputs = [network.input_shapes(node)[0] if node.inputs else network.input_shape for node in network.nodes]
    start = 1 + max(k for k, node in enumerate(network.nodes) if k == 0 or _why_not(node.layer, inputs[k]))
    for k, node in enumerate(network.nodes):
        if k >= start and _is_join(node) and min(node.inputs) < start:
            start = k + 1
    return start


def _is_join(node: Node) -> bool:
    return node.layer.joins or node.layer.op == "AUX"


def _check(network: Network, start: int) -> None:
    tail = network.nodes[start:]
    if not any(node.layer.op in LINEAR for node in tail):
        before = network.nodes[start - 1]
        raise RewriteError(
            "behind the last layer that is no matrix there is nothing to write out",
            where=f"{before.name}, {before.layer}",
            hint="a network with AVGPOOL in the place of POOL",
        )
    if network.shapes[-1].positions > 1:
        raise RewriteError("the network gives a map, and would give a vector", received=str(network.shapes[-1]))
    values = 0
    for k, node in enumerate(tail, start):
        shapes = network.input_shapes(node)
        where = f"{node.name}, {node.layer}"
        if why := _why_not(node.layer, shapes[0]) if shapes else "INPUT is no matrix":
            raise RewriteError(f"{why}, so only what is behind it can be written out", where=where)
        if _is_join(node) and min(node.inputs) < start:
            raise RewriteError("it joins volumes of which one comes from before", where=where)
        values += shapes[0].elements * network.shapes[k].elements if node.layer.op in LINEAR else 0
    if values > LARGEST:
        raise RewriteError(
            f"matrices of at most {LARGEST:,} values are written out",
            received=f"{values:,}",
            hint="--layer, a later one",
        )


def _matrix(layer: Layer, own: Weights, volume: Shape, result: Shape) -> Part:
    """The layer as an FC: column d of its matrix is what the layer gives for a one at value d, less the bias."""
    params = {name: array.astype(np.float64) for name, array in own.items()}
    zero = np.zeros((1, volume.channels, *volume.spatial))
    bias = layer.forward(params, zero)[0].reshape(-1)
    columns = np.empty((volume.elements, result.elements), np.float32)
    for block in np.array_split(np.arange(volume.elements), -(-volume.elements // 256)):
        ones = np.zeros((len(block), volume.elements))
        ones[np.arange(len(block)), block] = 1.0
        y = layer.forward(params, ones.reshape(-1, volume.channels, *volume.spatial))[0]
        columns[block] = y.reshape(len(block), -1) - bias
    arrays: dict[str, NDArray[np.float32]] = {"weight": np.ascontiguousarray(columns.T)}
    if bias.any():
        arrays["bias"] = bias.astype(np.float32)
    return Part(FullyConnected(result.elements, bool(bias.any())), arrays)
