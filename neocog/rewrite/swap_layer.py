"""swap-layer: another layer in a layer's place, or the same one with fresh weights.

The new layer must give a volume of the same shape. An array that it has under the same name and in the same shape is
kept, unless `fresh` is said; all others start as training starts them. What the network computes changes, so the
difference is measured and reported.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import NotationError, RewriteError, ShapeError
from ..initialise import initialise
from ..layer import Layer, Shape
from ..network import Network
from .parts import Part, Rewritten, Weights, own_arrays, position_of, substituted


def swap_layer(
    network: Network,
    weights: Weights,
    layer: str = "",
    by: str | None = None,
    fresh: bool | None = None,
) -> Rewritten:
    """The network with the layer `by`, as in the notation, in the place of the one named.

    Raises RewriteError where it is no layer, or gives a volume of another shape.
    """
    k = position_of(network, layer)
    node = network.nodes[k]
    where = f"{node.name}, {node.layer}"
    if k == 0 or node.layer.joins or node.name in network.side_outputs:
        raise RewriteError("INPUT and joins cannot be swapped", where=where)
    if by is None and not fresh:
        raise RewriteError("nothing would change", where=where, hint="--by LRELU(0.1), or --fresh")
    new = node.layer if by is None else _read(by, network, k)
    if (shape := _output_of(new, network, k)) != network.shapes[k]:
        raise RewriteError(
            "the new layer gives a volume of another shape",
            where=where,
            received=f"{new} gives {shape} for {network.shapes[k]}",
        )
    old = own_arrays(weights, node.name)
    draft = substituted(network, weights, {node.name: (Part(new, old),)}).network
    started = own_arrays(initialise(draft), draft.nodes[k].name)
    arrays = started if fresh else {name: _either(old.get(name), array) for name, array in started.items()}
    return substituted(network, weights, {node.name: (Part(new, arrays),)})


def _output_of(new: Layer, network: Network, k: int) -> Shape:
    """What a layer gives in the place of the one at k. Raises RewriteError where it cannot read what that one reads."""
    node = network.nodes[k]
    try:
        return new.output_shape(*network.input_shapes(node))
    except ShapeError as error:
        raise RewriteError(
            f"the new layer cannot read this one's input: {error.rule}",
            where=f"{node.name}, {node.layer}",
            received=error.received,
            hint=error.hint,
        ) from None


def _either(old: NDArray[np.float32] | None, fresh: NDArray[np.float32]) -> NDArray[np.float32]:
    return old if old is not None and old.shape == fresh.shape else fresh


def _read(text: str, network: Network, k: int) -> Layer:
    """The layer that a text says, standing behind the same volume."""
    (before,) = network.input_shapes(network.nodes[k])
    try:
        nodes = Network.parse(f"INPUT[{before}] -> {text}").nodes
    except NotationError as error:
        raise RewriteError("this is no layer", received=text[:80], hint=error.rule) from None
    if len(nodes) != 2:
        raise RewriteError("one layer is needed", received=text[:80])
    return nodes[1].layer


def kept_arrays(network: Network, weights: Weights, **settings: object) -> Iterator[str]:
    """Which arrays stay and which start afresh."""
    k = position_of(network, str(settings["layer"]))
    made = swap_layer(network, weights, **settings)  # type: ignore[arg-type]  # the options, by name
    old, new = own_arrays(weights, network.nodes[k].name), own_arrays(made.weights, made.network.nodes[k].name)
    for name, array in new.items():
        kept = not settings["fresh"] and name in old and old[name].shape == array.shape
        yield f"{made.network.nodes[k].name}.{name}: {'kept' if kept else 'starts afresh'}"
    for name in sorted(old.keys() - new.keys()):
        yield f"{network.nodes[k].name}.{name}: dropped"
