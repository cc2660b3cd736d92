"""Starting weights: each method is one formula for the spread of a weight's random values (fact A4).

With n_in inputs to one output value and n_out outputs from one input value, weights are drawn from a normal
distribution of mean 0 and standard deviation

| method   | standard deviation     | source                                                            |
|----------|------------------------|-------------------------------------------------------------------|
| auto     | g / sqrt(n_in)         | g = sqrt(2), as `he`, where a rectifier is the next activation    |
|          |                        | function, and 1, as `lecun`, before others and for scores         |
| zeros    | 0                      | fails: filters that start equal stay equal                        |
| gaussian | 0.01                   | Krizhevsky et al., 2012; fails in deep networks, signals fade out |
| he       | sqrt(2 / n_in)         | He et al., arXiv 1502.01852: keeps the forward signal's size      |
| he-out   | sqrt(2 / n_out)        | likewise: keeps the backward signal's size                        |
| xavier   | sqrt(2 / (n_in + n_out)) | Glorot and Bengio, 2010                                         |
| lecun    | sqrt(1 / n_in)         | LeCun et al., "Efficient backprop", 1998                          |
| dirac    | sqrt(1 / n_in)         | but CONV's first filters hand their channels on as they are: a 1  |
|          |                        | in the middle (Zagoruyko and Komodakis, arXiv 1706.00388); the    |
|          |                        | last layer's are a quarter, so that no class is sure at first     |

`whitened` makes the first convolution from training images instead.

Biases and everything else that is not a weight start at the value their layer declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .errors import NeocogError
from .layer import Parameter
from .network import Network

METHODS: dict[str, Callable[[int, int, float], float]] = {
    "auto": lambda n_in, n_out, gain: gain / n_in**0.5,
    "zeros": lambda n_in, n_out, gain: 0.0,
    "gaussian": lambda n_in, n_out, gain: 0.01,
    "he": lambda n_in, n_out, gain: (2.0 / n_in) ** 0.5,
    "he-out": lambda n_in, n_out, gain: (2.0 / n_out) ** 0.5,
    "xavier": lambda n_in, n_out, gain: (2.0 / (n_in + n_out)) ** 0.5,
    "lecun": lambda n_in, n_out, gain: (1.0 / n_in) ** 0.5,
    "dirac": lambda n_in, n_out, gain: (1.0 / n_in) ** 0.5,
}
"""Standard deviation of a weight by (n_in, n_out) and the gain of the activation function behind it."""
LAST = 0.25
"""Of the spread, for the last layer of `dirac`."""
WHITENING = 5e-4
"""Added to the variance of each direction, so that those with hardly any are not blown up."""


def initialise(network: Network, seed: int = 0, method: str = "auto") -> dict[str, NDArray[np.float32]]:
    """All arrays of a network at the start of training, by `<node>.<parameter>`, in float32.

    What is drawn for an array depends on the seed and on its place among the network's arrays alone: a layer added at
    the end leaves the weights before it as they were, but for the gain of an activation function. Raises NeocogError
    for an unknown method and ShapeError when the network does not fit its input.
    """
    if method not in METHODS:
        raise NeocogError("there is no such initialiser", received=method, hint=", ".join(METHODS))
    if seed < 0:
        raise NeocogError("a seed is a whole number from 0", received=str(seed))
    gains = _gains(network)
    parameters = {
        f"{node.name}.{name}": (parameter, gain)
        for node, gain in zip(network.nodes, gains, strict=True)
        for name, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }
    weights = {
        name: _start(parameter, method, gain, np.random.Generator(np.random.PCG64([seed, index])))
        for index, (name, (parameter, gain)) in enumerate(parameters.items())
    }
    if method == "dirac":
        for node in network.nodes:
            if node.layer.op == "CONV":
                _hand_on(weights[f"{node.name}.weight"])
        for name in [name for name, (parameter, _) in parameters.items() if parameter.fan][-1:]:
            weights[name] *= np.float32(LAST)
    return weights


def _gains(network: Network) -> list[float]:
    """For each node, the gain of the activation function that its output meets next; 1 where weights or the end do.

    Where branches meet several, it is the largest.
    """
    ahead = [1.0] * len(network.nodes)
    for k in range(len(network.nodes) - 1, 0, -1):
        node = network.nodes[k]
        weighted = any(p.fan for p in node.layer.parameters(*network.input_shapes(node)).values())
        met = (1.0 if weighted else ahead[k]) if node.layer.gain is None else node.layer.gain
        for read in node.inputs:
            ahead[read] = max(ahead[read], met)
    return ahead


def _hand_on(weight: NDArray[np.float32]) -> None:
    """Have filter k of (out, in, F...) copy input channel k, for as many as there are of both."""
    middle = tuple(n // 2 for n in weight.shape[2:])
    for k in range(min(weight.shape[:2])):
        weight[k] = 0.0
        weight[k, k, *middle] = 1.0


def whitened(network: Network, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    r"""The first convolution's weight from images x (N, C, H, W), as the network reads them: it whitens their patches.

    With P = V diag(l) V^T the second moments of F x F patches, side by side in the images, filter k is
    v_k / sqrt(l_k + 5e-4), the largest l first, and as many again are their negatives, so that nothing is lost behind a
    ReLU or a GELU.

    Raises NeocogError unless the first layer is CONV with two filters for each of (at most) C F F directions.
    Source: Page, "How to train your ResNet 8", 2019; the negatives are those of tysam-code/hlb-CIFAR10.
    """
    first = network.nodes[1] if len(network.nodes) > 1 else network.nodes[0]
    shape = (
        dict(first.layer.parameters(*network.input_shapes(first)))["weight"].shape if first.layer.op == "CONV" else ()
    )
    directions = math.prod(shape[1:])
    if len(shape) != 4 or shape[0] % 2 or shape[0] > 2 * directions:
        raise NeocogError(
            "whitening needs a first convolution of two filters for each direction that patches of its size have",
            where=first.name,
            received=first.layer.token,
            hint="CONV2-24(P=0) first, for colour images",
        )
    count = shape[0] // 2
    rows, columns = (n // f for n, f in zip(x.shape[2:], shape[2:], strict=True))
    tiled = x[:, :, : rows * shape[2], : columns * shape[3]].reshape(len(x), -1, rows, shape[2], columns, shape[3])
    patches = tiled.transpose(0, 2, 4, 1, 3, 5).reshape(-1, directions)
    values, vectors = np.linalg.eigh((patches.T @ patches / len(patches)).astype(np.float64))
    filters = (vectors / np.sqrt(values + WHITENING)).T[::-1][:count].reshape(count, *shape[1:])
    return {f"{first.name}.weight": np.concatenate([filters, -filters]).astype(np.float32)}


def _start(parameter: Parameter, method: str, gain: float, rng: np.random.Generator) -> NDArray[np.float32]:
    if parameter.fan is None:
        return np.array(np.broadcast_to(np.asarray(parameter.value, np.float32), parameter.shape))
    std = METHODS[method](*parameter.fan, gain)
    if std == 0.0:
        return np.zeros(parameter.shape, np.float32)
    weights = rng.standard_normal(parameter.shape, np.float32)
    weights *= np.float32(std)  # in place: VGG-16 has half a gigabyte of them
    return weights
