"""Machine code made for the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import default_loss
from ..model import Model
from ..native.engine import NativeNetwork
from ..native.jit import machine
from ..native.trainer import not_covered
from ..resources import cores
from .base import BFLOAT16, FLOAT32, Runtime


class NativeRuntime(Runtime):
    """`native/`: many images side by side in the lanes of vectors, one image by a plan of its own."""

    name = "native"

    def __init__(self, model: Model, dtype: str, batch: int = 1) -> None:
        loss = default_loss(model.network).name
        self._network = NativeNetwork(model.network, cores(), "sgd", loss=loss, dtype=dtype)
        self._network.write_weights(model.weights)

    @classmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """A layer without kernels, or an instruction for products of bfloat16."""
        if dtype not in (FLOAT32, BFLOAT16):
            return f"no products of {dtype}"
        if dtype == BFLOAT16 and not machine().dots:
            return "no instruction for products of bfloat16 on this processor"
        return not_covered(model.network, default_loss(model.network).name, "sgd")

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """All images by all threads."""
        return self._network.score(x)
