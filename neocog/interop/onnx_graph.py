"""An ONNX file as operations linked to those whose results they read: the same that a pass of a torch module gives.

The file is a stranger's. Its parts are counted before it is parsed; subgraphs, functions and arrays in other files are
refused; sizes are those that ONNX's own inference tells. Nothing in it is run.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError, NeocogError
from ..files import first_bytes, said_of
from ..layer import Shape
from .onnx_call import Array, Call
from .onnx_operators import translated
from .torch_graph import BATCH, Operation
from .wire import fields

LARGEST = 2**31
"""Bytes of one protobuf message."""
PARTS, BESIDE = 200_000, 2**24
"""How many operators and arrays a graph may have, and how many bytes all may take that are no numbers of arrays."""
MODEL_GRAPH, GRAPH_ARRAY, NUMBERS = 7, 5, (4, 5, 7, 9, 10, 11)
"""Numbers of fields in ONNX's messages: a model's graph, a graph's arrays, the numbers of an array."""
SOUND_IR = 8
"""A version of the format in which arrays need not be inputs too."""
APART = 1000
"""Between the positions of operators, some of which are several operations."""
SMALL = 64
"""Numbers in an array that may tell a size; larger ones are weights, which inference does without."""


def read(path: Path, shape: Shape | None) -> Operation:
    """The operation whose result a file's graph gives, linked to all that lead to it.

    `shape` is one image's; None is the one that the file says. Raises ModelFileError for a file that cannot be used,
    and NeocogError where onnx is missing or the input's size is not known.
    """
    if find_spec("onnx") is None:
        raise NeocogError("an ONNX file needs the package onnx", hint="pip install 'neocog[export]'")
    with said_of(path):
        model = _parsed(path)
    try:
        return _Linking(model, shape).result()
    except ModelFileError as error:
        raise error.at(f"{path}, {error.where}" if error.where else str(path)) from None


def _parsed(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    first_bytes(path)
    if (size := os.stat(path).st_size) > LARGEST:
        raise ModelFileError("one ONNX file holds less than 2 GB", received=f"{size / 1e9:.1f} GB")
    content = path.read_bytes()
    _check_amount(memoryview(content))
    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError:
        raise ModelFileError("this is no ONNX file") from None


def _check_amount(message: memoryview) -> None:
    """Whether all but arrays' numbers is as little as in an honest file: parsing makes it many times larger."""
    beside = 0
    for number, part in fields(message, PARTS):
        if number != MODEL_GRAPH:
            beside += len(part)
            continue
        for kind, piece in fields(part, PARTS):
            numbers = 0
            if kind == GRAPH_ARRAY:
                numbers = sum(len(values) for field, values in fields(piece, PARTS) if field in NUMBERS)
            beside += len(piece) - numbers
    if beside > BESIDE:
        raise ModelFileError(
            f"an ONNX file has at most {BESIDE:,} bytes beside its arrays", received=f"{beside:,} bytes"
        )


class _Linking:
    """Turns the operators of a graph into operations."""

    def __init__(self, model: Any, shape: Shape | None) -> None:
        self.graph = model.graph
        self.opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=1)
        if model.functions or any(attribute.HasField("g") or attribute.graphs for attribute in self._attributes()):
            raise ModelFileError("functions and subgraphs are no layers, and were not read")
        self.values: dict[str, Operation | Array | None] = {"": None}
        for tensor in self.graph.initializer:
            self.values[tensor.name] = Array(tensor.name, _numbers(tensor))
        given = [one for one in self.graph.input if one.name not in self.values]
        if len(given) != 1 or len(self.graph.output) != 1:
            raise ModelFileError(
                "a network turns one volume into one",
                received=f"a graph of {len(given)} inputs and {len(self.graph.output)} outputs",
            )
        batch, image = _sizes(given[0], shape)
        self.batch = batch
        self.shapes = _inferred(model, given[0], (batch, image.channels, *image.spatial))
        self.values[given[0].name] = Operation("input", {}, (BATCH, image.channels, *image.spatial), "input", 0)
        self.readers = Counter(name for node in self.graph.node for name in node.input)

    def _attributes(self) -> Any:
        return (attribute for node in self.graph.node for attribute in node.attribute)

    def result(self) -> Operation:
        """The operation that gives the graph's one output."""
        for k, node in enumerate(self.graph.node, start=1):
            self.values[node.output[0]] = self._made(node, k * APART)
        found = self.values.get(self.graph.output[0].name)
        if not isinstance(found, Operation):
            raise ModelFileError("the graph's output does not depend on its input")
        return found

    def _made(self, node: Any, position: int) -> Operation | Array | None:
        from onnx import helper

        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        where = f"{node.name or node.output[0]} ({name})"
        if missing := [given for given in node.input if given not in self.values]:
            raise ModelFileError("this operator reads what nothing gives", where=where, received=missing[0][:80])
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if name == "Constant":
            return _constant(node.output[0], told)
        inputs = tuple(self.values[given] for given in node.input)
        alone = tuple(self.readers[given] == 1 for given in node.input)
        call = Call(name, where, position, inputs, alone, told, self._shape(node.output[0]), self.opset)
        try:
            return translated(call)
        except NeocogError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelFileError("this operator is damaged", where=where, received=str(error)[:120]) from None

    def _shape(self, name: str) -> tuple[int, ...]:
        """That of a result for a batch as large as those of recorded passes; empty where it is not known."""
        shape = self.shapes.get(name, ())
        return (BATCH, *shape[1:]) if shape[:1] == (self.batch,) else shape


