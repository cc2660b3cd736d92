"""Runtimes that take ONNX: the model's own graph, handed over in memory."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..export.onnx_file import onnx_bytes
from ..model import Model
from .base import BFLOAT16, FLOAT32, INT8, Runtime


def _graph(model: Model) -> bytes:
    return onnx_bytes(model, inside=False)


def _missing(module: str, model: Model) -> str:
    """Why a runtime cannot take a model: it is not installed, or the model has no such graph."""
    if find_spec("onnx") is None or find_spec(module) is None:
        return f"{module} is not installed: pip install 'neocog[export]'"
    try:
        onnx_able(model)
    except NeocogError as error:
        return error.rule
    return ""


def onnx_able(model: Model) -> None:
    """Raise NeocogError for a model that is no ONNX graph."""
    from ..export.onnx_layers import translation

    for node in model.network.nodes:
        translation(node)


class OnnxRuntime(Runtime):
    """Microsoft's ONNX Runtime on the CPU. It runs the content of an export too, as it was written."""

    name = "onnxruntime"

    def __init__(self, model: Model, dtype: str, batch: int = 1) -> None:
        self._open(_graph(model), reads_bytes=False)

    @classmethod
    def of(cls, content: bytes, *, reads_bytes: bool) -> OnnxRuntime:
        """Of a graph that is known to be sound."""
        made = cls.__new__(cls)
        made._open(content, reads_bytes=reads_bytes)
        return made

    def _open(self, content: bytes, *, reads_bytes: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        self.reads_bytes = reads_bytes
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    @classmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """Anything but float32; int8 comes by `quantised`, which needs images."""
        return _missing(cls.name, model) if dtype in (FLOAT32, INT8) else f"no products of {dtype}"

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """One run of the session."""
        y: NDArray[np.float32] = self._session.run(None, {self._input: x})[0]
        return y


class OpenVINORuntime(Runtime):
    """Intel's OpenVINO on the CPU, compiled for a batch of one size, which is a little faster, until another comes."""

    name = "openvino"

    def __init__(self, model: Model, dtype: str, batch: int = 1) -> None:
        self._model, self._dtype = model, dtype
        self._compile(batch)

    def _compile(self, size: int | None) -> None:
        """For batches of that size, or of any."""
        import openvino

        core = openvino.Core()
        hint = {"INFERENCE_PRECISION_HINT": "bf16" if self._dtype == BFLOAT16 else "f32", "PERFORMANCE_HINT": "LATENCY"}
        graph = core.read_model(_graph(self._model), b"")
        if size is not None:
            shape = graph.inputs[0].partial_shape
            shape[0] = size
            graph.reshape(shape)
        self._size, self._compiled = size, core.compile_model(graph, "CPU", hint)
        self._request = self._compiled.create_infer_request()

    @classmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """Whole numbers."""
        return _missing(cls.name, model) if dtype in (FLOAT32, BFLOAT16) else f"no products of {dtype}"

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """One request, which reads x where it is; its own memory is used again, so what it gives is copied."""
        if self._size not in (None, len(x)):
            self._compile(None)
        found = self._request.infer([np.ascontiguousarray(x)], share_inputs=True, share_outputs=True)
        return np.array(found[0], np.float32)
