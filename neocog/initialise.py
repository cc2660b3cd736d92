"""Starting weights: each method is one formula for the spread of a weight's random values (fact A4).

With n_in inputs to one output value and n_out outputs from one input value, weights are drawn from a normal
distribution of mean 0 and standard deviation

| method   | standard deviation     | source                                                            |
|----------|------------------------|-------------------------------------------------------------------|
| zeros    | 0                      | fails: filters that start equal stay equal                        |
| gaussian | 0.01                   | Krizhevsky et al., 2012; fails in deep networks, signals fade out |
| he       | sqrt(2 / n_in)         | He et al., arXiv 1502.01852: keeps the forward signal's size      |
| he-out   | sqrt(2 / n_out)        | likewise: keeps the backward signal's size                        |
| xavier   | sqrt(2 / (n_in + n_out)) | Glorot and Bengio, 2010                                         |
| lecun    | sqrt(1 / n_in)         | LeCun et al., "Efficient backprop", 1998                          |

Biases and everything else that is not a weight start at the value their layer declares.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .errors import NeocogError
from .layer import Parameter
from .network import Network

METHODS: dict[str, Callable[[int, int], float]] = {
    "zeros": lambda n_in, n_out: 0.0,
    "gaussian": lambda n_in, n_out: 0.01,
    "he": lambda n_in, n_out: (2.0 / n_in) ** 0.5,
    "he-out": lambda n_in, n_out: (2.0 / n_out) ** 0.5,
    "xavier": lambda n_in, n_out: (2.0 / (n_in + n_out)) ** 0.5,
    "lecun": lambda n_in, n_out: (1.0 / n_in) ** 0.5,
}
"""Standard deviation of a weight by (n_in, n_out)."""


def initialise(network: Network, seed: int = 0, method: str = "he") -> dict[str, NDArray[np.float32]]:
    """All arrays of a network at the start of training, by `<node>.<parameter>`, in float32.

    An array depends on the seed and on its place among the network's arrays, and on nothing else: adding a
    layer at the end leaves the weights before it as they were. Raises NeocogError for an unknown method and
    ShapeError when the network does not fit its input.
    """
    if method not in METHODS:
        raise NeocogError("there is no such initialiser", received=method, hint=", ".join(METHODS))
    if seed < 0:
        raise NeocogError("a seed is a whole number from 0", received=str(seed))
    parameters = {
        f"{node.name}.{name}": parameter
        for node in network.nodes
        for name, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }
    return {
        name: _start(parameter, method, np.random.Generator(np.random.PCG64([seed, index])))
        for index, (name, parameter) in enumerate(parameters.items())
    }


def _start(parameter: Parameter, method: str, rng: np.random.Generator) -> NDArray[np.float32]:
    if parameter.fan is None:
        return np.array(np.broadcast_to(np.asarray(parameter.value, np.float32), parameter.shape))
    std = METHODS[method](*parameter.fan)
    if std == 0.0:
        return np.zeros(parameter.shape, np.float32)
    weights = rng.standard_normal(parameter.shape, np.float32)
    weights *= np.float32(std)  # in place: VGG-16 has half a gigabyte of them
    return weights
