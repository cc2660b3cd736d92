"""What the training loop needs from an engine, and which engine it gets."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..network import Network
from ..torch_engine.trainer import TorchTrainer, pick_device

ENGINES = ("auto", "torch", "native")


class Engine(Protocol):
    """Holds a network's weights and optimizer state, and changes them by one mini-batch at a time."""

    name: str
    device: str
    threads: int

    def step(self, x: NDArray[np.float32], labels: NDArray[np.int64], lr: float) -> tuple[float, int]:
        """One update from x (N, C, H, W) and labels (N,): the batch's mean loss before it, and how many were right.

        When the loss is not finite the weights are left as they are.
        """

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output (N, K) as at prediction."""

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all arrays by name."""

    def first_non_finite(self, x: NDArray[np.float32]) -> str | None:
        """The name of the first layer whose output for x is not finite."""


def choose_engine(name: str, network: Network, device: str = "auto") -> tuple[type[TorchTrainer], str]:
    """The engine for a network, and in words why it is that one.

    Raises NeocogError for an engine or a device that is not there.
    """
    if name not in ENGINES:
        raise NeocogError(f"engine is one of {', '.join(ENGINES)}", received=f"engine={name}")
    if name == "native":
        raise NeocogError(
            "the native engine cannot train yet",
            received=f"engine=native for {network.input_shape}",
            hint="engine=torch",
        )
    place = pick_device(device)
    if name == "torch" or device != "auto":
        return TorchTrainer, f"torch on {place}, as asked"
    why = "a GPU is there" if place.type == "cuda" else "no GPU is there, and torch is the only engine that trains"
    return TorchTrainer, f"torch on {place}: {why}"
