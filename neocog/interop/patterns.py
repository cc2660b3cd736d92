"""Several operations that are one layer: what torch takes apart, and what people write by hand.

Each function takes the last of the operations, looks at those before it, and gives the layer, or None where it is
something else. The operations in between may be read by others too: nothing is removed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from ..layers.fc import FullyConnected
from ..layers.groupnorm import GroupNorm
from ..layers.lrn import LocalResponseNorm
from ..layers.scaledtanh import AMPLITUDE, SLOPE, ScaledTanh
from ..layers.shortcut import Shortcut
from ..layers.spp import SpatialPyramid
from ..layers.subsample import Subsample
from ..spelling import Dims, uniform
from .operations import Recognised, arrays, shortest
from .torch_graph import Operation, Stored
from .windows import fitted

# what `F.local_response_norm` does to x before it divides by it, the last operation first
ACROSS_IMAGES = ("pow", "add", "mul", "view", "squeeze", "avg_pool3d", "pad", "view", "mul")
ACROSS_SEQUENCES = ("pow", "add", "mul", "squeeze", "avg_pool2d", "pad", "unsqueeze", "mul")
LAST = {3: [0, 2, 1], 4: [0, 2, 3, 1]}
"""How axes are turned so that channels come last, by how many there are."""


def behind(op: Any, *names: str) -> list[Operation]:
    """The operations of these names that led to one another, the last first; none where they are others."""
    found: list[Operation] = []
    for name in names:
        if not isinstance(op, Operation) or op.name != name:
            return []
        found.append(op)
        op = op["input"]
    return found


def response_norm_across(op: Operation) -> Recognised | None:
    """`LRN`, as `nn.LocalResponseNorm` computes it. Its alpha is n times ours."""
    x, divisor = op["input"], op["other"]
    images = len(op.shape) == 4
    steps = behind(divisor, *(ACROSS_IMAGES if images else ACROSS_SEQUENCES))
    if not steps or not _square_of(steps[-1], x):
        return None
    power, shift, scale = steps[:3]
    pooled = next(step for step in steps if step.name.startswith("avg_pool"))
    n = pooled["kernel_size"][0]
    if steps[-3]["pad"][-2:] != [n // 2, (n - 1) // 2] or not _is_power_of(power, shift, scale):
        return None
    alpha = shortest(float(scale["other"]), n)
    return Recognised(LocalResponseNorm(n, float(shift["other"]), alpha, float(power["exponent"])), (x,))


def response_norm_within(op: Operation) -> Recognised | None:
    """`LRN(REGION=within)`: x * (k + alpha * sum of squares)^-beta."""
    x = op["input"]
    steps = behind(op["other"], "pow", "add", "mul")
    sums = window_sums(steps[-1]["input"]) if steps else None
    if sums is None or not _square_of(sums.input, x):
        return None
    n = sums.kernel[0]
    plain = set(sums.kernel) == {n} and set(sums.stride) == {1} and set(sums.padding) == {n // 2}
    power, shift, scale = steps
    if not plain or not _is_power_of(power, shift, scale):
        return None
    k, alpha, beta = float(shift["other"]), float(scale["other"]), -float(power["exponent"])
    return Recognised(LocalResponseNorm(n, k, alpha, beta, "within"), (x,))


def scaled_tanh(op: Operation) -> Recognised | None:
    """`SCALEDTANH`: 1.7159 tanh(2x/3)."""
    steps = behind(op, "mul", "tanh", "mul")
    if not steps or not (_is(steps[0]["other"], AMPLITUDE) and _is(steps[2]["other"], SLOPE)):
        return None
    return Recognised(ScaledTanh(), (steps[2]["input"],))


def shortcut(op: Operation) -> Recognised | None:
    """`SHORTCUT`: every S-th position, as slices, and zero maps behind the others, as padding."""
    rank = len(op.shape) - 2
    x, added = op, 0
    if rank < 1:
        return None
    if op.name == "pad":
        ends = [*op["pad"], *(0,) * (2 * rank + 2 - len(op["pad"]))]
        added = ends.pop(2 * rank + 1)
        if any(ends) or added < 0 or op["mode"] != "constant" or op["value"] not in (None, 0):
            return None
        x = op["input"]
    stride = [1] * rank
    while isinstance(x, Operation) and x.name == "slice":
        axis, source = x["dim"] % len(op.shape), x["input"]
        whole = not x["start"] and (x["end"] is None or x["end"] >= source.shape[axis])
        if not whole or (axis < 2 and x["step"] != 1):
            return None
        if axis >= 2:
            stride[axis - 2] *= x["step"]
        x = source
    if not added and set(stride) == {1}:
        return Recognised(None, (x,))  # x[:]
    return Recognised(Shortcut(op.shape[1], uniform(tuple(stride))), (x,))


def group_norm_of_rows(op: Operation) -> Recognised | None:
    """`GROUPNORM`, as ONNX had it before an operator of its own: instance normalization of groups laid in rows.

    Scale and shift of each channel stand behind it, or neither.
    """
    shift = behind(op, "add", "mul")
    rows = behind(shift[1]["input"] if shift else op, "reshape", "instance_norm", "reshape")
    if not rows or rows[2]["input"].shape != op.shape or len(rows[1].shape) != 3:
        return None
    ones, zeros = rows[1]["weight"], rows[1]["bias"]
    if not all(isinstance(one, Stored) for one in (ones, zeros)) or ones.tensor.ne(1).any() or zeros.tensor.ne(0).any():
        return None
    x, groups = rows[2]["input"], rows[1].shape[1]
    layer = GroupNorm(groups, rows[1]["eps"], affine=bool(shift))
    if not shift:
        return Recognised(layer, (x,))
    found = {"weight": shift[1]["other"], "bias": shift[0]["other"]}
    if not all(isinstance(one, Stored) and one.tensor.numel() == op.shape[1] for one in found.values()):
        return None
    return Recognised(layer, (x,), {name: _learned(one) for name, one in found.items()})


def _learned(array: Stored) -> Stored:
    """A number for each channel as a parameter."""
    return replace(array, tensor=array.tensor.reshape(-1), learned=True)


def linear_of_channels_last(op: Operation) -> Recognised | None:
    """`FC` on a volume that is flattened channels last: its weights in our order."""
    steps = behind(op["input"], "reshape", "permute") or behind(op["input"], "flatten", "permute")
    steps = steps or behind(op["input"], "view", "clone", "permute")
    if not steps or not isinstance(op["weight"], Stored):
        return None
    x, weight = steps[-1]["input"], op["weight"].tensor
    rank = len(x.shape)
    if [d % rank for d in steps[-1]["dims"]] != LAST.get(rank) or weight.shape[1:] != (math.prod(x.shape[1:]),):
        return None
    ours = weight.reshape(-1, *x.shape[2:], x.shape[1]).movedim(-1, 1).flatten(1)
    told = {**op.arguments, "weight": replace(op["weight"], tensor=ours)}
    plain = Operation("linear", told, op.shape, op.where, op.position)
    found = arrays(plain, "weight", "bias")
    return Recognised(FullyConnected(op.shape[1], bias="bias" in found), (x,), found)


def spatial_pyramid(op: Operation) -> Recognised | None:
    """`SPP`: adaptive max poolings of one volume, flattened and put in a row."""
    parts = [
        part for part in op["input"] if isinstance(part, Operation) and part.name in ("flatten", "view", "reshape")
    ]
    pools = [part["input"] for part in parts if part["input"].name.startswith("adaptive_max_pool")]
    if len(pools) < len(op["input"]) or len(op.shape) != 2 or any(len(set(pool.shape[2:])) > 1 for pool in pools):
        return None
    x = pools[0]["input"]
    if any(pool["input"] is not x for pool in pools):
        return None
    return Recognised(SpatialPyramid(tuple(pool.shape[2] for pool in pools)), (x,))


def subsample(op: Operation) -> Recognised | None:
    """`SUBSAMPLE`: window sums, times a weight and plus a bias for each map."""
    sums = window_sums(op["tensor2"])
    stored = {"weight": op["tensor1"], "bias": op["input"]}
    if sums is None or op["value"] != 1 or not all(behind(value, "view") for value in stored.values()):
        return None
    if not all(isinstance(value["input"], Stored) for value in stored.values()):
        return None
    plain = Operation(
        "addcmul", {name: value["input"] for name, value in stored.items()}, op.shape, op.where, op.position
    )
    layer = Subsample(uniform(sums.kernel), uniform(sums.stride), uniform(sums.padding))
    return Recognised(fitted(layer, sums.input, op), (sums.input,), arrays(plain, "weight", "bias"))


class WindowSums(NamedTuple):
    """Sums over windows: an average pooling that divides by 1."""

    input: Operation
    kernel: Dims
    stride: Dims
    padding: Dims


def window_sums(op: Any) -> WindowSums | None:
    """The sums that an operation gives, if it does; for sequences torch has them as images of one row."""
    row = behind(op, "squeeze", "avg_pool2d", "unsqueeze")
    pool = row[1] if row else op
    if not behind(pool, "avg_pool2d") or pool["divisor_override"] != 1:
        return None
    sizes = (tuple(pool[name])[1 if row else 0 :] for name in ("kernel_size", "stride", "padding"))
    kernel, stride, padding = sizes
    return WindowSums(row[2]["input"] if row else pool["input"], kernel, stride or kernel, padding)


def _square_of(op: Operation, x: Operation) -> bool:
    return op.name == "mul" and op["input"] is x and op["other"] is x


def _is_power_of(power: Operation, shift: Operation, scale: Operation) -> bool:
    """Whether the three are (k + alpha * ...)^beta with plain numbers."""
    values = (power["exponent"], shift["other"], scale["other"])
    return shift["alpha"] == 1 and all(isinstance(value, int | float) for value in values)


def _is(value: Any, number: float) -> bool:
    """Whether a value is that number, as precisely as files of single precision have it."""
    return isinstance(value, int | float) and math.isclose(value, number, rel_tol=1e-6)
