"""Network -> stages: what one pass over memory does, with what follows it in the same kernel.

A convolution or fully connected layer takes the activation function and the max pooling behind it into its stage, where
nothing else reads the volumes between. Batch normalization, sums of branches, shortcuts, concatenation and activation
functions by themselves are all one thing, a `Blend` of what other stages gave: `ADD[ ... -> BN | ID ] -> RELU` is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..layer import Shape, Window
from ..layers import Conv
from ..layers.deconv import Deconv
from ..network import Network, Node
from .elementary import ActivationCode, activation
from .endings import Ending
from .layout import Margins, extent

PASSED_ON = ("INPUT", "FLATTEN", "ID")
POOLING = ("POOL", "AVGPOOL", "L2POOL", "GAP", "SUBSAMPLE", "FILTER", "STOPOOL")
LIMITED = {"POOL": "max", "STOPOOL": "stochastic"}
"""Pooling that keeps the number of a position, and what it is called."""
SINGLE = (
    *("RBF", "LOCAL", "DECONV", "UPSAMPLE", "SPP", "PRELU", "GELU", "SILU", "SOFTMAX"),
    *("DROPOUT", "LRN", "LCN", "GROUPNORM", "AUX"),
)
DRAWING = ("DROPOUT", "STOPOOL")
"""Layers that draw random numbers in training."""
BLENDING = ("BN", "ADD", "CONCAT", "SHORTCUT")
LARGEST_WINDOW = 49
"""Positions in a window of those, whose code is written out one by one."""


@dataclass(frozen=True)
class Frame:
    """A window in two dimensions; a 1-D one has a single row."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @classmethod
    def of(cls, window: Window) -> Frame:
        """The frame of a layer's window."""
        if len(window.kernel) == 1:
            return cls((1, window.kernel[0]), (1, window.stride[0]), (0, window.padding[0]), (1, window.dilation[0]))
        pairs = (window.kernel, window.stride, window.padding, window.dilation)
        return cls(*((pair[0], pair[1]) for pair in pairs))

    def margins(self, size: tuple[int, int], outputs: tuple[int, int]) -> Margins:
        """The zeros that it reads around a volume of that size."""
        after = [
            max(0, (n - 1) * s + (f - 1) * d + 1 - p - h)
            for n, s, f, d, p, h in zip(
                outputs, self.stride, self.kernel, self.dilation, self.padding, size, strict=True
            )
        ]
        return Margins(self.padding[0], self.padding[1], after[0], after[1])


@dataclass(frozen=True)
class Input:
    """The images."""

    output: Shape
    sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class Weighted:
    """A convolution or fully connected layer with its ending.

    `source` is the position of the stage it reads, as everywhere here; the input itself is stage 0.
    """

    node: Node
    source: int
    inputs: Shape
    sums: Shape
    output: Shape
    frame: Frame
    ending: Ending

    @property
    def sources(self) -> tuple[int, ...]:
        """The one stage it reads."""
        return (self.source,)

    @property
    def sees_all(self) -> bool:
        """Whether its one window is the whole volume it reads, as that of FC is."""
        frame, single = self.frame, self.groups == 1 and self.sums.positions == 1
        return single and frame.kernel == extent(self.inputs) and frame.padding == (0, 0)

    @property
    def bias(self) -> bool:
        """Whether the layer has a bias."""
        return bool(getattr(self.node.layer, "bias", False))

    @property
    def groups(self) -> int:
        """Groups of channels that are convolved apart."""
        return self.node.layer.groups if isinstance(self.node.layer, Conv) else 1


@dataclass(frozen=True)
class Term:
    """What a blend reads of one stage: its channels, added to those of the output from `first` on.

    `norm` is the batch normalization that they go through; of a shortcut only every `stride`-th position is read.
    """

    source: int
    channels: int
    first: int = 0
    norm: Node | None = None
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Blend:
    """The sum of some terms, then an activation function."""

    node: Node
    terms: tuple[Term, ...]
    output: Shape
    activation: ActivationCode | None

    @property
    def sources(self) -> tuple[int, ...]:
        """A stage for each term."""
        return tuple(term.source for term in self.terms)


@dataclass(frozen=True)
class Pool:
    """Windows over each channel by itself, then an activation function.

    One that stands before max pooling is put behind it: it rises, so the largest value stays the largest. Then fewer
    values go through it, and what was pooled need not be kept for the way back.
    """

    node: Node
    source: int
    inputs: Shape
    output: Shape
    frame: Frame
    activation: ActivationCode | None = None

    @property
    def sources(self) -> tuple[int, ...]:
        """The one stage it reads."""
        return (self.source,)

    @property
    def tiles(self) -> bool:
        """Whether every value it reads is in exactly one window."""
        return _side_by_side(self.frame, extent(self.inputs), extent(self.output))


