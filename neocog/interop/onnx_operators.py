"""Operators of ONNX under the names and arguments that ATen has for them, so that one table recognises both.

Each function takes a `Call` and gives the operation. What ATen has no counterpart for keeps its own name, and is
refused where layers are recognised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..errors import NeocogError
from . import onnx_windows as windows
from .onnx_arrays import FLOATING, made
from .onnx_call import Array, Call, Value, single
from .onnx_scales import taken_in
from .torch_graph import Operation, Stored

NO_BOUND = 3e38
"""What old files write for no upper bound: the largest number of single precision."""


def translated(call: Call) -> Value:
    """What an operator gives. Raises NeocogError for an option that says nothing in ATen."""
    make = OPERATORS.get(call.type)
    try:
        if not any(isinstance(one, Operation) for one in call.inputs):
            return made(call) or call.op(call.type)  # read only where it tells a size, which is known already
        return make(call) if make else call.op(call.type)
    except NeocogError as error:
        raise error if error.where else error.at(call.where) from None


def _gemm(call: Call) -> Operation:
    if call.told.get("transA", 0):
        raise NeocogError("FC multiplies vectors by weights", received="Gemm with transA=1", hint="transA=0")
    weight, bias = call.stored(1, turned=not call.told.get("transB")), call.stored(2, flat=True)
    for array, factor in ((weight, call.told.get("alpha", 1.0)), (bias, call.told.get("beta", 1.0))):
        if isinstance(array, Stored) and factor != 1:
            array.tensor.mul_(factor)
    if isinstance(bias, Stored) and bias.tensor.numel() == 1:
        bias = replace(bias, tensor=bias.tensor.expand(call.shape[-1]))
    return call.op("linear", weight=weight, bias=bias)


def _matmul(call: Call) -> Operation:
    return call.op("linear", weight=call.stored(1, turned=True), bias=None)


def _add(call: Call) -> Operation:
    """A sum of volumes; or biases, where numbers stand behind weights."""
    x, y = (call.input(k) for k in ((0, 1) if isinstance(call.input(0), Operation) else (1, 0)))
    other = _operand(y)
    return taken_in(call) or (
        call.op("alias", input=x) if other == 0 else call.op("add", input=x, other=other, alpha=1)
    )


def _operand(value: Value) -> Any:
    """A number by itself as that number, other arrays as what a module stores."""
    if isinstance(value, Array):
        if value.values.size == 1:
            return single(value.values.reshape(()))
        return Stored(value.name, torch.from_numpy(np.array(value.values, np.float32)), learned=False)
    return value


def _sum(call: Call) -> Operation:
    total, *others = call.inputs
    for k, other in enumerate(others):
        told = {"input": total, "other": other, "alpha": 1}
        total = Operation("add", told, call.shape, call.where, call.position - len(others) + k)
    return call.op("alias", input=total)


def _mul(call: Call) -> Operation:
    if (scaled := taken_in(call)) is not None:
        return scaled
    order = (0, 1) if isinstance(call.input(0), Operation) else (1, 0)
    x, y = (_operand(call.input(k)) for k in order)
    if y == 1:
        return call.op("alias", input=x)
    for gate, value in ((x, y), (y, x)):
        if isinstance(gate, Operation) and gate.name == "sigmoid" and gate["input"] is value:
            return call.op("silu", input=value)
    product = call.op("mul", input=x, other=y)
    if (value := _gelu_of(product)) is not None:
        return call.op("gelu", input=value, approximate="none")
    return product


def _gelu_of(product: Operation) -> Operation | None:
    """x, if a product is x (1 + erf(x / sqrt 2)) / 2, however its factors are ordered."""
    volumes, share = _factors(product)
    if len(volumes) != 2 or not math.isclose(share, 0.5, rel_tol=1e-6):
        return None
    for x, sum_ in (volumes, reversed(volumes)):
        erf = sum_["input"] if sum_.name == "add" and sum_["other"] == 1 else None
        if isinstance(erf, Operation) and erf.name == "erf":
            inner, scale = _factors(erf["input"])
            if inner == [x] and math.isclose(scale, math.sqrt(0.5), rel_tol=1e-5):
                return x
    return None


def _factors(value: Any) -> tuple[list[Operation], float]:
    """What is multiplied, through products and quotients by numbers: volumes, and the product of numbers."""
    if isinstance(value, Operation) and value.name == "mul":
        (left, a), (right, b) = _factors(value["input"]), _factors(value["other"])
        return [*left, *right], a * b
    if isinstance(value, Operation) and value.name == "div" and isinstance(value["other"], float):
        volumes, number = _factors(value["input"])
        return volumes, number / value["other"]
    return ([], value) if isinstance(value, float) else ([value], 1.0)


def _between(name: str) -> Callable[[Call], Operation]:
    """An operation on two operands, of which the second may be numbers."""
    return lambda call: taken_in(call) or call.op(name, other=_operand(call.input(1)), alpha=1)


def _batch_norm(call: Call) -> Operation:
    return call.op(
        "batch_norm",
        weight=call.stored(1),
        bias=call.stored(2),
        running_mean=call.stored(3, learned=False),
        running_var=call.stored(4, learned=False),
        training=bool(call.told.get("training_mode", 0)),
        momentum=round(1 - call.told.get("momentum", 0.9), 6),
        eps=single(call.told.get("epsilon", 1e-5)),
    )


def _instance_norm(call: Call) -> Operation:
    given = {"weight": call.stored(1), "bias": call.stored(2), "running_mean": None, "use_input_stats": True}
    return call.op("instance_norm", **given, eps=single(call.told.get("epsilon", 1e-5)))


def _group_norm(call: Call) -> Operation:
    """Before opset 21 it has a scale and a shift for each group."""
    groups, given = call.told.get("num_groups", 1), [call.stored(1), call.stored(2)]
    if call.opset < 21 and all(isinstance(one, Stored) and one.tensor.numel() == groups for one in given):
        given = [replace(one, tensor=one.tensor.repeat_interleave(call.shape[1] // groups)) for one in given]
    eps = single(call.told.get("epsilon", 1e-5))
    return call.op("group_norm", weight=given[0], bias=given[1], num_groups=groups, eps=eps)


def _response_norm(call: Call) -> Operation:
    names = {"size": 0, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}
    size, alpha, beta, bias = (single(call.told.get(name, default)) for name, default in names.items())
    return call.op("local_response_norm", size=int(size), alpha=alpha, beta=beta, k=bias)


def _softmax(call: Call) -> Operation:
    axis = call.told.get("axis", 1 if call.opset < 13 else -1)
    if call.opset < 13 and math.prod(call.shape[2:]) > 1:
        raise NeocogError("this Softmax goes over all axes from one on, as before opset 13", hint="opset 13 or later")
    return call.op("softmax" if call.type == "Softmax" else "log_softmax", dim=axis)


def _clip(call: Call) -> Operation:
    low, high = call.numbers("min", 1), call.numbers("max", 2)
    bounded = high and high[0] < NO_BOUND
    return call.op("clamp", min=low[0] if low else None, max=high[0] if high and bounded else None)


def _dropout(call: Call) -> Operation:
    ratio, training = call.numbers("ratio", 1), call.numbers("training_mode", 2)
    return call.op("dropout", p=single(ratio[0] if ratio else 0.5), train=bool(training and training[0]))


def _over(name: str) -> Callable[[Call], Operation]:
    return lambda call: call.op(name, dim=call.numbers("axes", 1))


def _slice(call: Call) -> Operation:
    """One axis after another; the last is what the operator gives."""
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    axes, steps = call.numbers("axes", 3), call.numbers("steps", 4)
    if starts is None or ends is None:
        raise NeocogError("a slice begins and ends somewhere", where=call.where)
    x: Any = call.input(0)
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis, step = axes[k] if axes else k, steps[k] if steps else 1
        shape = list(x.shape)
        begin, stop, stride = slice(start, end, step).indices(x.shape[axis])
        shape[axis] = len(range(begin, stop, stride))
        told = {"input": x, "dim": axis, "start": begin, "end": stop, "step": step}
        x = Operation("slice", told, tuple(shape), call.where, call.position - len(starts) + 1 + k)
    last: Operation = replace(x, shape=call.shape)  # which shows a slice of the batch
    return last


def _named(name: str, **arguments: Any) -> Callable[[Call], Operation]:
    return lambda call: call.op(name, **arguments)


def _adaptive(how: str) -> Callable[[Call], Operation]:
    return lambda call: call.op(f"adaptive_{how}_pool{call.rank}d")


OPERATORS: Mapping[str, Callable[[Call], Value]] = {
    "Conv": windows.conv,
    "ConvTranspose": windows.transposed,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.avg_pool,
    "GlobalAveragePool": _adaptive("avg"),
    "GlobalMaxPool": _adaptive("max"),
    **dict.fromkeys(("Resize", "Upsample"), windows.resize),
    "Pad": windows.pad,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sum": _sum,
    "Sub": _between("sub"),
    "Div": _between("div"),
    "Mul": _mul,
    "Concat": lambda call: call.op("cat", input=list(call.inputs), dim=call.told.get("axis", 1)),
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "GroupNormalization": _group_norm,
    "LRN": _response_norm,
    "Relu": _named("relu"),
    "LeakyRelu": lambda call: call.op("leaky_relu", negative_slope=single(call.told.get("alpha", 0.01))),
    "PRelu": lambda call: call.op("prelu", weight=call.stored(1, flat=True)),
    "Sigmoid": _named("sigmoid"),
    "Tanh": _named("tanh"),
    "Erf": _named("erf"),
    "Gelu": lambda call: call.op("gelu", approximate=call.told.get("approximate", b"none").decode()),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    "Clip": _clip,
    "Dropout": _dropout,
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _named("reshape")),
    "Transpose": lambda call: call.op("permute", dims=[*call.told.get("perm", ())]),
    "ReduceMean": _over("mean"),
    "ReduceMax": _over("amax"),
    "Slice": _slice,
    "Identity": _named("alias"),
    "Cast": lambda call: call.op("alias" if call.told.get("to") in FLOATING else "cast"),
}
"""By ONNX's name."""
