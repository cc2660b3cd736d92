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

from ..errors import ModelFileError, NeocogError
from ..files import first_bytes, said_of
from ..layer import Shape
from ..wording import count_of
from .onnx_arrays import SMALL, constant, made, stored
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
CHANNELS_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2)}
"""How axes are turned where the file's input has channels last, by how many there are."""


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
        return _Linking(model, shape, path.parent).result()
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


DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What an operator with odd attributes or inputs ends in."""


class _Linking:
    """Turns the operators of a graph into operations."""

    def __init__(self, model: Any, shape: Shape | None, folder: Path) -> None:
        self.graph, self.folder = model.graph, folder
        self.opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=1)
        inner = (f"{node.name or node.op_type} ({node.op_type})" for node in self.graph.node if _has_graph(node))
        if (place := next(inner, "")) or model.functions:
            raise ModelFileError("functions and subgraphs are no layers, and were not read", where=place)
        self.values: dict[str, Operation | Array | None] = {"": None}
        for tensor in self.graph.initializer:
            self.values[tensor.name] = stored(tensor, folder)
        given = [one for one in self.graph.input if one.name not in self.values]
        if len(given) != 1 or len(self.graph.output) != 1:
            raise ModelFileError(
                "a network turns one volume into one",
                received=f"a graph of {count_of(len(given), 'input')} and {count_of(len(self.graph.output), 'output')}",
                hint="onnx.utils.extract_model, which cuts out what leads from one to another",
            )
        self.readers = Counter(name for node in self.graph.node for name in node.input)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.turned = self._turned(given[0])
        batch, image = _sizes(given[0], shape, channels_last=self.turned is not None)
        volume, self.batch = (image.channels, *image.spatial), batch
        taken = volume if self.turned is None else (*image.spatial, image.channels)
        self.shapes = self._sized(model, given[0], (batch, *taken))
        first = Operation("input", {}, (BATCH, *volume), "input", 0)
        self.values[given[0].name if self.turned is None else self.turned] = first

    def _turned(self, given: Any) -> str | None:
        """What the one operator that reads the input gives, if that makes channels come first; else None."""
        rank = len(given.type.tensor_type.shape.dim)
        for node in self.graph.node:
            if given.name in node.input and node.op_type == "Transpose" and self.readers[given.name] == 1:
                perm = next((tuple(one.ints) for one in node.attribute if one.name == "perm"), ())
                return "".join(node.output[:1]) if perm == CHANNELS_FIRST.get(rank) else None
        return None

    def _sized(self, model: Any, given: Any, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shape of every result that can be told.

        What a file computes of sizes, as for a reshape, becomes an array as soon as they are known, and tells more.
        """
        light = _light(model, given, size, self.values)
        shapes, found = _inferred(light), True
        while found and any(name not in shapes for node in light.graph.node for name in node.output if name):
            found = False
            for node in list(light.graph.node):
                array = self._of_sizes(node, shapes)
                if array is not None and array.values.size <= SMALL:
                    self.values[node.output[0]], found = array, True
                    light.graph.node.remove(node)
                    light.graph.initializer.append(_tensor(node.output[0], array))
            shapes = _inferred(light) if found else shapes
        _check_sound(light)
        return shapes

    def _of_sizes(self, node: Any, shapes: Mapping[str, tuple[int, ...]]) -> Array | None:
        """What an operator gives that reads sizes, or arrays made of such; None for any other."""
        if node.op_type == "Shape" and node.input[0] in shapes:
            return Array(node.output[0], np.asarray(shapes[node.input[0]], np.int64))
        if node.op_type == "Constant":
            return constant(node.output[0], _told(node), self.folder)
        known = [self.values.get(name) for name in node.input]
        if not known or not all(name in self.values for name in node.input):
            return None
        if not all(one is None or isinstance(one, Array) for one in known):
            return None
        try:
            return made(self._call(node, 0))
        except (NeocogError, *DAMAGED):  # said where the operator has its turn
            return None

    def result(self) -> Operation:
        """The operation that gives the graph's one output."""
        for k, node in enumerate(self.graph.node, start=1):
            if node.output[0] == self.turned or node.output[0] in self.values:
                continue
            self.values[node.output[0]] = self._made(node, k * APART)
            for more in filter(None, node.output[1:]):
                given = {"input": self.values[node.output[0]]}
                where = f"{node.name or more} ({node.op_type})"
                self.values[more] = Operation(f"{node.op_type}'s output {more[:40]}", given, (), where, k * APART)
        found = self.values.get(self.graph.output[0].name)
        if not isinstance(found, Operation):
            raise ModelFileError("the graph's output does not depend on its input")
        return found

    def _call(self, node: Any, position: int) -> Call:
        """An operator with what it reads."""
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        where = f"{node.name or node.output[0]} ({name})"
        if missing := [given for given in node.input if given not in self.values]:
            raise ModelFileError("this operator reads what nothing gives", where=where, received=missing[0][:80])
        inputs = tuple(self.values[given] for given in node.input)
        alone = tuple(self.readers[given] == 1 for given in node.input)
        return Call(name, where, position, inputs, alone, _told(node), self._shape(node.output[0]), self.opset)

    def _made(self, node: Any, position: int) -> Operation | Array | None:
        if node.op_type == "Constant":
            return constant(node.output[0], _told(node), self.folder)
        call = self._call(node, position)
        try:
            return translated(call)
        except NeocogError:
            raise
        except DAMAGED as error:
            raise ModelFileError("this operator is damaged", where=call.where, received=str(error)[:120]) from None

    def _shape(self, name: str) -> tuple[int, ...]:
        """That of a result for a batch as large as those of recorded passes; empty where it is not known."""
        shape = self.shapes.get(name, ())
        return (BATCH, *shape[1:]) if shape[:1] == (self.batch,) else shape