def _sizes(given: Any, shape: Shape | None) -> tuple[int, Shape]:
    """The batch that the file is for, or any, and the shape of an image."""
    dims = [one.dim_value if one.HasField("dim_value") else 0 for one in given.type.tensor_type.shape.dim]
    if shape is None and (len(dims) not in (3, 4) or min(dims[1:]) < 1):
        shown = "x".join(str(n or "?") for n in dims)
        raise NeocogError(
            "the file does not say the size of an image, (N, C, H, W) with numbers for C, H and W",
            where=f"input {given.name[:40]}",
            received=shown,
            hint='shape="224x224x3" in Python',
        )
    batch = dims[0] if dims and dims[0] > 0 else BATCH
    return batch, shape or Shape(tuple(dims[2:]), dims[1])


def _inferred(model: Any, given: Any, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shape of every result that ONNX can tell. Weights take part by their sizes alone."""
    import onnx
    from onnx import checker, helper, shape_inference

    light = onnx.ModelProto(ir_version=SOUND_IR)
    graph = light.graph
    light.opset_import.extend(model.opset_import)
    graph.name = "sizes"
    graph.node.extend(model.graph.node)
    graph.input.append(helper.make_tensor_value_info(given.name, given.type.tensor_type.elem_type, size))
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims, dtype=object)) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for one in model.graph.output:
        graph.output.append(helper.make_tensor_value_info(one.name, one.type.tensor_type.elem_type, None))
    try:
        sized = shape_inference.infer_shapes(light, data_prop=True)
        checker.check_model(sized)
    except Exception as error:  # onnx's own, for operators that cannot stand there
        raise ModelFileError("by ONNX's own rules this graph is not sound", received=str(error)[:200]) from None
    shapes = {}
    for one in (*sized.graph.value_info, *sized.graph.output):
        dims = one.type.tensor_type.shape.dim
        if one.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[one.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _numbers(tensor: Any) -> NDArray[Any]:
    """An array that lies in the file. Raises ModelFileError for one elsewhere, or of another size than it says."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelFileError(
            "arrays in other files are not read", received=tensor.name[:80], hint="onnx.save without external data"
        )
    try:
        array: NDArray[Any] = numpy_helper.to_array(tensor)
    except Exception as error:  # whatever does not fit in a stranger's array
        raise ModelFileError("an array is damaged", where=tensor.name[:80], received=str(error)[:120]) from None
    return array


def _constant(name: str, told: Mapping[str, Any]) -> Array:
    if "value" in told and hasattr(told["value"], "data_type"):
        return Array(name, _numbers(told["value"]))
    values = [told[key] for key in ("value_float", "value_floats", "value_int", "value_ints") if key in told]
    if not values:
        raise ModelFileError("a constant is an array of numbers", where=name[:80])
    return Array(name, np.asarray(values[0]))
