r"""prune-channels: the weakest filters of a layer go, and with them what reads their maps.

Filter k's strength is the root of the sum of its squared weights. When map k goes, it goes out of every layer that
treats maps one by one (activation functions, BN, PRELU, pooling, DROPOUT, FLATTEN, CONCAT, ...), and the CONV, FC,
DECONV or LOCAL behind lose the weights that read it. Branches that ADD joins must lose the same maps: all layers whose
maps meet in it are pruned together, by the strengths of their filters together. Where one of them is none that can be
pruned, or a layer mixes maps (LRN across, GROUPNORM, SOFTMAX, ...), the rewrite is refused with its name.

What the network computes changes, unless the maps that went were zero; the difference is measured and reported.

Source: Li, Kadav, Durdanovic, Samet and Graf, "Pruning filters for efficient ConvNets", ICLR 2017 (by magnitude;
theirs is the sum of absolute values).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError
from ..layers import Conv
from ..layers.deconv import Deconv
from ..layers.fc import FullyConnected
from ..layers.local import LocallyConnected
from ..network import Network, Node
from ..wording import count_of
from .alike import EACH_VALUE
from .parts import Part, Rewritten, Weights, own_arrays, position_of, readers_of, substituted

Producer = Conv | FullyConnected
Kept = NDArray[np.int64]
"""Numbers of the channels that stay, in order."""

EACH_MAP_ALIKE = EACH_VALUE | {"PRELU", "BN", "POOL", "AVGPOOL", "L2POOL", "STOPOOL", "GAP", "SUBSAMPLE", "UPSAMPLE"}
EACH_MAP_ALIKE |= {"FILTER", "ADD"}
"""Layers whose map k depends on the k-th maps they read alone; their arrays have one row for each map."""


def share_of(text: str) -> float:
    """A number above 0 and below 1. Raises ValueError."""
    share = float(text)
    if not 0 < share < 1:
        raise ValueError("a share between 0 and 1")
    return share


def prune_channels(network: Network, weights: Weights, layer: str = "", share: float = 0.5) -> Rewritten:
    """The network without that share of the layer's filters, at least one of which stays.

    Raises RewriteError naming what keeps its maps from going, and for a share that is none.
    """
    if not 0 < share < 1:
        raise RewriteError("a share lies between 0 and 1", received=f"{share:g}")
    start = position_of(network, layer, Conv, FullyConnected)
    pruning = _Pruning(network, weights)
    together = pruning.producers(start)
    kept = strongest([pruning.strengths(k) for k in together], share)
    return pruning.rewritten(together, kept)


def pruned_together(network: Network, weights: Weights, layer: str = "", share: float = 0.5) -> Iterator[str]:
    """Which layers lose filters, and how many."""
    pruning = _Pruning(network, weights)
    together = pruning.producers(position_of(network, layer, Conv, FullyConnected))
    kept = len(strongest([pruning.strengths(k) for k in together], share))
    names = ", ".join(network.nodes[k].name for k in together)
    gone = network.shapes[together[0]].channels - kept
    gone_of = f"{gone} of {count_of(kept + gone, 'filter')} {'goes' if gone == 1 else 'go'}"
    yield f"{gone_of} from {names}" + (", whose maps are added" if len(together) > 1 else "")


def strongest(strengths: Sequence[NDArray[np.float64]], share: float) -> Kept:
    """The channels that stay: the strongest by the sum over all layers that are pruned together."""
    total = np.sum([s / max(float(s.mean()), 1e-30) for s in strengths], axis=0)
    gone = min(len(total) - 1, round(share * len(total)))
    if not gone:
        raise RewriteError("so small a share is none of the filters", received=f"{share:g} of {len(total)}")
    count = len(total) - gone
    return np.sort(np.argsort(-total, kind="stable")[:count])


class _Pruning:
    def __init__(self, network: Network, weights: Weights) -> None:
        self.network, self.weights, self.readers = network, weights, readers_of(network)

    def strengths(self, k: int) -> NDArray[np.float64]:
        """Of each filter of a producer."""
        weight = self.weights[f"{self.network.nodes[k].name}.weight"].astype(np.float64)
        found: NDArray[np.float64] = np.sqrt((weight.reshape(len(weight), -1) ** 2).sum(axis=1))
        return found

    def producers(self, start: int) -> list[int]:
        """All layers that must lose the same maps as the one at `start`."""
        found, seen, waiting = {start}, set[int](), [start]
        while waiting:
            k = waiting.pop()
            if k in seen:
                continue
            seen.add(k)
            node = self.network.nodes[k]
            if isinstance(node.layer, Producer):
                self._check_producer(node)
                found.add(k)
            elif node.layer.op in EACH_MAP_ALIKE:
                waiting += node.inputs
            else:
                raise _refused(node, "its maps are added to those that would go")
            waiting += [r for r in self.readers[k] if self.network.nodes[r].layer.op in EACH_MAP_ALIKE]
        return sorted(found)

    def _check_producer(self, node: Node) -> None:
        layer: Any = node.layer
        if isinstance(layer, Conv) and (layer.groups > 1 or layer.table is not None):
            raise _refused(node, "its groups or table name maps by number")

    def rewritten(self, together: Sequence[int], kept: Kept) -> Rewritten:
        nodes = self.network.nodes
        left: dict[int, Kept] = {}
        """Of each node that has lost maps, those that stay."""
        instead: dict[str, Sequence[Part]] = {}
        for k, node in enumerate(nodes):
            own = own_arrays(self.weights, node.name)
            layer: Any = node.layer
            lost = [left.get(i) for i in node.inputs]
            if any(one is not None for one in lost):
                layer, own, stays = self._behind(k, layer, own, lost)
                if stays is not None:
                    left[k] = stays
            if k in together:
                own = {name: array[kept] for name, array in own.items()}
                layer, left[k] = replace(layer, out_channels=len(kept)), kept
            if layer is not node.layer or any(one is not None for one in lost):
                joined = node.layer.joins or node.name in self.network.side_outputs
                instead |= {} if joined else {node.name: (Part(layer, own),)}
        for k in (len(nodes) - 1, *(k for k, node in enumerate(nodes) if node.name in self.network.side_outputs)):
            if k in left:
                raise RewriteError("its maps are the scores of the classes", where=nodes[together[0]].name)
        return substituted(self.network, self.weights, instead)

    def _behind(
        self, k: int, layer: Any, own: Weights, lost: Sequence[Kept | None]
    ) -> tuple[Any, dict[str, NDArray[np.float32]], Kept | None]:
        """A layer that reads volumes which lost maps, its arrays, and what stays of its own maps if some go."""
        node = self.network.nodes[k]
        shapes = self.network.input_shapes(node)
        parts = [np.arange(s.channels) if one is None else one for s, one in zip(shapes, lost, strict=True)]
        first, values = parts[0], dict(own)
        if layer.op == "CONCAT":
            offsets = np.cumsum([0, *(shape.channels for shape in shapes)])
            return layer, values, np.concatenate([one + offset for one, offset in zip(parts, offsets, strict=False)])
        if layer.op == "ADD" and any(not np.array_equal(one, first) for one in parts):
            raise _refused(node, "it adds maps that would go to maps that stay")
        if layer.op == "AUX":
            return layer, values, first
        if layer.op in EACH_MAP_ALIKE:
            channels = shapes[0].channels
            return layer, {n: a[first] if a.shape[:1] == (channels,) else a for n, a in values.items()}, first
        if layer.op == "FLATTEN":
            return layer, values, _each_value(first, shapes[0].positions)
        if isinstance(layer, FullyConnected):
            values["weight"] = values["weight"][:, _each_value(first, shapes[0].positions)]
        elif isinstance(layer, Deconv):
            values["weight"] = values["weight"][first]
        elif isinstance(layer, LocallyConnected) or (
            isinstance(layer, Conv) and layer.groups == 1 and layer.table is None
        ):
            values["weight"] = values["weight"][:, first]
        else:
            raise _refused(node, "it mixes or numbers the maps it reads")
        return layer, values, None


def _each_value(channels: Kept, positions: int) -> Kept:
    """The numbers of the values of some channels in a volume read channels first."""
    return (channels[:, None] * positions + np.arange(positions)).reshape(-1)


def _refused(node: Node, why: str) -> RewriteError:
    return RewriteError(f"maps cannot go where this layer is: {why}", where=f"{node.name}, {node.layer}")
