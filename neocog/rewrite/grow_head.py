r"""grow-head: more classes, the old ones as they were.

The last layer with weights, and that of each side branch (AUX), gets a row for each new class. A new class starts with
the mean of the old classes' weights and biases: its score is the mean of theirs, which is never above the largest, so
no image changes its class until training has gone on.

Behind that layer may stand what treats scores alike: activation functions, DROPOUT, GAP, AVGPOOL, POOL, UPSAMPLE,
SOFTMAX. The old classes' scores stay the same numbers; behind SOFTMAX their proportions do, which is then compared.

Source: `expand_score` in the FCN authors' surgery.py keeps the old classes too, and starts the new at zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import RewriteError
from ..layers import Conv
from ..layers.fc import FullyConnected
from ..model import Model
from ..network import Network
from .alike import EACH_VALUE
from .contract import Outputs
from .parts import Part, Rewritten, Weights, own_arrays, substituted

PASSED = EACH_VALUE | {"AUX", "FLATTEN", "GAP", "AVGPOOL", "POOL", "UPSAMPLE", "SOFTMAX"}
"""What may stand behind the layer that gives the scores: it treats them alike."""


def names_of(text: str) -> tuple[str, ...]:
    """`"cat, dog"` -> `("cat", "dog")`. Raises ValueError for an empty name, or one twice."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise ValueError("names of classes, all different, with commas between them")
    return names


def grow_head(network: Network, weights: Weights, add: Sequence[str] = ()) -> Rewritten:
    """The network with as many more outputs as names in `add`.

    Raises RewriteError where no FC or CONV gives the scores.
    """
    if not add:
        raise RewriteError("the names of new classes are needed", hint="--add cat,dog")
    ends = [len(network.nodes) - 1, *(k for k, node in enumerate(network.nodes) if node.name in network.side_outputs)]
    heads = {[*_behind_head(network, k)][-1] for k in ends}
    instead = {
        network.nodes[k].name: (_grown(network, k, own_arrays(weights, network.nodes[k].name), len(add)),)
        for k in heads
    }
    return substituted(network, weights, instead)


def _behind_head(network: Network, k: int) -> Iterator[int]:
    """From node k back to the FC or CONV whose rows are the scores that it gives."""
    yield k
    while not isinstance(network.nodes[k].layer, FullyConnected | Conv):
        node = network.nodes[k]
        flat = node.layer.op == "FLATTEN" and network.input_shapes(node)[0].positions > 1
        if node.layer.op not in PASSED or flat or len(node.inputs) != 1:
            raise RewriteError(
                "the scores do not come from an FC or CONV alone, so it cannot get rows for new classes",
                where=f"{node.name}, {node.layer}",
            )
        (k,) = node.inputs
        yield k


def _grown(network: Network, k: int, own: Weights, more: int) -> Part:
    layer: Any = network.nodes[k].layer
    if isinstance(layer, Conv) and (layer.groups > 1 or layer.table is not None):
        raise RewriteError(
            "a CONV with groups or a table has no row that sees all maps", where=f"{network.nodes[k].name}, {layer}"
        )
    arrays = {
        name: np.concatenate([array, np.repeat(array.mean(axis=0, dtype=np.float64, keepdims=True), more, axis=0)])
        for name, array in own.items()
    }
    return Part(replace(layer, out_channels=layer.out_channels + more), arrays)


def grown_classes(model: Model, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The old names and the new. Raises RewriteError for one that is there already, or where classes have no outputs
    of their own.
    """
    if twice := set(model.classes) & set(settings["add"]):
        raise RewriteError("this class is there already", received=min(twice))
    if len(model.classes) > model.network.shapes[-1].channels:
        raise RewriteError("one output tells two classes apart, so no class has a row to which more could be added")
    return (*model.classes, *settings["add"])


def old_classes(
    network: Network, before: Outputs, after: Outputs, settings: Mapping[str, Any]
) -> tuple[Outputs, Outputs]:
    """The scores of the old classes; of probabilities, as parts of the old classes' sum."""
    kept = after[:, : before.shape[1]]
    if any(network.nodes[k].layer.op == "SOFTMAX" for k in _behind_head(network, len(network.nodes) - 1)):
        kept = kept / kept.sum(axis=1, keepdims=True)
    return before, kept
