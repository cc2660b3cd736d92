r"""dilate: a finer map, by taking a stride away and spreading the kernels behind it apart.

Where layer L loses its stride S, its map is S times as fine, and its old values are every S-th of the new. A layer
behind it that read neighbours now reads every S-th value: D becomes S D, P becomes S P. So the old map is the new one
at every S-th position, but for the order of sums, and between its scores stand those of the windows between.

    CONV, DECONV with S = 1    D and P times S
    POOL, AVGPOOL ... behind   refused, since poolings are not dilated here; dilate that pooling first
    FC, GAP, FLATTEN           refused, since they read a map of one size: fc-to-conv first

Sources: Yu and Koltun, "Multi-scale context aggregation by dilated convolutions", ICLR 2016, section 4; Chen et al.,
"DeepLab", ICLR 2015 (the "hole" algorithm); Long, Shelhamer and Darrell, CVPR 2015, section 3.1 (filter rarefaction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import RewriteError
from ..layers import Conv
from ..network import Network, Node
from ..spelling import uniform
from .contract import Outputs
from .parts import Part, Rewritten, Weights, own_arrays, position_of, substituted

EACH_POSITION_ALIKE = {"RELU", "LRELU", "PRELU", "SIGMOID", "TANH", "SCALEDTANH", "GELU", "SILU", "SOFTMAX", "DROPOUT"}
EACH_POSITION_ALIKE |= {"ID", "BN", "ADD", "CONCAT", "AUX"}


def dilate(network: Network, weights: Weights, layer: str = "") -> Rewritten:
    """The network without the stride of the layer named. Raises RewriteError naming a layer that cannot be spread."""
    k = position_of(network, layer)
    stride = stride_of(network, k)
    instead: dict[str, Sequence[Part]] = {}
    node = network.nodes[k]
    strided: Any = node.layer
    instead[node.name] = (Part(replace(strided, stride=(1,)), own_arrays(weights, node.name)),)
    fine = {k}
    for reader, behind in enumerate(network.nodes):
        if reader <= k or not fine & set(behind.inputs):
            continue
        if not fine >= set(behind.inputs):
            raise RewriteError("it joins a map that is finer now and one that is not", where=_place(behind))
        fine.add(reader)
        if (spread := _spread(network, behind, stride)) is not None:
            instead[behind.name] = (Part(spread, own_arrays(weights, behind.name)),)
    return substituted(network, weights, instead)


def stride_of(network: Network, k: int) -> int:
    """The stride that the node at k loses. Raises RewriteError where it has none, or two different ones."""
    layer = network.nodes[k].layer
    strides = set(getattr(layer, "stride", (1,)))
    if layer.op in ("DECONV", "SHORTCUT") or not hasattr(layer, "fit") or strides == {1}:
        raise RewriteError("this layer has no stride to take away", where=_place(network.nodes[k]))
    if len(strides) > 1 or layer.fit == "ceil":
        raise RewriteError(
            "only a stride that is the same on all axes, of windows that do not hang over, is taken away",
            where=_place(network.nodes[k]),
        )
    return int(strides.pop())


def _place(node: Node) -> str:
    return f"{node.name}, {node.layer}"


def _spread(network: Network, node: Node, stride: int) -> Any:
    """The layer behind, on the finer map; None where it stays as it is."""
    layer: Any = node.layer
    if layer.op in EACH_POSITION_ALIKE or (layer.op == "LRN" and layer.window(*network.input_shapes(node)) is None):
        return None
    if not isinstance(layer, Conv):
        hint = "fc-to-conv first" if layer.op in ("FC", "GAP", "FLATTEN", "SPP", "RBF") else "a later stride"
        raise RewriteError(f"{layer.op} cannot be spread over a finer map", where=_place(node), hint=hint)
    if max(layer.stride) > 1:
        raise RewriteError("a CONV with a stride of its own is dilated first", where=_place(node))
    window = layer.window(*network.input_shapes(node))
    if max(window.kernel) == 1 and not any(window.padding):
        return None
    return replace(
        layer,
        dilation=uniform(tuple(stride * d for d in window.dilation)),
        padding=uniform(tuple(stride * p for p in window.padding)),
    )


def coarse_grid(
    network: Network, before: Outputs, after: Outputs, settings: Mapping[str, Any]
) -> tuple[Outputs, Outputs]:
    """The new map at the positions of the old one: every S-th."""
    stride = stride_of(network, position_of(network, settings["layer"]))
    rank = network.input_shape.rank
    maps = [one.reshape(*one.shape, *(1,) * rank) if one.ndim == 2 else one for one in (before, after)]
    coarse = (slice(None), slice(None), *(slice(None, None, stride),) * rank)
    return maps[0], maps[1][coarse]
