"""Training on machine code made for the network: what the training loop asks of an engine."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..feed import Course, Moves, Pixels, Taken, moved
from ..network import Network
from ..resources import cores
from .engine import NativeNetwork
from .feeding import takes_bytes
from .groups import Grouping
from .jit import machine
from .losses import KERNELS
from .optimizers import OPTIMIZERS
from .stages import uncovered
from .workers import Sharing

SMALL_STEP_MACS, LARGE_STEP_MACS = 5_000_000, 100_000_000
"""Below the first a step is over before a second thread has begun to help; from the second on it always does."""


def not_here() -> str:
    """Why this engine cannot run on this system; empty where it can."""
    return "threads that wait as POSIX has it, and this is Windows" if platform.system() == "Windows" else ""


def not_covered(network: Network, loss: str, optimizer: str) -> str:
    """Why this engine cannot train a network, naming the layer; empty where it can."""
    if reason := not_here():
        return reason
    if reason := uncovered(network):
        return reason
    if loss not in KERNELS:
        return f"no kernel for the loss {loss}"
    return "" if optimizer in OPTIMIZERS else f"no kernel for the optimizer {optimizer}"


def busy_lanes(network: Network, batch_size: int, threads: int, lanes: int) -> float:
    """How many threads' worth of lanes a mini-batch keeps busy: blocks are shared out whole, in groups."""
    blocks = -(-batch_size // lanes)
    totals = network.plan().totals
    groups = Grouping.of(totals["parameters"], totals["macs"] * lanes).groups(blocks)
    turns = -(-blocks // min(threads, groups))
    return batch_size / (lanes * turns)


def pick_threads(network: Network, batch_size: int) -> int:
    """How many threads a step of so many images gets: all, unless it is too small to be shared out."""
    small = network.plan().totals["macs"] * batch_size < SMALL_STEP_MACS
    return 1 if small else cores()


def sharing(network: Network, batch_size: int, threads: int) -> Sharing:
    """Between how many threads may be chosen while such steps are made."""
    large = network.plan().totals["macs"] * batch_size >= LARGE_STEP_MACS
    return Sharing(threads) if threads == 1 or large else Sharing(threads, 1)


class NativeTrainer:
    """A network, its weights and an optimizer as machine code, changed one mini-batch at a time.

    Chance inside the network (DROPOUT) is drawn anew for each step from (seed, step): `chance.Draws` has the numbers.
    Two trainers given the same arguments end with the same bits, whatever the number of threads. With `dtype` bfloat16
    products round what they multiply; weights, volumes and sums stay float32. With `ema` above 0 a moving average of
    the weights is kept with that decay (`neocog/average.py`), and scores and weights are its own. `label_smoothing` is
    for the loss cross-entropy; `factors` are on the learning rates of arrays by name.
    """

    name = "native"
    device = "cpu"

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, NDArray[Any]],
        *,
        loss: str,
        optimizer: str = "nesterov",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 64,
        device: str = "auto",
        seed: int = 0,
        dtype: str = "float32",
        ema: float = 0.0,
        label_smoothing: float = 0.0,
        factors: Mapping[str, float] | None = None,
        threads: int | None = None,
    ) -> None:
        self.threads = threads or pick_threads(network, batch_size)
        self.sharing = Sharing(threads) if threads else sharing(network, batch_size, self.threads)
        self.network, self.momentum, self.weight_decay = network, momentum, weight_decay
        self.seed, self.steps = seed, 0
        self._network = NativeNetwork(
            *(network, self.threads, optimizer, loss, dtype, ema),
            on=machine().for_images(batch_size, pairs=dtype == "bfloat16"),
            label_smoothing=label_smoothing,
            factors=factors,
        )
        self._network.write_weights(weights)

    def step(self, x: NDArray[np.float32], labels: NDArray[np.int64], lr: float) -> tuple[float, int]:
        """One update from x (N, C, H, W) and labels (N,): the batch's mean loss before it, and how many were right.

        When the loss is not finite the weights are left as they are.
        """
        self.steps += 1
        settings = {"seed": self.seed, "step": self.steps}
        with self.sharing.timed(1) as threads:
            loss, right = self._network.train(
                x, labels, lr, self.momentum, self.weight_decay, **settings, threads=threads
            )
        return loss, right if math.isfinite(loss) else 0

    def learn(self, course: Course) -> Taken:
        """The steps of a course, up to the first whose loss is not finite: that one leaves the weights as they are.

        Raises ValueError for images that are no input of the network, and for a course that is not plain.
        """
        if not course.plain:
            raise ValueError("images are moved over extended edges at most, and labels all count alike")
        shape, images = self.network.input_shape, course.pixels.images
        if not takes_bytes(shape) or images.shape[1:] != (*shape.spatial, shape.channels):
            raise ValueError(f"images of {images.shape[1:]} bytes are no input of {shape}")
        settings = {"seed": self.seed, "step": self.steps + 1}
        with self.sharing.timed(len(course.sizes)) as threads:
            taken = self._network.learn(course, self.momentum, self.weight_decay, **settings, threads=threads)
        self.steps += len(taken.losses)
        return taken

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output (N, K) for x (N, C, H, W)."""
        return self._network.score(x)

    def answers(self, pixels: Pixels, moves: Moves | None = None) -> NDArray[np.float32]:
        """The network's output (N, K) for images as bytes, each by its own move (N, 6) if given."""
        images = pixels.images if moves is None else moved(pixels.images, moves)
        return self.scores(pixels.numbers(images))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all arrays by name: their averages, if those are kept."""
        return self._network.read_weights()

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next step depends on, by name."""
        return self._network.read_state() | {"steps": np.array(self.steps)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was read from, bit for bit. Raises ModelFileError for the state of something else."""
        rest = dict(state)
        self.steps = int(rest.pop("steps", np.array(0)))
        self._network.write_state(rest)

    def first_non_finite(self, x: NDArray[np.float32]) -> str | None:
        """The name of the first layer whose output for x is beyond what single precision holds; None if there is none.

        By the reference, since this engine does not keep every layer's output.
        """
        trace = reference.forward(self.network, self._network.read_weights(latest=True), x)
        largest = np.finfo(np.float32).max
        for node, y in zip(self.network.nodes, trace.outputs, strict=True):
            if not bool((np.abs(y) <= largest).all()):
                return node.name
        return None
