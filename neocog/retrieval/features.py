"""What a layer gives for images, as one row of numbers each.

`pool` "mean" averages each map of a volume over its positions, (C,) for an image; "none" takes all of its values in
the order channels, rows, columns. Vectors are rows already, and are the same either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..model import Model
from ..network import Network
from ..rewrite.parts import position_of

POOLS = ("mean", "none")
BATCH_BYTES = 2**28
"""About how much a batch's volumes may take; one image always may."""
MOST_IMAGES = 256

Features = NDArray[np.float32]


def default_layer(network: Network) -> str:
    """The last volume before the scores: what the last layer with weights reads. The last layer where none has any."""
    for k in reversed(range(len(network.nodes))):
        node = network.nodes[k]
        if node.inputs and node.layer.cost(*network.input_shapes(node)).parameters and _leads_to_scores(network, k):
            return network.nodes[node.inputs[0]].name
    return network.nodes[-1].name


def _leads_to_scores(network: Network, k: int) -> bool:
    """Whether the scores are computed from node k, which the end of a side branch is not."""
    return k in needed_for(network, len(network.nodes) - 1)


def needed_for(network: Network, k: int) -> set[int]:
    """The nodes from which node k is computed, itself included."""
    found, waiting = set[int](), [k]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += network.nodes[one].inputs
    return found


def width_of(network: Network, layer: str, pool: str) -> int:
    """How many numbers an image's row has. Raises RewriteError for a layer that there is not."""
    if pool not in POOLS:
        raise NeocogError("there is no such pooling", received=pool[:40], hint=", ".join(POOLS))
    shape = network.shapes[position_of(network, layer)]
    return shape.channels if pool == "mean" else shape.elements


def batch_size(network: Network) -> int:
    """How many images are computed together, so that their volumes take about `BATCH_BYTES`."""
    per_image = 4 * sum(shape.elements for shape in network.shapes)
    return max(1, min(MOST_IMAGES, BATCH_BYTES // per_image))


def embed(model: Model, images: Iterable[NDArray[np.uint8]], layer: str, pool: str = "mean") -> Iterator[Features]:
    """Rows (n, D) of features for batches of images (n, h, w, C), bytes of the training set's size.

    Nothing behind the layer is computed. Raises RewriteError for a layer that there is not.
    """
    import torch

    k = position_of(model.network, layer)
    width_of(model.network, layer, pool)
    module = model.module()
    order = sorted(needed_for(model.network, k))
    last_use = {i: j for j in order for i in model.network.nodes[j].inputs}
    for batch in images:
        volumes: dict[int, torch.Tensor] = {}
        with torch.inference_mode():
            x = torch.from_numpy(model.preprocessing(batch))
            for j in order:
                node = model.network.nodes[j]
                volumes[j] = module.get_submodule(node.name)(*([volumes[i] for i in node.inputs] or [x]))
                for i in set(node.inputs):
                    if last_use[i] == j and i != k:
                        del volumes[i]
            y = volumes[k]
            rows = y.flatten(2).mean(dim=2) if pool == "mean" else y.flatten(1)
        yield np.ascontiguousarray(rows.numpy(), np.float32)