@dataclass(frozen=True)
class Single:
    """A layer that is a stage by itself; its word says which part runs it."""

    node: Node
    source: int
    inputs: Shape
    output: Shape

    @property
    def sources(self) -> tuple[int, ...]:
        """The one stage it reads."""
        return (self.source,)


Stage = Input | Weighted | Blend | Pool | Single


def uncovered(network: Network) -> str:
    """The first layer that this engine has no kernels for, and why; empty where it has them all."""
    for node in network.nodes[1:]:
        if reason := _reason(network, node) or _behind_flatten(network, node):
            return f"{reason} ({node.name})"
    if network.shapes[-1].positions != 1:
        return f"no loss for a network that ends in a map ({network.nodes[-1].name})"
    return ""


def _reason(network: Network, node: Node) -> str:
    layer = node.layer
    if layer.op == "AUX" and network.input_shapes(node)[0].positions != 1:
        return "no loss for a side output that is a map"
    if layer.op in ("CONV", "FC", *PASSED_ON, *BLENDING, *SINGLE) or activation(layer):
        return ""
    if layer.op in POOLING:
        window = Frame.of(_window(node, network.input_shapes(node)[0])).kernel
        if layer.op in LIMITED and window[0] * window[1] > LARGEST_WINDOW:
            return f"no kernel for {LIMITED[layer.op]} pooling over more than {LARGEST_WINDOW} positions"
        return ""
    return f"no kernel for {layer.op}"


def _behind_flatten(network: Network, node: Node) -> str:
    """A vector that FLATTEN made is only read by FC, which reads the volume itself."""
    if node.layer.op in ("FC", "FLATTEN", "ID"):
        return ""
    for k in node.inputs:
        before = network.nodes[k]
        while before.layer.op in ("ID", "FLATTEN"):
            if before.layer.op == "FLATTEN" and network.input_shapes(before)[0].positions > 1:
                return f"no kernel for {node.layer.op} behind FLATTEN"
            before = network.nodes[before.inputs[0]]
    return ""


def stages_of(network: Network) -> list[Stage]:
    """The stages of a network that is covered, in running order."""
    return _Reader(network).stages


def scored(network: Network) -> int:
    """The stage that gives the network's scores."""
    return _Reader(network).source(len(network.nodes) - 1)


