"""What the training loop needs from an engine, and which engine it gets."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..native.jit import machine
from ..native.trainer import NativeTrainer, busy_lanes, cores, not_covered
from ..network import Network
from ..torch_engine.trainer import SMALL_STEP_MACS, TorchTrainer, pick_device

ENGINES = ("auto", "torch", "native")
MOST_PARAMETERS = 2_000_000
"""Up to how many `auto` trusts the native engine: its gradients stand in memory once for each part of a batch."""
ADVANTAGE = 1.3
"""How often the native engine was at least as fast as torch, with all lanes and threads busy (docs/performance.md)."""


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


def choose_engine(
    name: str,
    network: Network,
    device: str = "auto",
    loss: str = "cross-entropy",
    optimizer: str = "nesterov",
    batch_size: int = 64,
) -> tuple[type[TorchTrainer] | type[NativeTrainer], str]:
    """The engine for a network, its loss and its optimizer, and in words why it is that one.

    `auto` is torch on a GPU where there is one. On a CPU it is native where that has kernels for all that is asked, the
    weights are few enough for each part of a batch to have gradients of its own, and the mini-batches keep enough lanes
    and threads busy; else torch. A run never mixes engines.
    Raises NeocogError for an engine or a device that is not there.
    """
    if name not in ENGINES:
        raise NeocogError(f"engine is one of {', '.join(ENGINES)}", received=f"engine={name}")
    place = pick_device(device)
    if name == "torch":
        return TorchTrainer, f"torch on {place}, as asked"
    missing = "kernels for CPUs only" if place.type == "cuda" else not_covered(network, loss, optimizer)
    if name == "native":
        if missing:
            raise NeocogError(
                "the native engine cannot train this", received=missing, hint="engine=torch or engine=auto"
            )
        return NativeTrainer, "native, as asked"
    if place.type == "cuda":
        return TorchTrainer, f"torch on {place}: {'a GPU is there' if device == 'auto' else 'as asked'}"
    if missing := missing or _disadvantage(network, batch_size, cores()):
        return TorchTrainer, f"torch on {place}: native has {missing}"
    return NativeTrainer, "native: machine code for this network"


def _disadvantage(network: Network, batch_size: int, threads: int) -> str:
    """What makes torch the better choice for a network that both engines cover; empty where nothing does."""
    totals = network.plan().totals
    if totals["parameters"] > MOST_PARAMETERS:
        return f"too many weights to hold, {totals['parameters']:,}"
    for_torch = 1 if totals["macs"] * batch_size < SMALL_STEP_MACS else threads
    busy = busy_lanes(batch_size, threads, machine().lanes)
    if ADVANTAGE * busy < for_torch:
        return f"few lanes to fill, {busy:.1f} of {for_torch} threads' with mini-batches of {batch_size}"
    return ""
