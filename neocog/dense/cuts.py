r"""Strides taken out of the last layers that have them, and what lies behind those dilated (the algorithme à trous).

A layer with stride S = g S' gives, at stride S', g times as many outputs along an axis: those of its input from its
first position on, from S' on, from 2 S' on, ... Each of these g parts is a volume as the network's own, and the layers
behind the cut do to it what they always do; that is what dilating them by g means. So a dilated layer is run here as
the layer itself on interleaved parts of its volume, side by side in the batch, and any layer can be dilated, pooling
too.

Only the layers behind a cut are run more often, which makes a finer map cheaper than passes over a shifted image.

Sources: Holschneider et al., 1989; Giusti et al., "Fast image scanning with deep max-pooling convolutional neural
networks", ICIP 2013; Long, Shelhamer and Darrell, "Fully convolutional networks", CVPR 2015, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import RewriteError
from ..layer import Shape
from ..network import Network, Node, schedule
from ..spelling import Dims


class Cut(NamedTuple):
    """Into how many parts a layer's input is cut along each axis, and how far apart their first positions are."""

    parts: Dims
    step: Dims

    def trimmed(self, shape: Shape) -> Shape:
        """The size of each part: all end where the last one does."""
        sides = zip(shape.spatial, self.parts, self.step, strict=True)
        return Shape(tuple(n - (g - 1) * s for n, g, s in sides), shape.channels)


class Cuts(NamedTuple):
    """Which nodes have theirs, by position, and those that one meets on any way through the network, in order."""

    at: Mapping[int, Cut]
    order: tuple[Cut, ...]


NONE = Cuts({}, ())


def cuts_for(network: Network, factor: Dims) -> Cuts:
    """The cuts that make a network's map finer by a factor along each axis; in the last layers that have strides.

    Raises RewriteError where the strides at the end do not multiply to it, or branches have different ones.
    """
    nodes = network.nodes
    for node in nodes:
        if hangs(node):
            raise RewriteError("a convolution that hangs over the edge cannot be dilated", where=node.name)
    behind: dict[int, tuple[Cut, ...]] = {len(nodes) - 1: ()}
    found: dict[int, Cut] = {}
    for k in reversed([turn.position for turn in schedule(network, training=False)]):
        node, cuts = nodes[k], behind[k]
        window = node.layer.window(*network.input_shapes(node)) if node.inputs else None
        if window is not None and max(window.stride) > 1 and (cut := _cut(factor, cuts, window.stride)):
            found[k], cuts = cut, (cut, *cuts)
        for i in node.inputs:
            if behind.setdefault(i, cuts) != cuts:
                raise RewriteError(
                    "branches have different strides, which cannot be taken out together", where=node.name
                )
    if _left(factor, behind[0]) != (1,) * len(factor):
        raise RewriteError(
            "the last strides do not multiply to that factor, so none is taken out", received="x".join(map(str, factor))
        )
    return Cuts(found, behind[0])


def _left(factor: Dims, cuts: Sequence[Cut]) -> Dims:
    """What of the factor the cuts do not make."""
    made = [math.prod(cut.parts[axis] for cut in cuts) for axis in range(len(factor))]
    return tuple(f // m for f, m in zip(factor, made, strict=True))


def _cut(factor: Dims, cuts: Sequence[Cut], stride: Dims) -> Cut | None:
    """The part that a layer takes of what is left of the factor; None where it takes none."""
    left = _left(factor, cuts)
    parts = tuple(math.gcd(f, s) for f, s in zip(left, stride, strict=True))
    step = tuple(s // g for s, g in zip(stride, parts, strict=True))
    if any(f > g and s > 1 for f, g, s in zip(left, parts, step, strict=True)):
        raise RewriteError(
            "a stride that is taken out in part must be the first of those taken out",
            received=f"stride {'x'.join(map(str, stride))} for a factor of {'x'.join(map(str, left))}",
        )
    return Cut(parts, step) if max(parts) > 1 else None


def hangs(node: Node) -> bool:
    """Whether a node's torch module is for one size only: it pads for the last window, which hangs over the edge."""
    layer: Any = node.layer
    return layer.op in ("CONV", "FILTER", "LOCAL") and layer.fit == "ceil" and max(layer.stride) > 1


class Piece(NamedTuple):
    """A node's volume on some image: the shape of each part, and how many parts there are."""

    shape: Shape
    parts: int


def pieces(network: Network, cuts: Cuts) -> list[Piece]:
    """Every node's volume, where these cuts are made; without cuts, `network.shapes`."""
    found: list[Piece] = []
    for k, node in enumerate(network.nodes):
        inputs = [found[i] for i in node.inputs]
        cut = cuts.at.get(k)
        shapes = [cut.trimmed(piece.shape) if cut else piece.shape for piece in inputs]
        parts = inputs[0].parts if inputs else 1
        found.append(Piece(node.layer.output_shape(*shapes), parts * (math.prod(cut.parts) if cut else 1)))
    return found


def most_alive(network: Network, cuts: Cuts) -> int:
    """The most values of volumes that a pass with these cuts holds at once: those that something still reads, the
    layer's output, and its input once more where it is cut.
    """
    sizes = [piece.parts * piece.shape.elements for piece in pieces(network, cuts)]
    alive: dict[int, int] = {}
    most = 0
    for k, dropped in schedule(network, training=False):
        cut = cuts.at.get(k)
        copied = math.prod(cut.parts) * sum(sizes[i] for i in network.nodes[k].inputs) if cut else 0
        most = max(most, sum(alive.values()) + copied + sizes[k])
        alive[k] = sizes[k]
        for i in dropped:
            del alive[i]
    return most


def macs(network: Network, cuts: Cuts) -> int:
    """The multiply-adds of a pass with these cuts."""
    found, total = pieces(network, cuts), 0
    for k, node in enumerate(network.nodes):
        shapes = [found[i].shape for i in node.inputs]
        inputs = [cuts.at[k].trimmed(shape) for shape in shapes] if k in cuts.at else shapes
        total += found[k].parts * node.layer.cost(*inputs).macs
    return total
