"""A model as an ONNX file that any runtime takes, and such a file read again without trusting it.

The metadata key `neocog` holds what a model file holds beside its arrays: network text, classes, preprocessing, loss,
record and golden images with their outputs. A file is read in that order: its outermost fields are counted before
anything is parsed, the network's text says which graph belongs to it, and only a file with exactly that graph, and
arrays of those sizes, goes on to a runtime. So no operator, no subgraph and no path of a stranger ever runs.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Preprocessing
from ..data.resample import shares
from ..errors import ModelFileError, NeocogError
from ..files import canonical, check_finite, checksum, first_bytes, read_json, write_atomically
from ..interop.wire import fields
from ..model import FORMAT, GOLDEN, Model, described, weight_shapes
from ..network import Network
from ..reference import Weights
from .onnx_graph import IMAGES, IR_VERSION, OPSET, SCORES, Graph, Value, X
from .onnx_layers import operators

KEY = "neocog"
LARGEST = 2**31 - 2**20
"""Bytes of one protobuf message, less what is no array."""
DOCUMENT_BYTES = 64 * 2**20
PER_OPERATOR, SPARE_FIELDS, SPARE_BYTES = 2**12, 64, 2**24
"""More bytes than an operator or the description of an array takes; how many fields a file may have besides, and how
many bytes what is made before it is parsed may take besides."""


class OnnxExport(NamedTuple):
    """An ONNX file of neocog: the model that it describes, without weights; its bytes; whether it reads images; the
    arrays of its graph.
    """

    model: Model
    content: bytes
    reads_bytes: bool
    arrays: Weights


# -- writing -----------------------------------------------------------------------------------------------------


def write_onnx(model: Model, path: Path, *, inside: bool = True) -> None:
    """Write a model as ONNX. With preprocessing `inside` it takes images (N, h, w, C) as bytes, else x (N, C, H, W).

    Raises NeocogError for a model of 2 GB or more, and RunError where the file cannot be written.
    """
    write_atomically(path, onnx_bytes(model, inside=inside))


def onnx_bytes(model: Model, *, inside: bool) -> bytes:
    """The file's content."""
    graph = graph_of(model.network, model.weights, model.preprocessing if inside else None)
    size = sum(array.nbytes for array in graph.arrays.values())
    if size > LARGEST:
        hint = "--to torch, or the model file itself"
        raise NeocogError("one ONNX file holds less than 2 GB", received=f"{size / 1e9:.1f} GB of arrays", hint=hint)
    document = model.document() | {"inside": inside} | _golden_text(model)
    document["sha256"] = checksum(document, graph.arrays)
    proto = proto_of(graph, model.network, model.preprocessing if inside else None)
    proto.metadata_props.add(key=KEY, value=canonical(document))
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def graph_of(
    network: Network, weights: Weights, preprocessing: Preprocessing | None = None, *, hollow: bool = False
) -> Graph:
    """The operators and arrays of a network, from images on where there is preprocessing.

    Raises NeocogError naming the layer that has no meaning in ONNX.
    """
    graph = Graph(hollow=hollow)
    x = Value(X) if preprocessing is None else _preprocessed(graph, preprocessing)
    graph.finish(operators(network, weights, graph, x))
    return graph


