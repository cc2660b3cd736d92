"""Single operations that are layers: what ATen calls them, and which of their arguments the notation can say.

Each function takes one operation and gives the layer it is, or raises a NeocogError about the argument that no layer
has. It takes nothing on trust: an option that would change a value or a size is read or refused, never dropped. What
slides a window is in `windows.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..errors import NeocogError
from ..layer import Layer, Shape
from ..layers.add import Add
from ..layers.batchnorm import BatchNorm
from ..layers.concat import Concat
from ..layers.dropout import Dropout
from ..layers.fc import FullyConnected
from ..layers.flatten import Flatten
from ..layers.gelu import GELU
from ..layers.groupnorm import GroupNorm
from ..layers.lrelu import LeakyReLU
from ..layers.lrn import LocalResponseNorm
from ..layers.prelu import PReLU
from ..layers.relu import ReLU
from ..layers.softmax import Softmax
from ..spelling import write_dims
from .torch_graph import Operation, Stored


@dataclass(frozen=True, eq=False)
class Recognised:
    """The layer that an operation is, the operations whose results it reads, and its arrays by our names.

    Without a layer the one input passes on unchanged.
    """

    layer: Layer | None
    inputs: tuple[Operation, ...]
    arrays: Mapping[str, Stored] = field(default_factory=dict)


def volume(op: Operation) -> Shape:
    """The volume of one image that an operation gives: (N, C, H, W) is HxWxC, (N, C) a vector without axes."""
    return Shape(op.shape[2:], op.shape[1])


def same(op: Operation) -> Recognised:
    """The volume as it is."""
    return Recognised(None, (op["input"],))


def moved(op: Operation) -> Recognised:
    """Nothing: another device or precision is no part of a network."""
    if (dtype := op.arguments.get("dtype")) is not None and not dtype.is_floating_point:
        raise NeocogError("volumes hold numbers with a fraction", received=str(dtype))
    return same(op)


def by_itself(layer: Layer) -> Callable[[Operation], Recognised]:
    """A recogniser for operations whose every argument but the input is what the layer always does."""
    return lambda op: Recognised(layer, (op["input"],))


def arrays(op: Operation, *names: str, learned: bool = True) -> dict[str, Stored]:
    """Arrays of the module among the arguments, by name; those left out are left out.

    Raises NeocogError for one that the module does not store, or does not learn where it is to be `learned`.
    """
    found = {name: op[name] for name in names if op[name] is not None}
    for name, value in found.items():
        if not isinstance(value, Stored) or value.learned != learned:
            raise NeocogError(
                f"the {name} of {op.name} is not a {'parameter' if learned else 'buffer'} of the module",
                received=value.name if isinstance(value, Stored) else f"the result of {value.name}",
                hint="an nn.Parameter; remove_parametrizations of torch.nn.utils.parametrize undoes weight_norm",
            )
    return found


def linear(op: Operation) -> Recognised:
    """`FC`."""
    found = arrays(op, "weight", "bias")
    if len(op["input"].shape) != 2:
        raise NeocogError(
            "a linear layer is FC where it reads a vector; here it goes over the last axis of a volume",
            received=f"an input of {len(op['input'].shape)} axes",
            hint="nn.Flatten() before it, or a convolution of kernel size 1",
        )
    return Recognised(FullyConnected(op.shape[1], bias="bias" in found), (op["input"],), found)


def batch_norm(op: Operation) -> Recognised:
    """`BN`."""
    if op["running_mean"] is None or op["training"]:
        raise NeocogError(
            "BN normalizes by running statistics at prediction; this one uses the batch's",
            hint="track_running_stats=True",
        )
    if getattr(op.owner, "momentum", 0.1) is None:
        raise NeocogError(
            "BN's running statistics move by a fixed share", received="momentum=None", hint="momentum=0.1"
        )
    found = _scale_and_shift(op)
    statistics = arrays(op, "running_mean", "running_var", learned=False)
    return Recognised(BatchNorm(op["eps"], op["momentum"], affine=bool(found)), (op["input"],), found | statistics)


def group_norm(op: Operation) -> Recognised:
    """`GROUPNORM`."""
    found = _scale_and_shift(op)
    return Recognised(GroupNorm(op["num_groups"], op["eps"], affine=bool(found)), (op["input"],), found)


def instance_norm(op: Operation) -> Recognised:
    """`GROUPNORM` with as many groups as channels."""
    if op["running_mean"] is not None or not op["use_input_stats"]:
        raise NeocogError("GROUPNORM keeps no running statistics", hint="track_running_stats=False")
    found = _scale_and_shift(op)
    return Recognised(GroupNorm(op.shape[1], op["eps"], affine=bool(found)), (op["input"],), found)


def _scale_and_shift(op: Operation) -> dict[str, Stored]:
    found = arrays(op, "weight", "bias")
    if len(found) == 1:
        raise NeocogError(f"{op.name} has both a scale and a shift or neither", received=f"only a {next(iter(found))}")
    return found


def response_norm(op: Operation) -> Recognised:
    """`LRN` across maps, where it is one operation; its alpha is n times ours."""
    n = op["size"]
    return Recognised(LocalResponseNorm(n, op["k"], shortest(op["alpha"], n), op["beta"]), (op["input"],))


def shortest(total: float, parts: int) -> float:
    """The number with the fewest digits that times `parts` is `total`: what somebody wrote, not what division left."""
    candidates = (float(f"{total / parts:.{digits}g}") for digits in range(1, 17))
    return next((value for value in candidates if math.isclose(value * parts, total, rel_tol=1e-15)), total / parts)


def gelu(op: Operation) -> Recognised:
    """`GELU` by the normal distribution."""
    if op["approximate"] != "none":
        raise NeocogError("GELU is not approximated", received=f"approximate={op['approximate']}", hint="nn.GELU()")
    return Recognised(GELU(), (op["input"],))


def leaky_relu(op: Operation) -> Recognised:
    """`LRELU`."""
    return Recognised(LeakyReLU(float(op["negative_slope"])), (op["input"],))


def prelu(op: Operation) -> Recognised:
    """`PRELU`, with one slope for each channel."""
    found = arrays(op, "weight")
    slopes, channels = found["weight"].tensor.numel(), op.shape[1]
    if slopes != channels:
        raise NeocogError("PRELU learns a slope for each channel", received="one for all", hint=f"nn.PReLU({channels})")
    return Recognised(PReLU(), (op["input"],), found)


def clamp(op: Operation) -> Recognised:
    """`RELU`, written as a lower bound of 0."""
    if op["min"] != 0 or op.arguments.get("max") is not None:
        bounds = f"from {op['min']} to {op.arguments.get('max')}"
        raise NeocogError("a clamp is RELU where it only keeps values from 0 up", received=bounds, hint="nn.ReLU()")
    return Recognised(ReLU(), (op["input"],))


def softmax(op: Operation) -> Recognised:
    """`SOFTMAX` over channels."""
    if op["dim"] % len(op.shape) != 1:
        raise NeocogError("SOFTMAX goes over channels", received=f"dim={op['dim']}", hint="dim=1")
    return Recognised(Softmax(), (op["input"],))


def dropout(op: Operation) -> Recognised:
    """`DROPOUT`, which does nothing at prediction."""
    if op["train"]:
        raise NeocogError(
            "this dropout drops values at prediction too", received="training=True", hint="training=self.training"
        )
    return Recognised(Dropout(float(op["p"])), (op["input"],))


def reshape(op: Operation) -> Recognised:
    """Nothing where a volume keeps its shape or a vector gains or loses axes of size 1; else `FLATTEN`."""
    x = op["input"]
    vector = len(op.shape) >= 2 and op.shape[0] == x.shape[0] and set(op.shape[2:]) <= {1}
    if op.shape == x.shape or (vector and op.shape[1] == x.shape[1]):
        return same(op)
    if vector:
        return Recognised(Flatten(), (x,))
    raise NeocogError(
        f"{op.name} is read where it makes a volume a vector",
        received=f"{write_dims(x.shape[1:])} to {write_dims(op.shape[1:])}, channels first",
        hint="torch.flatten(x, 1)",
    )


def add(op: Operation) -> Recognised:
    """`ADD` of two volumes of one shape."""
    x, y = op["input"], op["other"]
    if not isinstance(y, Operation) or x.shape != y.shape or op["alpha"] != 1:
        other = write_dims(y.shape[1:]) if isinstance(y, Operation) else getattr(y, "name", y)
        raise NeocogError(
            "ADD sums volumes of one shape",
            received=f"{write_dims(x.shape[1:])} and {other}",
            hint="shapes that are equal",
        )
    return Recognised(Add(), (x, y))


def concatenation(op: Operation) -> Recognised:
    """`CONCAT` along channels."""
    parts = tuple(op["input"])
    if op["dim"] % len(op.shape) != 1 or not all(isinstance(part, Operation) for part in parts):
        raise NeocogError("CONCAT stacks volumes along channels", received=f"dim={op['dim']}", hint="dim=1")
    return Recognised(Concat() if len(parts) > 1 else None, parts)
