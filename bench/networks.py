"""The networks of the benchmark with their batches, and a network as the plain list that peers read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neocog import Network, zoo
from neocog.layer import Layer, Shape
from neocog.layers._window import overhang
from neocog.network import Node
from neocog.plan import Plan


@dataclass(frozen=True)
class Entry:
    """A network by its text or its name in the zoo, and the batches it trains and predicts with.

    One image is predicted of every network. Large networks have small batches: a step is to take a second at most.
    """

    text: str
    training: tuple[int, ...]
    predicting: tuple[int, ...]

    def network(self) -> Network:
        return Network.parse(self.text) if "[" in self.text else zoo(self.text)


NETWORKS = {
    "convnetjs-mnist": Entry("convnetjs-mnist", (64,), (256,)),
    "lenet5-relu": Entry("lenet5-relu", (16, 64, 1024), (64, 1024)),
    "lenet5": Entry("lenet5", (64,), (256,)),
    "convnetjs-cifar10": Entry("convnetjs-cifar10", (64, 256), (256,)),
    "1-D text": Entry(
        "INPUT[100x64] -> CONV5-64 -> RELU -> POOL2 -> CONV5-64 -> RELU -> POOL2 -> FC128 -> RELU -> FC10",
        (256,),
        (256,),
    ),
    "32-32-64-64": Entry(
        "INPUT[32x32x3] -> [CONV3-32 -> RELU]*2 -> POOL2 -> [CONV3-64 -> RELU]*2 -> POOL2 -> FC10", (64, 256), (256,)
    ),
    "resnet20": Entry("resnet20", (64, 256), (256,)),
    "small VGG": Entry(
        "INPUT[32x32x3] -> CONV3-64 -> RELU -> POOL2 -> CONV3-128 -> RELU -> POOL2 -> [CONV3-256 -> RELU]*2 -> POOL2"
        " -> FC10",
        (64,),
        (64,),
    ),
    "all-cnn-c": Entry("all-cnn-c", (64,), (64,)),
    "112x112": Entry(
        "INPUT[112x112x3] -> [CONV3-64 -> RELU]*2 -> POOL2 -> CONV3-128 -> RELU -> POOL2 -> CONV3-256 -> RELU -> POOL2"
        " -> GAP -> FC10",
        (16, 32),
        (16,),
    ),
    "alexnet": Entry("alexnet", (16,), (16,)),
    "resnet18": Entry("resnet18", (8, 32), (8,)),
    "vgg11": Entry("vgg11", (4, 16), (4,)),
}


def nodes_of(network: Network) -> list[dict[str, Any]]:
    """The network as JSON values, for programs that know nothing of it.

    Each node has `op` (the layer's word), `inputs` (positions of the nodes it reads), `shape` (channels first) and
    what its layer needs: windows have `kernel`, `stride` and `pads`, the zeros before and after on each axis.
    """
    return [_node(node, network.input_shapes(node), network.shapes[k]) for k, node in enumerate(network.nodes)]


def _node(node: Node, inputs: tuple[Shape, ...], output: Shape) -> dict[str, Any]:
    layer: Any = node.layer
    plain = {name: getattr(layer, name) for name in SENT.get(layer.op, ())}
    shape = [output.channels, *output.spatial]
    return {"op": layer.op, "inputs": list(node.inputs), "shape": shape, **plain, **_window(layer, inputs, output)}


SENT = {
    "CONV": ("out_channels", "dilation", "groups", "bias", "flip", "table"),
    "AVGPOOL": ("zeros",),
    "FC": ("out_channels", "bias"),
    "BN": ("eps", "momentum", "affine"),
    "DROPOUT": ("probability",),
    "LRN": ("size", "k", "alpha", "beta", "region"),
    "SHORTCUT": ("out_channels",),
}
"""The hyper-parameters that are sent as they are."""


def _window(layer: Layer, inputs: tuple[Shape, ...], output: Shape) -> dict[str, Any]:
    if layer.op not in ("CONV", "POOL", "AVGPOOL", "SHORTCUT") or (window := layer.window(*inputs)) is None:
        return {}
    hang = overhang(inputs[0], window, output.spatial)
    pads = [[p, p + h] for p, h in zip(window.padding, hang, strict=True)]
    return {"kernel": window.kernel, "stride": window.stride, "pads": pads, "dilation": window.dilation}


def operations(plan: Plan, *, training: bool) -> int:
    """Multiplications and additions of one image.

    Training is the forward pass, the gradient of weights, and the gradient of inputs except for images.
    """
    if not training:
        return 2 * plan.totals["macs"]
    first = next(row.cost.macs for row in plan.rows if row.cost.macs)
    return 2 * (3 * plan.totals["macs"] - first)
