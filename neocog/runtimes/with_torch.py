"""Our torch module for prediction: normalizations folded into weights, weights laid out for the processor once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..model import Model
from ..torch_engine import InferenceModule, build
from ..torch_engine.device import precision
from .base import BFLOAT16, FLOAT32, Runtime


class TorchRuntime(Runtime):
    """`torch_engine/inference.py` on the CPU."""

    name = "torch"

    def __init__(self, model: Model, dtype: str, batch: int = 1) -> None:
        self.dtype = dtype
        self._module = (
            InferenceModule.of(model.network, model.weights)
            if dtype == FLOAT32
            else InferenceModule(build(model.network, weights=model.weights).eval(), dtype)
        )

    @classmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """Nothing but whole numbers."""
        return "" if dtype in (FLOAT32, BFLOAT16) else f"no products of {dtype}"

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """One forward pass."""
        with torch.inference_mode(), precision(self.dtype, torch.device("cpu")):
            y: NDArray[np.float32] = self._module(torch.from_numpy(x)).float().numpy()
        return y
