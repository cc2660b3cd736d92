"""Products of whole numbers of eight bits, by ONNX Runtime: faster where the processor has them, and never exact.

Weights are rounded for each output channel; volumes by the range that they have on images of the user's own, the
calibration. Whether that costs answers is measured on the user's data: see `predict/beside.py`.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..export.onnx_file import onnx_bytes
from ..model import Model
from .base import quiet
from .with_onnx import OnnxRuntime

BATCH = 8


def quantised(model: Model, images: NDArray[np.uint8]) -> OnnxRuntime:
    """The model in int8, calibrated on images (N, h, w, C) of the training set's size."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with TemporaryDirectory(prefix="neocog-") as folder, quiet():
        plain, made = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
        plain.write_bytes(onnx_bytes(model, inside=False))
        quantize_static(
            str(plain),
            str(made),
            _Calibration(model, images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return OnnxRuntime.of(made.read_bytes(), reads_bytes=False)


class _Calibration:
    """Preprocessed images, a few at a time, as ONNX Runtime asks for them."""

    def __init__(self, model: Model, images: NDArray[np.uint8]) -> None:
        self._batches = iter(
            [{"x": model.preprocessing(images[k : k + BATCH])} for k in range(0, len(images) - BATCH + 1, BATCH)]
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next ones; None after the last."""
        return next(self._batches, None)
