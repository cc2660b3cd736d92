"""A network with its weights as one tree that can be edited: each layer together with its own arrays.

Nodes are named by running numbers, so a layer that goes, comes or changes its word renames those behind it. Here an
edit says what stands in whose place, by the old names, and the arrays move along with their layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError, ShapeError
from ..layer import Layer, Shape
from ..layers import Input
from ..layers.identity import Identity
from ..network import Branch, Chain, Item, Network, Step

Weights = Mapping[str, NDArray[np.float32]]
"""Arrays by `<node>.<parameter>`."""


class Rewritten(NamedTuple):
    """What a rewrite gives: a network and the weights that belong to it."""

    network: Network
    weights: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Part:
    """A layer with its arrays, and its name in the network that it was taken from; a new one has none."""

    layer: Layer
    arrays: Weights = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, eq=False)
class Fork:
    """Branches with their join, whose name stands for them all."""

    join: Part
    arms: tuple[Parts, ...]

    @property
    def name(self) -> str:
        """The join's."""
        return self.join.name


Piece = Part | Fork
Parts = tuple[Piece, ...]


def take_apart(network: Network, weights: Weights) -> Parts:
    """The tree of a network's layers, each with its arrays."""
    names = iter([node.name for node in network.nodes])
    owned: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, array in weights.items():
        node, _, parameter = name.partition(".")
        owned.setdefault(node, {})[parameter] = array

    def part(layer: Layer) -> Part:
        name = next(names)
        return Part(layer, owned.get(name, {}), name)

    def piece(item: Item) -> Piece:
        if isinstance(item, Step):
            return part(item.layer)
        arms = tuple(pieces(arm) for arm in item.arms)  # their nodes come before the join's
        return Fork(part(item.join), arms)

    def pieces(chain: Chain) -> Parts:
        return tuple(piece(item) for item in chain)

    return pieces(network.chain)


def put_together(parts: Sequence[Piece]) -> Rewritten:
    """The inverse of `take_apart`. A branch that has lost all its layers passes its input on, as ID."""
    network = Network(_chain(parts))
    owners = [*_in_order(parts)]
    weights = {
        f"{node.name}.{name}": np.ascontiguousarray(array, np.float32)
        for node, part in zip(network.nodes, owners, strict=True)
        for name, array in part.arrays.items()
    }
    return Rewritten(network, weights)


def _chain(parts: Sequence[Piece]) -> Chain:
    return tuple(
        Step(piece.layer)
        if isinstance(piece, Part)
        else Branch(piece.join.layer, tuple(_chain(arm or (_NOTHING,)) for arm in piece.arms))
        for piece in parts
    )


def _in_order(parts: Sequence[Piece]) -> Iterator[Part]:
    """The parts as `Network.nodes` has them."""
    for piece in parts:
        if isinstance(piece, Part):
            yield piece
        else:
            for arm in piece.arms:
                yield from _in_order(arm or (_NOTHING,))
            yield piece.join


_NOTHING = Part(Identity())


def mapped(parts: Sequence[Piece], change: Callable[[Piece], Sequence[Piece]]) -> Parts:
    """The tree with every piece replaced by what `change` gives for it; branches from the inside out."""
    found: list[Piece] = []
    for piece in parts:
        inner = piece if isinstance(piece, Part) else Fork(piece.join, tuple(mapped(arm, change) for arm in piece.arms))
        found += change(inner)
    return tuple(found)


def substituted(network: Network, weights: Weights, instead: Mapping[str, Sequence[Piece]]) -> Rewritten:
    """The network with pieces in the place of the nodes that `instead` names; with a join go its branches."""
    return put_together(mapped(take_apart(network, weights), lambda piece: instead.get(piece.name, (piece,))))


def own_arrays(weights: Weights, node: str) -> dict[str, NDArray[np.float32]]:
    """The arrays of one node by their parameters' names."""
    return {name.partition(".")[2]: array for name, array in weights.items() if name.partition(".")[0] == node}


def readers_of(network: Network) -> list[list[int]]:
    """For each node the positions of those that read its volume."""
    found: list[list[int]] = [[] for _ in network.nodes]
    for k, node in enumerate(network.nodes):
        for i in dict.fromkeys(node.inputs):
            found[i].append(k)
    return found


def at_size(network: Network, spatial: Sequence[int]) -> Network:
    """The same layers for images of another height and width; the weights stay what they are.

    Raises RewriteError where an array would have another shape, as an FC's has, and ShapeError where a layer cannot
    take its input.
    """
    first = network.chain[0]
    if not isinstance(first, Step) or not isinstance(first.layer, Input):
        raise RewriteError("a network begins with INPUT")
    shape = Shape(tuple(spatial), network.input_shape.channels)
    resized = Network((Step(Input(shape)), *network.chain[1:]))
    for a, b in zip(network.nodes, resized.nodes, strict=True):
        old = {name: one.shape for name, one in a.layer.parameters(*network.input_shapes(a)).items()}
        try:
            new = {name: one.shape for name, one in b.layer.parameters(*resized.input_shapes(b)).items()}
        except ShapeError as error:
            raise error.at(b.name) if not error.where else error from None
        if old != new:
            raise RewriteError(
                f"{a.layer.op} has weights for images of {network.input_shape} only", where=a.name, hint="fc-to-conv"
            )
    return resized


def position_of(network: Network, name: str, *kinds: type[Layer]) -> int:
    """Where a node of that name stands. Raises RewriteError where there is none, or it is of none of these kinds."""
    for k, node in enumerate(network.nodes):
        if node.name == name:
            if kinds and not isinstance(node.layer, kinds):
                wanted = " or ".join(kind.op for kind in kinds)
                raise RewriteError(f"a layer is needed that is {wanted}", received=f"{name}, {node.layer}")
            return k
    names = [node.name for node in network.nodes if not kinds or isinstance(node.layer, kinds)]
    near = get_close_matches(name, names, n=3) or names[:8]
    raise RewriteError("there is no such layer", received=name[:40], hint=", ".join(near))
