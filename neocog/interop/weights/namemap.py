"""Where the arrays of a zoo network stand in another library's state dict.

A map is data: for each layer of ours that owns arrays, in running order, the prefix under which another library keeps
them. `conv1`, the first, may be `features.0` there; then `conv1.weight` is `features.0.weight`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from ...data import Preprocessing
from ...layer import Layer, Shape
from ...layers.fc import FullyConnected
from ...layers.input import Input
from ...network import Network, Node
from ...zoo import zoo

Prefix = str | tuple[str, str]
"""A layer's prefix; two for a BN whose statistics and whose trained scale are layers of their own, as in Caffe."""

KERNEL = {"weight": "kernel", "bias": "bias"}
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
"""What Keras calls our arrays."""

Signature = list[tuple[Layer, tuple[int, ...]]]


class Place(NamedTuple):
    """One of our arrays in another library's state dict, with its shape there and here."""

    name: str
    shape: tuple[int, ...]
    own_shape: tuple[int, ...]
    reversed_channels: bool
    """Whether its second axis runs over blue, green and red there, for our red, green and blue."""
    last: tuple[int, ...] = ()
    """Where channels come last there: its axes of positions, of inputs and of outputs; else nothing."""


class Photographs(NamedTuple):
    """How a network's makers prepared images: mean and deviation on a scale of 0 to 1, the share of a side kept."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: float = 0.875


IMAGENET = Photographs((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""torchvision's figures."""
SYMMETRIC = Photographs((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""Values from -1 to 1, as the Inception networks were trained on."""


@dataclass(frozen=True)
class NameMap:
    """The arrays of one zoo network as one library names them.

    `as_convolutions` are prefixes of FC layers kept as convolutions over the whole volume, (K, C, H, W) for our
    (K, C*H*W). `photographs` is None where the names do not say how images were prepared. `bgr` is for networks whose
    input is blue, green, red. `aside` says what else such a state dict holds, by the beginning of its names, and why we
    need none of it. `note` is what a user of the weights must know. With `channels_last` kernels are (F, F, C, K) and
    FC reads rows, columns, channels, (D, K): names are Keras's then.
    """

    network: str
    layout: str
    prefixes: tuple[Prefix, ...]
    photographs: Photographs | None = IMAGENET
    bgr: bool = False
    as_convolutions: tuple[str, ...] = ()
    aside: tuple[tuple[str, str], ...] = ()
    note: str = ""
    channels_last: bool = False

    def fits(self, network: Network) -> bool:
        """Whether a network is the zoo's, but for the size of its images and how many classes it tells apart."""
        return _signature(network) == _zoo_signature(self.network)

    def places(self, network: Network) -> dict[str, Place]:
        """Where each array of a network that fits is, by our name for it."""
        owners = [node for node in network.nodes if node.layer.parameters(*network.input_shapes(node))]
        found: dict[str, Place] = {}
        for node, prefix in zip(owners, self.prefixes, strict=True):
            (x,) = network.input_shapes(node)
            shapes = {name: parameter.shape for name, parameter in node.layer.parameters(x).items()}
            turned = self.bgr and node is owners[0]
            for name, own in shapes.items():
                place = Place(f"{_owner(prefix, name)}.{name}", own, own, turned and name == "weight")
                if self.channels_last:
                    place = _with_channels_last(place, f"{prefix}/", name, shapes, node, x)
                elif prefix in self.as_convolutions and name == "weight":
                    place = place._replace(shape=(own[0], x.channels, *x.spatial))
                found[f"{node.name}.{name}"] = place
        return found

    def preprocessing(self, network: Network) -> Preprocessing | None:
        """What brings a photograph to the network's input; None where the names do not say that."""
        if self.photographs is None:
            return None
        height, width = network.input_shape.spatial
        mean, std, crop = self.photographs
        return Preprocessing((height, width), (height, width), mean, std, crop=crop)

    def expects(self, preprocessing: Preprocessing) -> str:
        """What the network's input is under this map, in words, for weights that were trained with a preprocessing."""
        scale = 255 if set(preprocessing.std) == {1 / 255} else 1
        step = -1 if self.bgr else 1
        mean = ", ".join(f"{value * scale:.6g}" for value in preprocessing.mean[::step])
        colours = "blue, green, red" if self.bgr else "red, green, blue"
        over = "" if scale == 255 else f", over {', '.join(f'{value:.6g}' for value in preprocessing.std[::step])}"
        return f"{colours} from 0 to {scale}, minus {mean}{over}"

    def why_unused(self, name: str) -> str:
        """Why an array of such a state dict is not needed; empty where that is not known."""
        if name.endswith(".num_batches_tracked"):
            return "a counter that torch's batch normalization keeps"
        return next((why for beginning, why in self.aside if name.startswith(beginning)), "")


def _with_channels_last(
    place: Place, prefix: str, name: str, shapes: Mapping[str, tuple[int, ...]], node: Node, x: Shape
) -> Place:
    """The place of an array in Keras."""
    kernel = len(shapes.get("weight", ())) > 1
    place = place._replace(name=prefix + (KERNEL if kernel else NORM)[name])
    if not kernel or name != "weight":
        return place
    outputs, inputs, *size = place.own_shape
    if isinstance(node.layer, FullyConnected):
        return place._replace(shape=(inputs, outputs), last=(*x.spatial, x.channels, outputs))
    return place._replace(shape=(*size, inputs, outputs), last=(*size, inputs, outputs))


def _owner(prefix: Prefix, name: str) -> str:
    if isinstance(prefix, str):
        return prefix
    statistics, scale = prefix
    return statistics if name.startswith("running_") else scale


def _signature(network: Network) -> Signature:
    """The layers and what each reads; of the input only its channels, and of a last FC not how many neurons."""
    last = len(network.nodes) - 1
    return [(_general(node, k == last), node.inputs) for k, node in enumerate(network.nodes)]


def _general(node: Node, last: bool) -> Layer:
    layer = node.layer
    if isinstance(layer, Input):
        shape = layer.output_shape()
        return Input(Shape((1,) * shape.rank, shape.channels))
    if isinstance(layer, FullyConnected) and last:
        return replace(layer, out_channels=1)
    return layer


@cache
def _zoo_signature(name: str) -> Signature:
    return _signature(zoo(name))
