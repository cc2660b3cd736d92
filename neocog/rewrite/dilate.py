r"""dilate: a finer map, by taking a stride away and spreading the kernels behind it apart.

Where layer L loses its stride S, its map is S times as fine, and its old values are every S-th of the new. A layer
behind it that read neighbours now reads every S-th value: D becomes S D, P becomes S P. So the old map is the new one
at every S-th position, but for the order of sums, and between its scores stand those of the windows between.
Branches that are joined must stay equally fine, so layers beside L lose the stride with it: those of the same stride on
maps as fine as L's, as in the two arms of a residual block.

    CONV, DECONV with S = 1    D and P times S
    AVGPOOL with S = 1         the CONV that it is, with D = S: a group for each map, every weight 1/F^2
    POOL with S = 1            D and P times S
    other windows              refused: they are no CONV, and the notation has no D for them
    FC, GAP, FLATTEN           refused, since they read a map of one size: fc-to-conv first

Sources: Yu and Koltun, "Multi-scale context aggregation by dilated convolutions", ICLR 2016, section 4; Chen et al.,
"DeepLab", ICLR 2015 (the "hole" algorithm); Long, Shelhamer and Darrell, CVPR 2015, section 3.1 (filter rarefaction).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import RewriteError, SpellingError
from ..layers import Conv
from ..layers._pooling import Pooling
from ..layers.avgpool import AvgPool
from ..layers.deconv import Deconv
from ..layers.pool import MaxPool
from ..layers.shortcut import Shortcut
from ..network import Network, Node
from ..spelling import uniform
from .alike import EACH_VALUE
from .contract import Outputs
from .parts import Part, Rewritten, Weights, own_arrays, position_of, substituted

EACH_POSITION_ALIKE = EACH_VALUE | {"PRELU", "SOFTMAX", "BN", "ADD", "CONCAT", "AUX"}


def dilate(network: Network, weights: Weights, layer: str = "") -> Rewritten:
    """The network without the stride of the layer named and of those beside it.

    Raises RewriteError naming a layer that cannot be spread.
    """
    k = position_of(network, layer)
    stride, together = stride_of(network, k), _together(network, k)
    instead: dict[str, Sequence[Part]] = {}
    fine: set[int] = set()
    for i, node in enumerate(network.nodes):
        own = own_arrays(weights, node.name)
        if i in together:
            strided: Any = node.layer
            spread: Part | None = Part(replace(strided, stride=(1,)), own)
        elif fine.isdisjoint(node.inputs):
            continue
        elif not fine.issuperset(node.inputs):
            raise RewriteError("it joins a map that is finer now and one that is not", where=_place(node))
        else:
            spread = _spread(network, node, stride, own)
        fine.add(i)
        if spread is not None:
            instead[node.name] = (spread,)
    return substituted(network, weights, instead)


def dilated_together(network: Network, weights: Weights, layer: str = "") -> Iterator[str]:
    """Which layers lose a stride, where they are several."""
    together = sorted(_together(network, position_of(network, layer)))
    if len(together) > 1:
        yield f"the stride goes from {', '.join(network.nodes[i].name for i in together)}"


def stride_of(network: Network, k: int) -> int:
    """The stride that the node at k loses. Raises RewriteError where it has none, or two different ones."""
    layer: Any = network.nodes[k].layer
    strides = _strides(layer)
    if strides == {1}:
        raise RewriteError("this layer has no stride to take away", where=_place(network.nodes[k]))
    if len(strides) > 1 or getattr(layer, "fit", "") == "ceil":
        raise RewriteError(
            "only a stride that is the same on all axes, of windows that do not hang over, is taken away",
            where=_place(network.nodes[k]),
        )
    return strides.pop()


def _strides(layer: Any) -> set[int]:
    """How far apart a layer's windows lie, on each axis; DECONV's stride is how far its inputs do."""
    return {1} if isinstance(layer, Deconv) else set(getattr(layer, "stride", (1,)))


def _together(network: Network, k: int) -> set[int]:
    """The node at k and those beside it: of the same stride, on maps as fine, and not computed from it."""
    stride, nodes = stride_of(network, k), network.nodes
    jumps = [tuple(axis.jump for axis in row.field) for row in network.plan().rows]
    before = [tuple(jumps[i] for i in node.inputs) for node in nodes]
    behind = {k}
    for i, node in enumerate(nodes):
        if not behind.isdisjoint(node.inputs):
            behind.add(i)
    beside = (i for i in range(len(nodes)) if i not in behind and before[i] == before[k])
    together = {k, *(i for i in beside if _strides(nodes[i].layer) == {stride})}
    for i in together:
        stride_of(network, i)
    return together


def _place(node: Node) -> str:
    return f"{node.name}, {node.layer}"


def _spread(network: Network, node: Node, stride: int, own: Weights) -> Part | None:
    """The layer behind, on the finer map; None where it stays as it is."""
    layer: Any = node.layer
    window: Any = None if layer.joins else layer.window(*network.input_shapes(node))
    if layer.op in EACH_POSITION_ALIKE or (layer.op == "LRN" and window is None):
        return None
    enlarges = isinstance(layer, Deconv) and max(layer.stride) > 1
    if enlarges or not isinstance(layer, Conv | Deconv | AvgPool | MaxPool | Shortcut):
        raise RewriteError(f"{layer.op} cannot be spread over a finer map", where=_place(node), hint=_instead(layer))
    if max(layer.stride) > 1:
        raise RewriteError("a layer with a stride of its own is dilated first", where=_place(node))
    if max(window.kernel) == 1 and not any(window.padding):
        return None
    if isinstance(layer, AvgPool):
        layer, own = _as_convolution(network, node, layer)
    dilation, padding = (uniform(tuple(stride * n for n in dims)) for dims in (layer.dilation, layer.padding))
    try:
        return Part(replace(layer, dilation=dilation, padding=padding), own)
    except SpellingError as error:  # a pooling's padding is at most half its window
        raise RewriteError(error.rule, where=_place(node), received=error.received, hint="a later stride") from None


def _as_convolution(network: Network, node: Node, pooling: AvgPool) -> tuple[Conv, Weights]:
    """The mean of each window as a sum with equal weights."""
    if any(pooling.padding) and not pooling.zeros:
        raise RewriteError("a mean that leaves padding out has other weights at the border", where=_place(node))
    (volume,) = network.input_shapes(node)
    kernel, maps = pooling.window(volume).kernel, volume.channels
    weight = np.full((maps, 1, *kernel), 1 / math.prod(kernel), np.float32)
    conv = Conv(pooling.kernel_size, maps, padding=pooling.padding, groups=maps, bias=False, fit=pooling.fit)
    return conv, {"weight": weight}


def _instead(layer: Any) -> str:
    """What to type where a layer cannot be spread."""
    if isinstance(layer, Pooling):
        return "--layer with the last stride there is, or neocog predict --dense --stride, which can dilate any layer"
    return "fc-to-conv first" if layer.op in ("FC", "GAP", "FLATTEN", "SPP", "RBF") else "a later stride"


def coarse_grid(
    network: Network, before: Outputs, after: Outputs, settings: Mapping[str, Any]
) -> tuple[Outputs, Outputs]:
    """The new map at the positions of the old one: every S-th."""
    stride = stride_of(network, position_of(network, settings["layer"]))
    rank = network.input_shape.rank
    maps = [one.reshape(*one.shape, *(1,) * rank) if one.ndim == 2 else one for one in (before, after)]
    coarse = (slice(None), slice(None), *(slice(None, None, stride),) * rank)
    return maps[0], maps[1][coarse]