def _sizes(given: Any, shape: Shape | None, *, channels_last: bool) -> tuple[int, Shape]:
    """The batch that the file is for, or any, and the shape of an image."""
    dims = [one.dim_value if one.HasField("dim_value") else 0 for one in given.type.tensor_type.shape.dim]
    where, shown = f"input {given.name[:40]}", "x".join(str(n or "?") for n in dims)
    if len(dims) not in (3, 4) and (dims or shape is None):
        raise NeocogError(
            "a network's input is images (N, C, H, W) or sequences (N, C, L)", where=where, received=shown or "no size"
        )
    if shape is None and min(dims[1:]) < 1:
        raise NeocogError(
            "the file does not say the size of an image, (N, C, H, W) with numbers for C, H and W",
            where=where,
            received=shown,
            hint='--input 224x224x3, height x width x channels; in Python shape="224x224x3"',
        )
    batch = next((n for n in dims[:1] if n > 0), BATCH)
    if shape is not None:
        return batch, shape
    return batch, Shape(tuple(dims[1:-1]), dims[-1]) if channels_last else Shape(tuple(dims[2:]), dims[1])


def _has_graph(node: Any) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _told(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _tensor(name: str, array: Array) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(array.values, order="C"), name)


def _light(model: Any, given: Any, size: tuple[int, ...], arrays: Mapping[str, Any]) -> Any:
    """The graph for ONNX's inference, in which weights take part by their sizes alone."""
    import onnx
    from onnx import helper

    light = onnx.ModelProto(ir_version=SOUND_IR)
    graph = light.graph
    light.opset_import.extend(model.opset_import)
    graph.name = "sizes"
    graph.node.extend(model.graph.node)
    graph.input.append(helper.make_tensor_value_info(given.name, given.type.tensor_type.elem_type, size))
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims, dtype=object)) <= SMALL:
            graph.initializer.append(_tensor(tensor.name, arrays[tensor.name]))
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for one in model.graph.output:
        graph.output.append(helper.make_tensor_value_info(one.name, one.type.tensor_type.elem_type, None))
    return light


def _inferred(light: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every result that ONNX can tell."""
    from onnx import shape_inference

    try:
        sized = shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception as error:  # onnx's own
        raise _unsound(error) from None
    shapes = {}
    for one in (*sized.input, *sized.value_info, *sized.output):
        dims = one.type.tensor_type.shape.dim
        if one.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[one.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _check_sound(light: Any) -> None:
    """Whether ONNX's own checker takes the graph, of whose outputs it wants some shape."""
    from onnx import checker

    for one in light.graph.output:
        one.type.tensor_type.shape.SetInParent()
    try:
        checker.check_model(light)
    except Exception as error:  # onnx's own, for operators that cannot stand there
        raise _unsound(error) from None


def _unsound(error: Exception) -> ModelFileError:
    return ModelFileError("by ONNX's own rules this graph is not sound", received=str(error)[:200])
