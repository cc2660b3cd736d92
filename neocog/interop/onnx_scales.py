"""Numbers for each channel that stand behind weights: multiplied into them, or added to their biases.

Converters write biases and scales as operators of their own: `MatMul` and `Add`, or `BatchNormalization`, `Mul` and
`Add` as Caffe's Scale. w x + b times s, plus t, is (s w) x + (s b + t).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .onnx_call import Array, Call
from .torch_graph import Operation, Stored

OUTPUTS = {"linear": 0, "conv1d": 0, "conv2d": 0, "conv_transpose1d": 1, "conv_transpose2d": 1, "batch_norm": 0}
"""Which axis of its weights runs over an operation's channels."""
SIGNS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "Add": lambda values: values,
    "Sub": lambda values: -values,
    "Mul": lambda values: values,
    "Div": lambda values: 1 / values,
}
"""What an operator's numbers come to, added (the first two) or multiplied."""


def taken_in(call: Call) -> Operation | None:
    """The operation before it with an operator's numbers in its weights; None where that is not what it is."""
    order = (0, 1) if isinstance(call.input(0), Operation) or call.type in ("Sub", "Div") else (1, 0)
    x, y = (call.input(k) for k in order)
    if not isinstance(x, Operation) or not isinstance(y, Array) or x.name not in OUTPUTS or not call.alone[order[0]]:
        return None
    weight, bias = x.arguments["weight"], x.arguments["bias"]
    stored = isinstance(weight, Stored) and (bias is None or isinstance(bias, Stored))
    if not stored or not _of_channels(x, y.values) or (y.values.size == 1 and bias is not None):
        return None  # a single number may be part of a pattern, such as SCALEDTANH
    numbers = torch.from_numpy(SIGNS[call.type](np.array(y.values, np.float32).reshape(-1)))
    told: dict[str, Stored] = {}
    if call.type in ("Mul", "Div"):
        along = [1] * weight.tensor.dim()
        along[OUTPUTS[x.name]] = -1
        told["weight"] = replace(weight, tensor=weight.tensor * numbers.reshape(along))
        if bias is not None:
            told["bias"] = replace(bias, tensor=bias.tensor * numbers)
    else:
        own = call.stored(order[1], flat=True)
        told["bias"] = replace(own if bias is None else bias, tensor=numbers if bias is None else bias.tensor + numbers)
    return replace(x, arguments={**x.arguments, **told})


def _of_channels(x: Operation, values: NDArray[Any]) -> bool:
    """Whether numbers are one for each channel of what an operation gives."""
    along = (*(1,) * (len(x.shape) - values.ndim), *values.shape)
    return along == (1, x.shape[1], *(1,) * (len(x.shape) - 2))
