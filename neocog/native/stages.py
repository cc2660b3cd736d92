"""Network -> stages: what one pass over memory does, with what follows it in the same kernel.

A convolution or fully connected layer takes the activation function and the max pooling behind it into its stage, where
nothing else reads the volumes between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..layer import Shape, Window
from ..layers import Conv
from ..network import Network, Node
from .elementary import activation
from .endings import Ending
from .layout import Margins, extent

PASSED_ON = ("INPUT", "FLATTEN", "ID")


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
class Stage:
    """A weighted layer with its ending. `source` is the position of the stage it reads; the input itself is stage 0."""

    node: Node
    source: int
    inputs: Shape
    sums: Shape
    output: Shape
    frame: Frame
    ending: Ending

    @property
    def bias(self) -> bool:
        """Whether the layer has a bias."""
        return bool(getattr(self.node.layer, "bias", False))

    @property
    def groups(self) -> int:
        """Groups of channels that are convolved apart."""
        return self.node.layer.groups if isinstance(self.node.layer, Conv) else 1


@dataclass(frozen=True)
class Input:
    """The images."""

    output: Shape


def uncovered(network: Network) -> str:
    """The first layer that this engine has no kernels for, and why; empty where it has them all."""
    for first, _ in _runs(network):
        node = network.nodes[first]
        if reason := _reason(node) or _behind_flatten(network, node):
            return f"{reason} ({node.name})"
    if network.shapes[-1].positions != 1:
        return f"no loss for a network that ends in a map ({network.nodes[-1].name})"
    return ""


def _reason(node: Node) -> str:
    layer = node.layer
    if isinstance(layer, Conv):
        return "no kernel for a connection table" if layer.table else ""
    if layer.op == "FC":
        return ""
    if activation(layer) or layer.op == "POOL":
        return (
            f"no kernel for {layer.op} except behind CONV or FC, where its windows tile and nothing else reads between"
        )
    return f"no kernel for {layer.op}"


def _behind_flatten(network: Network, node: Node) -> str:
    """A vector that FLATTEN made is only read by FC, which reads the volume itself."""
    before = network.nodes[node.inputs[0]]
    while before.layer.op in ("ID", "FLATTEN"):
        if before.layer.op == "FLATTEN" and node.layer.op != "FC" and network.input_shapes(before)[0].positions > 1:
            return f"no kernel for {node.layer.op} behind FLATTEN"
        before = network.nodes[before.inputs[0]]
    return ""


def _runs(network: Network) -> list[tuple[int, int]]:
    """The first and the last node of each stage; nodes that only pass a volume on are in none."""
    readers = Counter(i for node in network.nodes for i in node.inputs)
    found = []
    k = 1
    while k < len(network.nodes):
        last = k
        if network.nodes[k].layer.op not in PASSED_ON:
            last = _last_of_stage(network, k, readers)
            found.append((k, last))
        k = last + 1
    return found


def stages_of(network: Network) -> list[Input | Stage]:
    """The stages of a network that is covered, in running order."""
    made: list[Input | Stage] = [Input(network.shapes[0])]
    stage_of: dict[int, int] = {}
    runs = dict(_runs(network))

    def source(k: int) -> int:
        """The stage whose volume node k hands on."""
        return stage_of[k] if k in stage_of else source(network.nodes[k].inputs[0]) if network.nodes[k].inputs else 0

    for first, last in runs.items():
        read = source(network.nodes[first].inputs[0])
        made.append(_stage(network, first, last, read, made[read].output))
        stage_of[last] = len(made) - 1
    return made


def _follows(network: Network, k: int, readers: Counter[int]) -> bool:
    """Whether node k + 1 is all that reads node k."""
    return k + 1 < len(network.nodes) and readers[k] == 1 and network.nodes[k + 1].inputs == (k,)


def _last_of_stage(network: Network, first: int, readers: Counter[int]) -> int:
    """The last node that the stage of a weighted layer takes in: activation and pooling in either order, once each."""
    last, seen = first, set()
    if network.nodes[first].layer.op not in ("CONV", "FC"):
        return first
    while _follows(network, last, readers):
        layer = network.nodes[last + 1].layer
        kind = "activation" if activation(layer) else "pool" if _tiles(network, last + 1) else None
        if kind is None or kind in seen:
            break
        seen.add(kind)
        last += 1
    return last


def _tiles(network: Network, k: int) -> bool:
    """Whether a node is max pooling whose windows lie side by side and cover its input."""
    node = network.nodes[k]
    if node.layer.op != "POOL":
        return False
    (shape,) = network.input_shapes(node)
    frame = Frame.of(_window(node, shape))
    covered = tuple(n * s for n, s in zip(extent(network.shapes[k]), frame.stride, strict=True))
    return frame.kernel == frame.stride and frame.padding == (0, 0) and covered == extent(shape)


def _window(node: Node, shape: Shape) -> Window:
    window = node.layer.window(shape)
    assert window is not None  # noqa: S101  # asked only of layers that have one
    return window


def _stage(network: Network, first: int, last: int, source: int, inputs: Shape) -> Stage:
    """`inputs` is the volume as the source gives it: FC reads it so whether or not FLATTEN stands between."""
    node = network.nodes[first]
    members = [n.layer for n in network.nodes[first + 1 : last + 1]]
    function = next((found for layer in members if (found := activation(layer))), None)
    pools = [k for k in range(first + 1, last + 1) if network.nodes[k].layer.op == "POOL"]
    pool = Frame.of(_window(network.nodes[pools[0]], network.shapes[first])).kernel if pools else (1, 1)
    frame = Frame.of(_window(node, inputs))
    return Stage(node, source, inputs, network.shapes[first], network.shapes[last], frame, Ending(function, pool))
