r"""fc-to-conv: fully connected layers as convolutions, so that one pass scores every window of a larger image.

    FC    y[k] = b[k] + sum over c,u,v of w[k, (c H + u) W + v] x[c,u,v]
    CONV  y[k,i,j] = b[k] + sum over c,u,v of w[k,c,u,v] x[c, i + u, j + v]

An FC on H x W x C is a CONV with F = H x W, P = 0, S = 1 whose weight (K, C, H, W) is the FC's (K, C H W) in the same
order; one on a single position is a CONV1. Where the image has the trained size the map has one position and the
scores are the same numbers; on a larger one the map's position (i, j) has the scores of the window that lies i and j
strides of the layers before into the image (fact N1).

What else must slide:

    GAP      AVGPOOL of the trained map's size at stride 1
    FLATTEN  gone where an FC follows, behind layers that treat every value alike; else a CONV with a one for each
             value of the window, which has FLATTEN's order of channels
    fit      `exact` becomes `floor` where a stride could leave rows over, so that every larger size can be used

The scores of a map are those of the windows to rounding, except where a window's own border matters: layers with zero
padding see zeros beyond the border of a window cut out, and the image's next pixels in the map (fact N5). Windows that
hang over the border (`fit=ceil`) see it too.

Layers that see the whole volume in another way cannot slide and are refused: SPP, GROUPNORM, RBF, LOCAL, LCN
without c, and windows over more than one position behind a layer that was changed.

Sources: Sermanet et al., "OverFeat", ICLR 2014, section 3.5; Long, Shelhamer and Darrell, "Fully convolutional
networks", CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError, ShapeError
from ..layer import Shape
from ..layers import Conv
from ..layers.avgpool import AvgPool
from ..layers.fc import FullyConnected
from ..layers.flatten import Flatten
from ..layers.gap import GlobalAvgPool
from ..network import Network, Node
from ..spelling import uniform
from .alike import EACH_VALUE
from .parts import Part, Rewritten, Weights, at_size, own_arrays, readers_of, substituted

IN_A_ROW = EACH_VALUE | {"FLATTEN"}
"""Layers that do the same to a volume and to its values in a row."""
WHOLE = {
    "SPP": "pools the whole volume into bins that grow with it",
    "GROUPNORM": "normalises by the mean and deviation of the whole volume",
    "RBF": "reads one vector of 84 values",
    "LOCAL": "has other weights at every position",
}


def fc_to_conv(network: Network, weights: Weights) -> Rewritten:
    """The same function on images of the trained size, and on larger ones a map of scores; see the module's docstring.

    Weights are only reshaped. Raises RewriteError naming the layer that cannot slide.
    """
    found = _Sliding(network, weights).rewritten()
    doubled = tuple(2 * n for n in network.input_shape.spatial)
    try:
        at_size(found.network, doubled)
    except ShapeError as error:
        raise RewriteError(
            "the layers cannot slide over a larger image together: branches would give maps of different sizes",
            where=error.where,
            received=error.rule,
        ) from None
    return found


class _Sliding:
    """What becomes of each node, in running order."""

    def __init__(self, network: Network, weights: Weights) -> None:
        self.network, self.weights, self.readers = network, weights, readers_of(network)
        self.volumes: list[Shape] = []
        """Each node's output in the new network, on the trained size: that of a FLATTEN which goes is its input."""
        self.slides: list[bool] = []
        """Whether a node's one position will be a map of windows."""

    def rewritten(self) -> Rewritten:
        instead: dict[str, Sequence[Part]] = {}
        for k, node in enumerate(self.network.nodes):
            before = [self.volumes[i] for i in node.inputs]
            below = any(self.slides[i] for i in node.inputs)
            parts = self._parts(k, node, before, below)
            if parts is not None:
                instead[node.name] = parts
            changed = isinstance(node.layer, FullyConnected | Flatten | GlobalAvgPool)
            self.slides.append(below or changed)
            self.volumes.append(before[0] if self._keeps_volume(k) else self.network.shapes[k])
        return substituted(self.network, self.weights, instead)

    def _parts(self, k: int, node: Node, before: Sequence[Shape], below: bool) -> Sequence[Part] | None:
        """What stands in the node's place; None where it stays as it is."""
        layer = node.layer
        if isinstance(layer, FullyConnected):
            return (_convolution(layer, before[0], own_arrays(self.weights, node.name)),)
        if isinstance(layer, GlobalAvgPool):
            return () if before[0].positions == 1 else (Part(AvgPool(uniform(before[0].spatial), (1,))),)
        if isinstance(layer, Flatten):
            return () if self._keeps_volume(k) or before[0].positions == 1 else (_numbered(before[0]),)
        self._refuse_what_sees_all(node, below)
        exact = getattr(layer, "fit", "") == "exact" and max(getattr(layer, "stride", (1,))) > 1
        loose: Any = layer
        return (Part(replace(loose, fit="floor"), own_arrays(self.weights, node.name)),) if exact else None

    def _keeps_volume(self, k: int) -> bool:
        """Whether the node's values stand in the order in which FLATTEN read them, and not yet in a row."""
        layer = self.network.nodes[k].layer
        if isinstance(layer, Flatten):
            return self._reach_fc(k)
        if layer.op not in IN_A_ROW:
            return False
        (before,) = self.network.nodes[k].inputs
        return self.volumes[before] != self.network.shapes[before]

    def _reach_fc(self, k: int) -> bool:
        """Whether all that read the node are FC, behind layers that treat every value alike."""
        nodes = self.network.nodes
        return bool(self.readers[k]) and all(
            isinstance(nodes[r].layer, FullyConnected) or (nodes[r].layer.op in IN_A_ROW and self._reach_fc(r))
            for r in self.readers[k]
        )

    def _refuse_what_sees_all(self, node: Node, below: bool) -> None:
        layer = node.layer
        where = f"{node.name}, {layer}"
        if layer.op in WHOLE:
            raise RewriteError(f"{layer.op} {WHOLE[layer.op]}, so it cannot slide over an image", where=where)
        if layer.op == "LCN" and not getattr(layer, "least", 1):
            raise RewriteError("LCN without c divides by a mean over the whole image", where=where, hint="LCN9(c=1)")
        window = layer.window(*self.network.input_shapes(node)) if node.inputs and not layer.joins else None
        if (
            below
            and window
            and (max(window.extent) > 1 or max(window.stride) > 1 or max(window.upsampling, default=1) > 1)
        ):
            raise RewriteError(
                "behind scores there would be a map, of which this window would see more than one position", where=where
            )


def _convolution(layer: FullyConnected, volume: Shape, arrays: Weights) -> Part:
    """The FC on a volume as a CONV over all of it."""
    conv = Conv(uniform(volume.spatial), layer.out_channels, padding=(0,), bias=layer.bias)
    weight = arrays["weight"].reshape(layer.out_channels, volume.channels, *volume.spatial)
    return Part(conv, {**arrays, "weight": weight})


def _numbered(volume: Shape) -> Part:
    """FLATTEN as a CONV: filter (c H + u) W + v picks the value at (u, v) of channel c."""
    picks: NDArray[np.float32] = np.eye(volume.positions, dtype=np.float32)
    weight = np.tile(picks, (volume.channels, 1)).reshape(volume.elements, 1, *volume.spatial)
    conv = Conv(uniform(volume.spatial), volume.elements, padding=(0,), groups=volume.channels, bias=False)
    return Part(conv, {"weight": weight})
