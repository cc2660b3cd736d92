"""Arrays of an ONNX file: those that lie in it or beside it, and those that operators make of others before any image.

The file is a stranger's, so an array elsewhere is looked for in the file's own folder only, under a plain name, and
nothing that is made takes more memory than what it is made of.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError
from .onnx_call import Array, Call

Numbers = NDArray[Any]
FLOATING = (1, 10, 11, 16)
"""ONNX's numbers for types of numbers with a fraction."""
SMALL = 64
"""Numbers in an array that may tell a size; larger ones are weights, which inference does without."""
FILLED = 2**28
"""Numbers in an array that is one value over and over: it takes no room in the file."""


def stored(tensor: Any, folder: Path) -> Array:
    """An array of the graph, in a file in the folder. Raises ModelFileError where it is damaged or elsewhere."""
    from onnx import TensorProto, numpy_helper

    name = tensor.name[:80]
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        return Array(tensor.name, _beside(tensor, folder))
    try:
        return Array(tensor.name, numpy_helper.to_array(tensor))
    except Exception as error:  # whatever does not fit in a stranger's array
        raise ModelFileError("an array is damaged", where=name, received=str(error)[:120]) from None


def _beside(tensor: Any, folder: Path) -> Numbers:
    """The numbers of an array in another file."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    name = told.get("location", "")
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name or "\0" in name:
        raise ModelFileError(
            "arrays in other files are read where those lie beside it, under a plain name",
            where=tensor.name[:80],
            received=name[:80],
            hint="onnx.save_model(..., location=NAME), or without external data",
        )
    path = folder / name
    try:
        from onnx import helper

        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        start, count = int(told.get("offset", 0)), math.prod(tensor.dims)
        if not stat.S_ISREG(os.lstat(path).st_mode):  # a link leads elsewhere, and a pipe would wait for ever
            raise ModelFileError("this is not a regular file", where=str(path))
        if min(start, *tensor.dims, 0) < 0 or start + count * dtype.itemsize > path.stat().st_size:
            raise ModelFileError("this file is smaller than the arrays in it", where=str(path))
        return np.fromfile(path, dtype.newbyteorder("<"), count, offset=start).reshape(tuple(tensor.dims))
    except OSError as error:
        raise ModelFileError("this file is not there, and arrays are in it", where=str(path)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError("an array is damaged", where=tensor.name[:80], received=str(error)[:120]) from None


def constant(name: str, told: Mapping[str, Any], folder: Path) -> Array:
    """What a Constant gives."""
    if "value" in told and hasattr(told["value"], "data_type"):
        return Array(name, stored(told["value"], folder).values)
    values = [told[key] for key in ("value_float", "value_floats", "value_int", "value_ints") if key in told]
    if not values:
        raise ModelFileError("a constant is an array of numbers", where=name[:80])
    return Array(name, np.asarray(values[0]))


def made(call: Call) -> Array | None:
    """What an operator on arrays alone gives; None where it is none of these, or more than it is made of."""
    make = FOLDED.get(call.type)
    inputs = [one.values for one in call.inputs if isinstance(one, Array)]
    if make is None or not inputs or len(inputs) < len([one for one in call.inputs if one is not None]):
        return None
    if call.type != "ConstantOfShape" and _size(call.type, inputs) > max(SMALL, *(one.size for one in inputs)):
        return None
    name = next(one.name for one in call.inputs if isinstance(one, Array))
    return Array(name, make(call, inputs))


def _size(type_: str, inputs: list[Numbers]) -> int:
    """How many numbers a result has, before it is made."""
    if type_ == "Concat":
        return sum(one.size for one in inputs)
    if type_ == "Gather":
        return inputs[1].size * inputs[0].size
    if type_ in BETWEEN:
        return math.prod(np.broadcast_shapes(*(one.shape for one in inputs)))
    return inputs[0].size


def _reshaped(call: Call, inputs: list[Numbers]) -> Numbers:
    sizes = call.numbers("shape", 1) or []
    keeps = not call.told.get("allowzero", 0)
    return inputs[0].reshape([inputs[0].shape[k] if keeps and not n else n for k, n in enumerate(sizes)])


def _squeezed(call: Call, inputs: list[Numbers]) -> Numbers:
    axes = call.numbers("axes", 1)
    return np.squeeze(inputs[0], None if axes is None else tuple(axes))


def _cast(call: Call, inputs: list[Numbers]) -> Numbers:
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(call.told["to"])
    fraction = call.told["to"] in FLOATING and inputs[0].dtype.kind not in "iub"
    return inputs[0] if fraction else inputs[0].astype(dtype)  # weights become float32 in the end


def _sliced(call: Call, inputs: list[Numbers]) -> Numbers:
    starts, ends, axes, steps = (call.numbers(name, k) for k, name in enumerate(("starts", "ends", "axes", "steps"), 1))
    part = [slice(None)] * inputs[0].ndim
    for k, (start, end) in enumerate(zip(starts or [], ends or [], strict=True)):
        part[axes[k] if axes else k] = slice(start, end if end > -(2**31) else None, steps[k] if steps else 1)
    return inputs[0][tuple(part)]


def _filled(call: Call, inputs: list[Numbers]) -> Numbers:
    """One value over and over, without memory."""
    from onnx import numpy_helper

    value = numpy_helper.to_array(call.told["value"]) if "value" in call.told else np.zeros(1, np.float32)
    sizes = tuple(int(n) for n in inputs[0].reshape(-1))
    if min(sizes, default=0) < 0 or math.prod(sizes) > FILLED:
        raise ModelFileError(f"an array of one value has at most {FILLED:,} numbers", received=str(sizes)[:80])
    return np.broadcast_to(value.reshape(()), sizes)


BETWEEN: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": lambda x, y: x // y if x.dtype.kind in "iu" else x / y,
}
"""Operators between two arrays."""
FOLDED: Mapping[str, Callable[[Call, list[Numbers]], Numbers]] = {
    "Identity": lambda call, inputs: inputs[0],
    "Cast": _cast,
    "Transpose": lambda call, inputs: inputs[0].transpose(call.told.get("perm")),
    "Reshape": _reshaped,
    "Flatten": lambda call, inputs: inputs[0].reshape(math.prod(inputs[0].shape[: call.told.get("axis", 1)]), -1),
    "Squeeze": _squeezed,
    "Unsqueeze": lambda call, inputs: np.expand_dims(inputs[0], tuple(call.numbers("axes", 1) or ())),
    "Concat": lambda call, inputs: np.concatenate(inputs, call.told["axis"]),
    "ConstantOfShape": _filled,
    "Gather": lambda call, inputs: np.take(inputs[0], inputs[1], call.told.get("axis", 0)),
    "Slice": _sliced,
    "Floor": lambda call, inputs: np.floor(inputs[0]),
    "Ceil": lambda call, inputs: np.ceil(inputs[0]),
    "Neg": lambda call, inputs: -inputs[0],
    "Sqrt": lambda call, inputs: np.sqrt(inputs[0]),
    "Reciprocal": lambda call, inputs: 1 / inputs[0],
    **dict.fromkeys(BETWEEN, lambda call, inputs: BETWEEN[call.type](*inputs)),
}
"""By ONNX's name."""
