"""A torch module read into the notation: its network, and its weights under the network's names.

>>> from torch import nn
>>> from neocog.interop import from_torch
>>> module = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1176, 10))
>>> network, weights = from_torch(module, "28x28x1")
>>> print(network)
INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> FC10
>>> list(weights)
['conv1.weight', 'conv1.bias', 'fc1.weight', 'fc1.bias']
"""

from __future__ import annotations

from torch import nn

from ..errors import NeocogError
from ..layer import Shape
from ..network import Network
from ..notation import parse
from .imported import Imported, as_network, imported
from .torch_graph import record


def from_torch(module: nn.Module, shape: Shape | str) -> Imported:
    """The network that a module is for images of a shape, with copies of its weights.

    `shape` is one image's, as in INPUT: `"224x224x3"`, height x width x channels, or `"100x8"` for sequences. The
    network gives what the module gives in evaluation mode; (N, K, 1, 1) counts as (N, K). The module is left as it was.
    Raises what `network_of` raises, and NeocogError for weights that have no values.
    """
    return imported(record(module, shape_of(shape)))


def network_of(module: nn.Module, shape: Shape | str) -> Network:
    """The same without the weights, which need not even exist: a module on the `meta` device has none.

    Raises NeocogError naming the place in the module: for an operation that is no layer, a forward pass that depends on
    values, weights used twice, branches that cross, and an input that the module does not take.
    """
    return as_network(record(module, shape_of(shape)))[0]


def shape_of(text: Shape | str) -> Shape:
    """A shape, or what INPUT says between its brackets. Raises NeocogError for anything else."""
    if isinstance(text, Shape):
        return text
    if not isinstance(text, str):
        raise NeocogError(
            "the size of an image is a text, as in INPUT",
            received=repr(text),
            hint='"224x224x3", height x width x channels',
        )
    return parse(f"INPUT[{text}]").input_shape
