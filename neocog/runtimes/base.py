"""What a runtime is: two methods."""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..model import Model
from ..network import Network

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
DTYPES = (FLOAT32, BFLOAT16, INT8)
"""What products multiply. Sums are of float32, or of whole numbers for int8."""


class Runtime(ABC):
    """A model made ready to compute. Made by `RUNTIMES[name](model, dtype, batch)` where `lacks` says nothing."""

    name: ClassVar[str]
    reads_bytes = False
    """Whether it takes images as bytes: see `model.Runtime`."""

    @abstractmethod
    def __init__(self, model: Model, dtype: str, batch: int = 1) -> None:
        """Make the model ready; it will mostly be given so many images at once.

        Raises NeocogError where that fails.
        """

    @classmethod
    def patience(cls, network: Network) -> float:
        """About how many seconds it takes to be made ready, where that is long: else 0."""
        return 0.0

    @classmethod
    @abstractmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """Why it cannot run a model in that precision here; empty where it can."""

    @abstractmethod
    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """The network's outputs (N, K) for preprocessed images x (N, C, H, W)."""


@contextmanager
def quiet() -> Iterator[None]:
    """No advice of other libraries on standard error meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
