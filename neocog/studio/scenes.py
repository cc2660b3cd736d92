"""An image followed through a network with all numbers, forwards and backwards, by the reference in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..errors import NeocogError
from ..layer import Array, Shape
from ..losses import LOSSES
from ..model import Weights
from ..network import Network, Node
from ..plan.tables import size
from ..resources import available_memory
from .cells import Gradients, cell, geometry
from .pictures import flat, maps, short

T = TypeVar("T")

OVERFLOWING: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}
"""Large weights overflow; then what has no number is told as none."""
MOST_MACS = 20_000_000_000
"""Of a network that the reference follows while somebody waits for it, seconds for the largest."""
MOST_LIKELY = 10
"""Classes that are told of an answer."""
MOST_NUMBERS = 400
"""Values of a volume that is told number by number too."""
LARGE = 2**30
"""Bytes from which on following is done for one scene at a time."""
_LARGE_ONE = RLock()
PROBED, PROBE_MACS = 32, 50_000_000
"""Images among which units are looked for that never answer, and the multiplications that this may take."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One image x (1, C, H, W) in a network.

    Gradients are of the loss for the label, or for the class that the network takes the image for where there is none;
    without a loss, of the sum of all outputs.
    """

    network: Network
    weights: Weights
    x: NDArray[Any]
    loss: str | None = None
    label: int | None = None
    shown: NDArray[np.uint8] | None = None
    """The image as it looks (H, W, 1 or 3)."""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What was done to the image so that the network can take it."""
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: Any = field(default_factory=RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        check_followed(self.network)

    @property
    def bytes(self) -> int:
        """What it comes to hold, at most."""
        return effort(self.network).bytes

    @property
    def trace(self) -> reference.Trace:
        """All volumes of the forward pass. Raises NeocogError where there is no room for them any more."""
        return self._once("trace", self._forward)

    @property
    def aim(self) -> int | None:
        """The class that the loss is for; None where it is the sum of all outputs."""
        y = self.trace.output
        if self.loss is None or y.ndim != 2:
            return None
        return int(LOSSES[self.loss].posterior(y)[0].argmax()) if self.label is None else self.label

    @property
    def gradients(self) -> Gradients:
        """Of the loss: for each node's output, and for each trainable array."""
        _ = self.trace  # with which those of a large network are made
        return self._once("gradients", self._backward)

    def _forward(self) -> reference.Trace:
        check_followed(self.network, self.x.nbytes)  # another one may have taken the memory since
        return reference.forward(self.network, self.weights, self.x)

    def _backward(self) -> Gradients:
        y = self.trace.output
        if self.loss is None or self.aim is None:
            return reference.gradients(self.trace, np.ones_like(y))
        return reference.gradients(self.trace, LOSSES[self.loss].gradient(y, np.array([self.aim])))

    @np.errstate(**OVERFLOWING)
    def _once(self, name: str, make: Callable[[], T]) -> T:
        """What is made when it is first asked for; who asks meanwhile waits for it, and for no small scene's.

        Large ones are followed one at a time, forwards and backwards: two that each fit may not fit together.
        """
        with self._lock:
            if name not in self._made:
                with _LARGE_ONE if self.bytes > LARGE else nullcontext():
                    self._made[name] = made = make()
                    if name == "trace" and self.bytes > LARGE:
                        self._made["gradients"] = self._backward()
                return made
            found: T = self._made[name]
            return found

    @property
    def loss_value(self) -> float:
        """What the gradients are of."""
        y = self.trace.output
        if self.loss is None or self.aim is None:
            return float(y.sum())
        return LOSSES[self.loss].value(y, np.array([self.aim]))

    def position(self, name: str) -> int:
        """Where a node is. Raises NeocogError for another name."""
        for k, node in enumerate(self.network.nodes):
            if node.name == name:
                return k
        raise NeocogError("there is no such layer", received=name[:40])

    @np.errstate(**OVERFLOWING)
    def overview(self) -> dict[str, Any]:
        """The layers, and what the network says of the image."""
        return {
            "layers": layers_of(self.network),
            "loss": self.loss_value,
            "label": self.label,
            "notes": list(self.notes),
            "top": likeliest(self.trace.output, self.loss, self.classes),
        }

    @np.errstate(**OVERFLOWING)
    def volume(self, name: str, side: str, first: int) -> dict[str, Any]:
        """Maps of a node's output, or of the gradient for it."""
        k = self.position(name)
        values = self.trace.outputs[k][0] if side == "forward" else self.gradients[0][k][0]
        told = maps(flat(values), first)
        return told | ({"values": short(flat(values))} if values.size <= MOST_NUMBERS else {})

    @np.errstate(**OVERFLOWING)
    def cell(self, name: str, channel: int, place: tuple[int, ...], first: int = 0) -> dict[str, Any]:
        """One output value of a layer: what it is made of, and where its gradient goes. Raises NeocogError."""
        k = self.position(name)
        shape = self.network.shapes[k]
        if not 0 <= channel < shape.channels or len(place) != shape.rank:
            raise NeocogError(f"{name} has {shape.channels} channels of {shape.rank} axes")
        if any(not 0 <= at < size for at, size in zip(place, shape.spatial, strict=True)):
            raise NeocogError(f"the place is within {shape}", received="x".join(map(str, place)))
        return cell(self.trace, self.gradients, k, channel, place, first)

    @np.errstate(**OVERFLOWING)
    def layers(self, first: int, count: int, ratios: dict[str, float], dead: dict[str, float]) -> list[dict[str, Any]]:
        """What ConvNetJS shows of each layer: activations, their gradients, weights and their gradients."""
        volumes, grads = self.gradients
        found = []
        for k, node in list(enumerate(self.network.nodes))[first : first + count]:
            y, dy = self.trace.outputs[k][0], volumes[k][0]
            shape = self.network.shapes[k]
            found.append(
                {
                    "name": node.name,
                    "token": node.layer.token,
                    "output": shape.as_list(),
                    "window": self._window(node),
                    "parameters": _formula(self.network, node),
                    "activation": {"range": _range(y), "maps": maps(flat(y))},
                    "gradient": {"range": _range(dy), "maps": maps(flat(dy))},
                    "weights": [
                        _weights(name, array, grads.get(f"{node.name}.{name}"), ratios.get(f"{node.name}.{name}"))
                        for name, array in self.trace.params[k].items()
                    ],
                    "dead": dead.get(node.name),
                }
            )
        return found

    def _window(self, node: Node) -> dict[str, Any] | None:
        """Kernel, stride, padding and dilation of a layer that has them."""
        window = node.layer.window(*self.network.input_shapes(node))
        return None if window is None or node.layer.op in ("FC", "GAP", "FLATTEN") else geometry(window)


class Effort(NamedTuple):
    """What it takes to follow an image through a network: multiplications of a forward pass, and bytes."""

    macs: int
    bytes: int


@lru_cache(maxsize=64)
def effort(network: Network) -> Effort:
    """By the plan; kept, because a network that is watched is asked every second.

    In float64 there are volumes, what layers keep of them, and their gradients; weights and theirs; and, for a while,
    the windows of one layer laid out, as they are read, multiplied and given back.
    """
    totals = network.plan().totals
    weights = totals["parameters"] + totals["fixed"]
    return Effort(int(totals["macs"]), 8 * (3 * totals["volumes"] + 2 * weights + 3 * totals["im2col"]))


def check_followed(network: Network, held: int = 0) -> None:
    """Raise NeocogError for a network that takes too long, or more memory than there is beside the bytes it holds."""
    (macs, needed), free = effort(network), available_memory()
    needed -= held
    if macs > MOST_MACS:
        raise NeocogError(
            f"networks of up to {MOST_MACS:,} multiplications are followed with all numbers",
            received=f"{macs:,}",
            hint="a smaller input",
        )
    if free is not None and needed > free:
        raise NeocogError(
            "following this network with all numbers takes more memory than there is",
            received=f"{size(needed)} by the plan, {size(free)} available",
            hint="a smaller input",
        )


def layers_of(network: Network) -> list[dict[str, Any]]:
    """The layers as the page lists them."""
    return [
        {"name": n.name, "op": n.layer.op, "token": n.layer.token, "from": list(n.inputs), "output": s.as_list()}
        for n, s in zip(network.nodes, network.shapes, strict=True)
    ]


def likeliest(y: NDArray[Any], loss: str | None, classes: Sequence[str]) -> list[tuple[str, float]]:
    """The likeliest classes by scores (1, K), each with its share; empty where these are no scores of classes."""
    if loss is None or y.ndim != 2 or len(classes) not in (y.shape[1], 2):
        return []
    shares = LOSSES[loss].posterior(y)[0]
    return [(classes[k], float(shares[k])) for k in np.argsort(-shares, kind="stable")[:MOST_LIKELY]]


def dead_units(network: Network, weights: Weights, x: NDArray[Any]) -> dict[str, float]:
    """For each RELU the share of its units (channels; of a vector, its values) that are 0 for all images x."""
    count = max(1, min(PROBED, len(x), PROBE_MACS // max(1, effort(network).macs)))
    if count < 2:
        return {}
    outputs = reference.forward(network, weights, x[:count]).outputs
    return {
        node.name: float((y.max(axis=(0, *range(2, y.ndim))) <= 0).mean())
        for node, y in zip(network.nodes, outputs, strict=True)
        if node.layer.op == "RELU"
    }


def _range(values: Array) -> list[float]:
    return [float(v) for v in short(np.array([values.min(), values.max()]))]


def _formula(network: Network, node: Node) -> str:
    """`16x5x5x3+16 = 1216`; empty for a layer without parameters."""
    own = node.layer.parameters(*network.input_shapes(node))
    sizes = [p.shape for p in own.values() if p.trainable]
    written = " + ".join("x".join(map(str, shape)) for shape in sizes)
    return f"{written} = {sum(math.prod(shape) for shape in sizes):,}" if sizes else ""


def _weights(name: str, array: Array, grad: Array | None, ratio: float | None) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "shape": list(array.shape), "range": _range(array), "ratio": ratio}
    told["maps"] = maps(_filters(array))
    if grad is not None:
        told["gradient"] = {"range": _range(grad), "maps": maps(_filters(grad))}
    if array.ndim == 4:
        told["channels"] = array.shape[1]
    return told


def _filters(array: Array) -> Array:
    """Arrays of weights as maps: the kernels of each filter one after the other, a matrix and a vector as one."""
    if array.ndim == 4:
        return array.reshape(-1, *array.shape[2:])
    if array.ndim == 3:
        return array.reshape(1, -1, array.shape[2])
    return array.reshape(1, -1, array.shape[-1])


def demo(seed: int) -> Scene:
    """The convolution of the CS231n notes: 5x5x3, two filters of 3x3x3, stride 2, padding 1, small whole numbers."""
    network = Network.parse("INPUT[5x5x3] -> CONV3-2(S=2, P=1)")
    rng = np.random.default_rng(seed)
    weights = {
        "conv1.weight": rng.integers(-1, 2, (2, 3, 3, 3)).astype(np.float32),
        "conv1.bias": np.array([1, 0], np.float32),
    }
    return Scene(network, weights, rng.integers(0, 3, (1, 3, 5, 5)).astype(np.float64))


def untrained(network: Network, weights: Weights, seed: int) -> Scene:
    """Any network with its starting weights, and an image of noise."""
    shape: Shape = network.input_shape
    x = np.random.default_rng(seed).standard_normal((1, shape.channels, *shape.spatial)).round(2)
    return Scene(network, weights, x)
