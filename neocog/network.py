"""A network as a value: layers in a chain with branches, and the same thing seen as a list of named nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from .errors import ShapeError
from .layer import Layer, Shape
from .layers import Auxiliary, Conv
from .layers.batchnorm import BatchNorm
from .layers.fc import FullyConnected
from .layers.relu import ReLU

if TYPE_CHECKING:
    from torch import nn

    from .plan import Plan


class Span(NamedTuple):
    """Where something stands in its text: line and column from 1, and its width in characters."""

    line: int
    column: int
    width: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


@dataclass(frozen=True)
class Step:
    """One layer in a chain."""

    layer: Layer
    at: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Branch:
    """Several chains that start from the same volume and are joined: `ADD[ a | b ]`.

    Where `join` is AUX there is one chain, a side branch, and what follows reads the volume before it.
    """

    join: Layer
    arms: tuple[Chain, ...]
    at: Span | None = field(default=None, compare=False)


Item = Step | Branch
Chain = tuple[Item, ...]


class Node(NamedTuple):
    """One layer of the network with the name that weights, plans and messages use for it."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    """Positions in `Network.nodes` of the nodes it reads; always earlier ones."""
    at: Span | None

    @property
    def place(self) -> str:
        """Its name, and where it stands in its text if it has one: `conv1 at line 1, column 17`."""
        return f"{self.name} at {self.at}" if self.at else self.name


VAST = 10**18
"""No side of a volume, nor its channels, are more: 64 bits count them, and all that follows stays within a float."""


@dataclass(frozen=True)
class Network:
    """A convolutional network, complete before anything runs. Its first layer is INPUT.

    Two networks are equal when their layers and branches are, however their texts were written. Nodes are
    named by their word and a running number: `conv1`, `relu1`, `pool1`, `conv2`, ...
    """

    chain: Chain

    @classmethod
    def parse(cls, text: str, /, **variables: int) -> Network:
        """The network that a text in the notation describes.

        `variables` give the pattern variables their values: `Network.parse("... [CONV3-8 -> RELU]*N ...", N=2)`.
        Raises NotationError with the line, a caret under the mistake, and what to type instead.
        """
        from .notation import parse

        return parse(text, variables)

    @classmethod
    def from_torch(cls, module: nn.Module, shape: Shape | str) -> Network:
        """The network that a torch module is, for images of a shape: `Network.from_torch(module, "224x224x3")`.

        `shape` is as in INPUT, height x width x channels, or `"100x8"` for sequences. `interop.from_torch` brings the
        weights too. Raises NeocogError naming the place in the module that is no layer of the notation.
        """
        from .interop import network_of

        return network_of(module, shape)

    def __str__(self) -> str:
        from .notation import write

        return write(self)

    def plan(self, batch: int = 1, dtype: str = "float32", optimizer: str = "momentum") -> Plan:
        """Every size and cost of the network, without allocating one tensor. Raises ShapeError."""
        from .plan import plan

        return plan(self, batch=batch, dtype=dtype, optimizer=optimizer)

    def build(self, seed: int = 0, init: str = "auto") -> nn.Module:
        """A plain torch module with freshly initialised weights; `state_dict` names are node names.

        It maps (N, C, H, W) to (N, K) where the planned output is a vector, else to a volume. Raises ShapeError.
        """
        from .torch_engine import build

        return build(self, seed=seed, init=init)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The layers in the order they run."""
        return tuple(_Lowering().run(self.chain))

    @cached_property
    def side_outputs(self) -> dict[str, float]:
        """The ends of side branches (AUX), which training learns from too, and the weights of their losses."""
        return {node.name: node.layer.weight for node in self.nodes if isinstance(node.layer, Auxiliary)}

    @property
    def input_shape(self) -> Shape:
        """The volume that one image fills."""
        return self.nodes[0].layer.output_shape()

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The output volume of each node. Raises ShapeError naming the node and its place in the text."""
        found: list[Shape] = []
        for node in self.nodes:
            found.append(node_shape(node, found))
        return tuple(found)

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """The volumes that a node reads."""
        return tuple(self.shapes[i] for i in node.inputs)

    def node(self, name: str) -> Node:
        """The node of that name. Raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)


