"""A model from any file that holds one: what training wrote, or an export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import ModelFileError
from ..model import Model, load


def open_model(path: str | Path, *, trust: bool = False) -> Model:
    """The model in a `.safetensors` file, or an export (`.onnx`, `.pt2`) with the runtime that computes it.

    A `.pt2` file is opened only where it is trusted: torch runs what is in it. Raises ModelFileError for a damaged or
    foreign file, and for an export whose runtime is not installed.
    """
    target = Path(path)
    match target.suffix.lower():
        case ".onnx":
            return _onnx(target)
        case ".pt2":
            from .with_program import open_program

            return open_program(target, trust=trust)
    return load(target)


def _onnx(path: Path) -> Model:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        hint = "pip install 'neocog[export]'"
        raise ModelFileError("an ONNX file needs onnx and onnxruntime", where=str(path), hint=hint) from None
    from ..export.onnx_file import read_onnx
    from .with_onnx import OnnxRuntime

    export = read_onnx(path)
    return replace(export.model, runtime=OnnxRuntime.of(export.content, reads_bytes=export.reads_bytes))
