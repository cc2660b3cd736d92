"""The runtimes there are, by name, in the order in which they are tried."""

from __future__ import annotations

from .base import Runtime
from .with_compiled_torch import CompiledTorchRuntime
from .with_native import NativeRuntime
from .with_onnx import OnnxRuntime, OpenVINORuntime
from .with_torch import TorchRuntime

RUNTIMES: dict[str, type[Runtime]] = {
    runtime.name: runtime
    for runtime in (TorchRuntime, NativeRuntime, OnnxRuntime, OpenVINORuntime, CompiledTorchRuntime)
}