def node_shape(node: Node, before: list[Shape]) -> Shape:
    """The output volume of a node, given those of all nodes before it. Raises ShapeError naming the node."""
    try:
        shape = node.layer.output_shape(*(before[i] for i in node.inputs))
        if max(shape.as_list()) > VAST:
            raise ShapeError(
                f"{node.layer} makes a volume with more than 10^18 positions along an axis, or channels",
                received=f"{shape} from {' | '.join(str(before[i]) for i in node.inputs)}",
                hint="smaller factors, or a smaller input",
            )
    except ShapeError as error:
        raise error.at(node.place) from None
    return shape


class Turn(NamedTuple):
    """A node's turn in a forward pass: its position, and those of volumes that nothing reads after it."""

    position: int
    dropped: tuple[int, ...]


def schedule(network: Network, *, training: bool) -> list[Turn]:
    """What runs in which order, for the last node's output, and in training for those of side branches (AUX) too."""
    nodes = network.nodes
    wanted = {nodes[-1].name, *(network.side_outputs if training else ())}
    ends = {k for k, node in enumerate(nodes) if node.name in wanted}
    needed = set(ends)
    for k in reversed(range(len(nodes))):
        if k in needed:
            needed.update(nodes[k].inputs)
    order = sorted(needed)
    last_use = {i: k for k in order for i in nodes[k].inputs}
    return [
        Turn(k, tuple(i for i in dict.fromkeys(nodes[k].inputs) if last_use[i] == k and i not in ends)) for k in order
    ]


def fused(network: Network) -> dict[int, int]:
    """What runs in another layer's pass when torch predicts: its position, and that of the layer whose pass it is.

    A convolution or FC takes in the normalization behind it, and the RELU behind that, where nobody else reads what
    lies between.
    """
    nodes = network.nodes
    turns = schedule(network, training=False)
    readers = Counter(i for k, _ in turns for i in nodes[k].inputs)
    found: dict[int, int] = {}
    for k, _ in turns:
        layer, before = nodes[k].layer, next(iter(nodes[k].inputs), None)
        if before is None or readers[before] != 1:
            continue
        host = found.get(before, before)
        follows = isinstance(layer, BatchNorm) and host == before
        follows |= isinstance(layer, ReLU) and not isinstance(nodes[before].layer, ReLU)
        if follows and isinstance(nodes[host].layer, Conv | FullyConnected):
            found[k] = host
    return found


class _Lowering:
    """Turns a chain with branches into nodes in running order, naming them on the way."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.seen: Counter[str] = Counter()

    def run(self, chain: Chain) -> list[Node]:
        self._chain(chain, ())
        return self.nodes

    def _chain(self, chain: Chain, source: tuple[int, ...]) -> tuple[int, ...]:
        for item in chain:
            if isinstance(item, Step):
                source = self._node(item.layer, source, item.at)
            else:
                ends = [self._chain(arm, source) for arm in item.arms]
                joined = self._node(item.join, tuple(i for end in ends for i in end), item.at)
                source = source if isinstance(item.join, Auxiliary) else joined
        return source

    def _node(self, layer: Layer, inputs: tuple[int, ...], at: Span | None) -> tuple[int, ...]:
        op = layer.op.lower()
        self.seen[op] += 1
        name = op if op == "input" else f"{op}{self.seen[op]}"
        self.nodes.append(Node(name, layer, inputs, at))
        return (len(self.nodes) - 1,)


def layers_of(chain: Chain) -> Iterator[Layer]:
    """Every layer of a chain, branches included, in running order."""
    for item in chain:
        if isinstance(item, Step):
            yield item.layer
        else:
            for arm in item.arms:
                yield from layers_of(arm)
            yield item.join
