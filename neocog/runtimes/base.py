"""What a runtime is: two methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..model import Model

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
DTYPES = (FLOAT32, BFLOAT16, INT8)
"""What products multiply. Sums are of float32, or of whole numbers for int8."""


class Runtime(ABC):
    """A model made ready to compute. Made by `RUNTIMES[name](model, dtype)` where `lacks` says nothing."""

    name: ClassVar[str]
    reads_bytes = False
    """Whether it takes images as bytes: see `model.Runtime`."""

    @abstractmethod
    def __init__(self, model: Model, dtype: str) -> None:
        """Make the model ready."""

    @classmethod
    @abstractmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """Why it cannot run a model in that precision here; empty where it can."""

    @abstractmethod
    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """The network's outputs (N, K) for preprocessed images x (N, C, H, W)."""