class _Reader:
    """Goes through the nodes of a network and makes its stages."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.readers = Counter(i for node in network.nodes for i in node.inputs)
        self.stages: list[Stage] = [Input(network.shapes[0])]
        self.stage_of: dict[int, int] = {0: 0}
        self.taken = {*self._taken_by_sums(), *self._taken_by_pooling()}
        k = 1
        while k < len(network.nodes):
            last = k if k in self.taken or network.nodes[k].layer.op in PASSED_ON else self._stage(k)
            k = last + 1

    def _taken_by_sums(self) -> Iterable[int]:
        """Normalizations and shortcuts that only a sum reads: they are terms of it."""
        for node in self.network.nodes:
            if node.layer.op == "ADD":
                yield from (
                    i
                    for i in node.inputs
                    if self.readers[i] == 1 and self.network.nodes[i].layer.op in ("BN", "SHORTCUT")
                )

    def _taken_by_pooling(self) -> Iterable[int]:
        """Activation functions that only max pooling reads, unless a layer's own sums go through both."""
        nodes = self.network.nodes
        for k, node in enumerate(nodes):
            if activation(node.layer) and self._follows(k) and nodes[k + 1].layer.op == "POOL":
                after_sums = nodes[k - 1].layer.op in ("CONV", "FC") and self._follows(k - 1)
                if not (after_sums and self._tiles(k + 1)):
                    yield k

    def _stage(self, first: int) -> int:
        """Make the stage that begins at a node; the last node that it takes in."""
        op = self.network.nodes[first].layer.op
        last = self._last(first)
        if op in ("CONV", "FC"):
            made: Stage = self._weighted(first, last)
        elif op in POOLING:
            made = self._pool(first)
        elif op in SINGLE:
            made = self._single(first)
        else:
            made = self._blend(first, last)
        self.stages.append(made)
        self.stage_of[last] = len(self.stages) - 1
        return last

    def _shape(self, k: int) -> Shape:
        return self.network.shapes[k]

    def source(self, k: int) -> int:
        """The stage whose volume node k hands on."""
        return self.stage_of[k] if k in self.stage_of else self.source(self.network.nodes[k].inputs[0])

    def _last(self, first: int) -> int:
        """The last node that a stage takes in: of activation and tiling pooling what it can have, in either order."""
        op = self.network.nodes[first].layer.op
        able = {"activation", "pool"} if op in ("CONV", "FC") else {"activation"} if op in BLENDING else set()
        last = first
        while self._follows(last) and last + 1 not in self.taken:
            layer = self.network.nodes[last + 1].layer
            kind = "activation" if activation(layer) else "pool" if self._tiles(last + 1) else None
            if kind not in able:
                break
            able.discard(kind)
            last += 1
        return last

    def _follows(self, k: int) -> bool:
        """Whether node k + 1 is all that reads node k."""
        nodes = self.network.nodes
        return k + 1 < len(nodes) and self.readers[k] == 1 and nodes[k + 1].inputs == (k,)

    def _tiles(self, k: int) -> bool:
        """Whether a node is max pooling whose windows lie side by side and cover its input."""
        node = self.network.nodes[k]
        if node.layer.op != "POOL":
            return False
        (shape,) = self.network.input_shapes(node)
        return _side_by_side(Frame.of(_window(node, shape)), extent(shape), extent(self._shape(k)))

    def _weighted(self, first: int, last: int) -> Weighted:
        """FC reads the volume as the source gives it, whether or not FLATTEN stands between."""
        node = self.network.nodes[first]
        source = self.source(node.inputs[0])
        inputs = self.stages[source].output
        members = [n.layer for n in self.network.nodes[first + 1 : last + 1]]
        function = next((found for layer in members if (found := activation(layer))), None)
        pools = [k for k in range(first + 1, last + 1) if self.network.nodes[k].layer.op == "POOL"]
        pool = Frame.of(_window(self.network.nodes[pools[0]], self._shape(first))).kernel if pools else (1, 1)
        frame = Frame.of(_window(node, inputs))
        return Weighted(node, source, inputs, self._shape(first), self._shape(last), frame, Ending(function, pool))

    def _pool(self, k: int) -> Pool:
        node = self.network.nodes[k]
        (inputs,) = self.network.input_shapes(node)
        function = activation(self.network.nodes[k - 1].layer) if k - 1 in self.taken else None
        frame = Frame.of(_window(node, inputs))
        return Pool(node, self.source(node.inputs[0]), inputs, self._shape(k), frame, function)

    def _single(self, k: int) -> Single:
        node = self.network.nodes[k]
        (inputs,) = self.network.input_shapes(node)
        return Single(node, self.source(node.inputs[0]), inputs, self._shape(k))

    def _blend(self, first: int, last: int) -> Blend:
        node = self.network.nodes[first]
        terms = self._terms(node) if node.layer.op in ("ADD", "CONCAT") else [self._term(first)]
        function = activation(self.network.nodes[last].layer)
        return Blend(node, tuple(terms), self._shape(last), function)

    def _terms(self, node: Node) -> list[Term]:
        """Of a sum all from channel 0 on, of a concatenation one behind the other."""
        found, channel = [], 0
        for i in node.inputs:
            if i in self.taken and node.layer.op == "ADD":
                found.append(self._term(i))
            else:
                found.append(Term(self.source(i), self._shape(i).channels, channel))
            if node.layer.op == "CONCAT":
                channel += self._shape(i).channels
        return found

    def _term(self, k: int) -> Term:
        """What a normalization, a shortcut or an activation function reads."""
        node = self.network.nodes[k]
        source = self.source(node.inputs[0])
        channels = self.stages[source].output.channels
        if node.layer.op == "BN":
            return Term(source, channels, norm=node)
        if node.layer.op == "SHORTCUT":
            (inputs,) = self.network.input_shapes(node)
            return Term(source, channels, stride=Frame.of(_window(node, inputs)).stride)
        return Term(source, channels)


def transpose_of(network: Network, node: Node) -> Weighted:
    """The convolution that a DECONV is the transpose of: it reads what that gives."""
    assert isinstance(node.layer, Deconv)  # noqa: S101
    (given,), made = network.input_shapes(node), network.shapes[network.nodes.index(node)]
    frame = Frame.of(node.layer.kernel(given.rank))
    return Weighted(node, 0, made, given, given, frame, Ending(None))


def _side_by_side(frame: Frame, size: tuple[int, int], outputs: tuple[int, int]) -> bool:
    """Whether windows cover a volume of that size without overlap."""
    covered = tuple(n * s for n, s in zip(outputs, frame.stride, strict=True))
    whole = frame.padding == (0, 0) and frame.dilation == (1, 1)
    return whole and frame.kernel == frame.stride and covered == size


def _window(node: Node, shape: Shape) -> Window:
    window = node.layer.window(shape)
    assert window is not None  # noqa: S101  # asked only of layers that have one
    return window