def proto_of(graph: Graph, network: Network, preprocessing: Preprocessing | None = None) -> Any:
    """An `onnx.ModelProto`; of a hollow graph it has no arrays."""
    from onnx import TensorProto, helper

    shape, output = network.input_shape, network.shapes[-1]
    if preprocessing is None:
        taken = helper.make_tensor_value_info(X, TensorProto.FLOAT, ["N", shape.channels, *shape.spatial])
    else:
        size = [*preprocessing.source, preprocessing.channels]
        taken = helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["N", *size])
    size = [] if output.positions == 1 else list(output.spatial)
    given = helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["N", output.channels, *size])
    return helper.make_model(
        graph.proto(taken, given),
        producer_name="neocog",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _preprocessed(graph: Graph, preprocessing: Preprocessing) -> Value:
    """Images (N, h, w, C) as bytes become x, as `Preprocessing` has it."""
    scope, channels = "preprocessing", preprocessing.channels

    def op(type_: str, *inputs: str, **attributes: Any) -> str:
        return graph.add(type_, scope, inputs, attributes)

    def each(what: str, numbers: Any) -> str:
        return graph.constant(scope, what, np.reshape(np.asarray(numbers, np.float32), (channels, 1, 1)))

    x = op("Transpose", op("Cast", IMAGES, to=1), perm=[0, 3, 1, 2])
    if not preprocessing.fits:
        fitting, (height, width) = preprocessing.fitting, preprocessing.size
        (h, w), (top, left) = fitting.size, fitting.corner
        if fitting.repeats > 1:
            scales = graph.constant(scope, "scales", [1, 1, fitting.repeats, fitting.repeats])
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            x = op("Resize", x, "", scales, **how)
        elif (h, w) != preprocessing.source:
            rows, columns = (shares(old, new) for old, new in zip(preprocessing.source, (h, w), strict=True))
            x = op("MatMul", graph.constant(scope, "rows", rows), x)
            x = op("Round", op("MatMul", x, graph.constant(scope, "columns", columns.T)))
        if (h, w) != (height, width):
            ground = each("ground", fitting.ground)
            ends = [0, 0, top, left, 0, 0, height - h - top, width - w - left]
            padded = op("Pad", op("Sub", x, ground), graph.constant(scope, "ends", ends, np.int64))
            x = op("Add", padded, ground)
    scale, shift = preprocessing.coding
    return Value(op("Add", op("Mul", x, each("scale", scale)), each("shift", shift)))


def _golden_text(model: Model) -> dict[str, Any]:
    if model.golden is None:
        return {}
    images, outputs = (base64.b64encode(array.tobytes()).decode("ascii") for array in model.golden)
    return {"golden": {"images": images, "outputs": outputs}}


# -- reading -----------------------------------------------------------------------------------------------------


def says_it_is_ours(path: Path) -> bool:
    """Whether the metadata of a file describe a model, as neocog writes them. Raises OSError."""
    try:
        first_bytes(path)
        _document(memoryview(path.read_bytes()))
    except ModelFileError:
        return False
    return True


def read_onnx(path: Path) -> OnnxExport:
    """The export in a file, if neocog wrote it. Raises ModelFileError for any other."""
    try:
        return _read(path)
    except ModelFileError as error:
        raise error.at(str(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelFileError("this file cannot be read", where=str(path), received=reason) from None


def _read(path: Path) -> OnnxExport:
    first_bytes(path)
    if (size := os.stat(path).st_size) > LARGEST + DOCUMENT_BYTES:
        raise ModelFileError("one ONNX file holds less than 2 GB", received=f"{size / 1e9:.1f} GB")
    content = path.read_bytes()
    document, told = _document(memoryview(content))
    inside = document.get("inside") is True
    model = described(document)
    graph = _expected(model, len(content), inside=inside)
    _check_amount(memoryview(content), graph, told)
    preprocessing = model.preprocessing if inside else None
    model = replace(model, golden=_golden(document.pop("golden", None), model))
    arrays = _checked(content, proto_of(graph, model.network, preprocessing), graph, _sum(document, model))
    return OnnxExport(model, content, inside, arrays)


def _expected(model: Model, size: int, *, inside: bool) -> Graph:
    """The hollow graph that belongs to a network. What takes memory to make must all lie in the file of that size."""
    preprocessing, stored = model.preprocessing if inside else None, weight_shapes(model.network)
    numbers = sum(math.prod(one["shape"]) for one in stored.values()) + _constants(model.network, preprocessing)
    if 4 * numbers > size + SPARE_BYTES:
        raise ModelFileError("this file is smaller than the arrays of its network", received=f"{size:,} bytes")
    hollow = {name: np.broadcast_to(np.float32(0), one["shape"]) for name, one in stored.items()}
    return graph_of(model.network, hollow, preprocessing, hollow=True)


def _constants(network: Network, preprocessing: Preprocessing | None) -> int:
    """About how many numbers the graph's constants and its operators take: known before they are made."""
    found = 0
    for node, output in zip(network.nodes, network.shapes, strict=True):
        layer: Any = node.layer
        match layer.op:
            case "LOCAL":
                (x,) = network.input_shapes(node)
                found += x.channels * math.prod(layer.window(x).kernel) ** 2
            case "GROUPNORM":
                found += 2 * layer.groups
            case "AVGPOOL":
                found += output.positions
            case "SPP":
                found += PER_OPERATOR // 64 * sum(layer.levels)
    if preprocessing is not None and not preprocessing.fits:
        sizes = zip(preprocessing.source, preprocessing.fitting.size, strict=True)
        found += sum(old * new for old, new in sizes if new < old)
    return found


def _document(message: memoryview) -> tuple[dict[str, Any], int]:
    """What the metadata say, found without parsing anything else, and in how many bytes."""
    found = [bytes(part) for number, part in fields(message, SPARE_FIELDS) if number == 14]
    entries = [dict(fields(memoryview(entry), 2)) for entry in found]
    texts = [bytes(entry.get(2, b"")) for entry in entries if bytes(entry.get(1, b"")) == KEY.encode()]
    if len(texts) != 1:
        raise ModelFileError(
            "this ONNX file was not written by neocog, so it says nothing of classes and preprocessing",
            hint="a file of neocog export --to onnx",
        )
    if len(texts[0]) > DOCUMENT_BYTES:
        raise ModelFileError(f"a description has at most {DOCUMENT_BYTES:,} bytes")
    document = read_json(texts[0], "the description")
    if document.get("format") != FORMAT or canonical(document).encode() != texts[0]:
        raise ModelFileError("the description is damaged, or of another neocog")
    return document, len(texts[0])


def _check_amount(message: memoryview, graph: Graph, told: int) -> None:
    """Whether there are no more parts and bytes in the file than its network needs: before it is parsed."""
    parts = len(graph.operators) + len(graph.arrays)
    arrays = sum(array.nbytes for array in graph.arrays.values())
    if len(message) > arrays + told + PER_OPERATOR * parts:
        raise ModelFileError("there is more in this file than its network needs", received=f"{len(message):,} bytes")
    for number, part in fields(message, SPARE_FIELDS):
        if number == 7:  # the graph
            for _ in fields(part, parts + SPARE_FIELDS):
                pass


def _checked(content: bytes, expected: Any, graph: Graph, sealed: tuple[dict[str, Any], Any]) -> Weights:
    """The arrays of a file that holds exactly that graph with arrays of those sizes, as they were written."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        found = onnx.ModelProto.FromString(content)
    except DecodeError:
        raise ModelFileError("this is no ONNX file") from None
    arrays = dict(map(_array, found.graph.initializer))
    wanted = graph.arrays
    for name in sorted(wanted.keys() ^ arrays.keys()):
        raise ModelFileError("the arrays are not those of its network", received=name[:80])
    for name, array in arrays.items():
        if (array.shape, array.dtype) != (wanted[name].shape, wanted[name].dtype):
            raise ModelFileError(f"{name} does not fit the network", received=f"{array.dtype} {array.shape}")
        if name in graph.constants and not np.array_equal(array, graph.constants[name]):
            raise ModelFileError(f"{name} is not what the network's text gives")
    del found.graph.initializer[:]
    del found.metadata_props[:]
    if found != expected:
        raise ModelFileError(
            "the graph is not that of the network that the file names", hint="another copy of the file"
        )
    document, digest = sealed
    if checksum(document, arrays) != digest:
        raise ModelFileError("this is not what was exported: the checksum differs", hint="another copy of the file")
    check_finite({name: array for name, array in arrays.items() if array.dtype == np.float32})
    return arrays


def _array(tensor: Any) -> tuple[str, NDArray[Any]]:
    """An array that lies in the file itself. Raises ModelFileError for one that names another file."""
    from onnx import TensorProto

    dtype = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64}.get(tensor.data_type)
    shape = tuple(tensor.dims)
    set_ = {field.name for field, _ in tensor.ListFields()}
    whole = (
        dtype is not None
        and isinstance(tensor.name, str)
        and all(0 <= n < 2**31 for n in shape)
        and set_ <= {"dims", "data_type", "name", "raw_data"}
    )
    if not whole or len(tensor.raw_data) != np.dtype(dtype).itemsize * int(np.prod(shape, dtype=object)):
        raise ModelFileError("an array does not lie in the file as neocog writes it", received=str(tensor.name)[:80])
    return tensor.name, np.frombuffer(tensor.raw_data, dtype).reshape(shape)


def _sum(document: Mapping[str, Any], model: Model) -> tuple[dict[str, Any], Any]:
    """What the checksum is over beside arrays, and the one that was written."""
    plain = dict(document) | _golden_text(model)
    return plain, plain.pop("sha256", None)


def _golden(values: Any, model: Model) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
    if values is None:
        return None
    last, preprocessing = model.network.shapes[-1], model.preprocessing
    size = [] if last.positions == 1 else last.spatial
    try:
        images, outputs = (base64.b64decode(values[name], validate=True) for name in ("images", "outputs"))
        shape = (-1, *preprocessing.source, preprocessing.channels)
        golden = (
            np.frombuffer(images, np.uint8).reshape(shape),
            np.frombuffer(outputs, np.float32).reshape(-1, last.channels, *size),
        )
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise ModelFileError("the stored examples are damaged") from None
    if len(golden[0]) != len(golden[1]) or not 1 <= len(golden[0]) <= GOLDEN or not np.isfinite(golden[1]).all():
        raise ModelFileError("the stored examples are damaged")
    return golden
