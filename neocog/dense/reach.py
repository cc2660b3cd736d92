"""Which cells of a map see padding, and whose: the receptive field walked backwards, layer by layer, with its ends cut.

An output range [a, b] of a layer with stride S, padding P and extent E needs the inputs [S a - P, S b - P + E - 1].
What of that lies outside of the volume is the layer's padding, or what its last window hangs over (`fit=ceil`); what
lies inside, the layers before must give. Axes are independent: a cell sees padding where it does along any.

Ranges have no gaps. Behind dilated kernels a layer's padding can lie in a gap, which then counts as seen; whether a
cell sees any layer's padding at all is exact, since the ends of a range are always read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..layer import Window
from ..network import Network, schedule
from .cuts import Cuts, pieces

Marks = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """For each layer with a window, along one axis, which of n cells see padding before and behind its volume (n,)."""

    before: Mapping[str, Marks]
    behind: Mapping[str, Marks]
    count: int

    @property
    def low(self) -> Marks:
        """Which cells see any layer's padding before its volume."""
        return np.asarray(np.logical_or.reduce([np.zeros(self.count, bool), *self.before.values()]))

    @property
    def high(self) -> Marks:
        """Which cells see any layer's padding behind its volume."""
        return np.asarray(np.logical_or.reduce([np.zeros(self.count, bool), *self.behind.values()]))


def reach(network: Network, axis: int, cuts: Cuts, part: int, real: int) -> Reach:
    """For the cells, along an axis, of one part of the network's last volume; `network` has the size that is run.

    Parts are numbered by where they begin. Behind the `real` pixels of the image are none that count.
    """
    nodes, volumes = network.nodes, pieces(network, cuts)
    cells = np.arange(volumes[-1].shape.spatial[axis], dtype=np.int64)
    wanted: dict[int, tuple[Numbers, Numbers]] = {len(nodes) - 1: (cells, cells)}
    before: dict[str, Marks] = {}
    behind: dict[str, Marks] = {}
    begins = _beginnings(network, axis, cuts, part)
    for k in reversed([turn.position for turn in schedule(network, training=False)]):
        node = nodes[k]
        low, high = wanted.pop(k)
        if not node.inputs:
            behind[node.name] = high >= real
            continue
        inside = volumes[node.inputs[0]].shape
        window = node.layer.window(*(volumes[i].shape for i in node.inputs))
        if window is not None:
            size = (cuts.at[k].trimmed(inside) if k in cuts.at else inside).spatial[axis]
            low, high = _needed(low, high, window, axis)
            before[node.name], behind[node.name] = low < 0, high >= size
            low, high = np.clip(low, 0, size - 1) + begins.get(k, 0), np.clip(high, 0, size - 1) + begins.get(k, 0)
        for i in node.inputs:
            other = wanted.get(i, (low, high))
            wanted[i] = np.minimum(low, other[0]), np.maximum(high, other[1])
    return Reach(before, behind, len(cells))


def _needed(low: Numbers, high: Numbers, window: Window, axis: int) -> tuple[Numbers, Numbers]:
    stride, padding, extent = window.stride[axis], window.padding[axis], window.extent[axis]
    return low * stride - padding, high * stride - padding + extent - 1


def _beginnings(network: Network, axis: int, cuts: Cuts, part: int) -> dict[int, int]:
    """At which position of each cut layer's input the part begins."""
    depth: dict[int, int] = {0: 1}  # into how many parts each node's volume is cut along the axis
    found: dict[int, int] = {}
    for k, node in enumerate(network.nodes):
        if not node.inputs:
            continue
        depth[k] = depth[node.inputs[0]]
        if k in cuts.at:
            own = cuts.at[k]
            found[k] = part // depth[k] % own.parts[axis] * own.step[axis]
            depth[k] *= own.parts[axis]
    return found
