"""Whole networks that a calibration runs: how much longer layers take one after the other than each by itself.

In a step each layer finds its input, its weights and its place to write where others have been since: in slower
memory than when it is timed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import NeocogError
from ..initialise import initialise
from ..losses import default_loss
from ..native.trainer import NativeTrainer
from ..network import Network
from ..plan.calibration import Calibration, Together, Vector
from ..plan.plan import Plan
from ..plan.time import MODES, alone, step_time
from ..torch_engine.trainer import TorchTrainer
from .clock import repeated, typical

SECONDS = 0.12
"""How long each step is repeated."""

NETWORKS = """
64  INPUT[24x24x1] -> CONV5-8 -> RELU -> POOL2 -> CONV5-16 -> RELU -> POOL2 -> FC10
640 INPUT[24x24x1] -> CONV5-8 -> RELU -> POOL2 -> CONV5-16 -> RELU -> POOL2 -> FC10
1   INPUT[8x8x3] -> [CONV3-8 -> RELU]*3 -> POOL2 -> FC10
4   INPUT[28x28x3] -> [CONV3-16 -> BN -> RELU -> ADD[CONV3-16 -> BN | ID] -> RELU]*3 -> GAP -> FC10
16  INPUT[28x28x3] -> [CONV3-16 -> BN -> RELU -> ADD[CONV3-16 -> BN | ID] -> RELU]*3 -> GAP -> FC10
96  INPUT[32x32x3] -> [CONV3-16 -> BN -> RELU -> ADD[CONV3-16 -> BN | ID] -> RELU]*3 -> GAP -> FC10
24  INPUT[40x40x3] -> [CONV3-64 -> RELU]*2 -> POOL2 -> CONV1-128 -> RELU -> CONV3-96 -> RELU -> GAP -> FC20
1   INPUT[6x6x128] -> [FC4096 -> RELU]*2 -> FC1000
3   INPUT[6x6x128] -> [FC4096 -> RELU]*2 -> FC1000
16  INPUT[6x6x128] -> [FC4096 -> RELU]*2 -> FC1000
2   INPUT[96x96x3] -> CONV7-64(S=2, fit=floor) -> BN -> RELU -> POOL2 -> [CONV3-64 -> BN -> RELU]*2 -> POOL2
    -> CONV3-128 -> BN -> RELU -> CONV1-256 -> BN -> RELU -> CONV1-128 -> BN -> RELU -> CONV3-256 -> GAP -> FC100
64  INPUT[60x32] -> CONV5-48 -> TANH -> AVGPOOL2 -> CONV3-40 -> SIGMOID -> FC64 -> TANH -> FC10
12  INPUT[96x96x3] -> CONV7-64(S=2, fit=floor) -> BN -> RELU -> POOL2 -> [CONV3-64 -> BN -> RELU]*2 -> POOL2
    -> CONV3-128 -> BN -> RELU -> CONV1-256 -> BN -> RELU -> CONV1-128 -> BN -> RELU -> CONV3-256 -> GAP -> FC100
"""
"""Small and large, with little and much memory for what they compute: batch, network. None is one of the zoo's."""

LIKELY = (0.15, 5e-6, 5e-11)
"""How far the weights are expected to be from those of layers that do not disturb each other: standard deviations."""
LEAST = 0.1
"""Layers are never taken to be so much faster together than alone, however much a machine wavered meanwhile."""
UNEXPLAINED = 0.1
"""How far a step is expected to be from what the weights say, as a share of it."""


class Rehearsal(NamedTuple):
    """A network, and the images in one of its steps."""

    network: Network
    batch: int


def rehearsals() -> list[Rehearsal]:
    """All of them."""
    lines = NETWORKS.replace("\n    ", " ").strip().splitlines()
    return [Rehearsal(Network.parse(text), int(batch)) for batch, text in (line.split(maxsplit=1) for line in lines)]


def rehearse(
    chosen: Sequence[Rehearsal], measured: Calibration, device: torch.device, report: Callable[[str], None]
) -> tuple[dict[str, Together], dict[str, float]]:
    """By mode: the weights that explain these steps, and how far they leave a step off (as a standard deviation)."""
    seen: dict[str, list[Vector]] = {mode: [] for mode in MODES}
    report(f"  {len(chosen)} networks")
    for network, batch in chosen:
        plan = network.plan(batch=batch, dtype=measured.dtype, optimizer="nesterov")
        for mode, seconds in time_steps(plan, device).items():
            rest = step_time(plan, measured, mode)
            parts = np.append(alone(plan, measured, mode), seconds - rest.update - rest.overhead)
            seen[mode].append(parts / seconds)
    fitted = {mode: fit(np.array(rows)) for mode, rows in seen.items() if rows}
    return {mode: weights for mode, (weights, _) in fitted.items()}, {mode: off for mode, (_, off) in fitted.items()}


def time_steps(plan: Plan, device: torch.device) -> dict[str, float]:
    """Typical seconds of the engine's own step in each mode."""
    trainer = trainer_for(plan, "training", str(device))
    return {mode: typical(repeated(step_of(trainer, plan, mode), device, SECONDS)) for mode in MODES}


def trainer_for(plan: Plan, mode: str, device: str) -> TorchTrainer:
    """The engine with the plan's network, batch, optimizer and dtype.

    Raises NeocogError for training of a network whose output is no vector.
    """
    check_training(plan, mode)
    return TorchTrainer(plan.network, initialise(plan.network), device=device, **settings_of(plan))


def settings_of(plan: Plan) -> dict[str, Any]:
    """What either engine is told of a plan's steps."""
    return {
        "loss": default_loss(plan.network).name,
        "optimizer": plan.optimizer,
        "batch_size": plan.batch,
        "dtype": plan.dtype,
    }


def check_training(plan: Plan, mode: str) -> None:
    """Raises NeocogError for training of a network whose output is no vector."""
    if mode == "training" and plan.rows[-1].output.positions > 1:
        raise NeocogError(
            "training is measured on class numbers, one for each image",
            received=f"an output of {plan.rows[-1].output}",
            hint="mode=inference",
        )


def images_for(plan: Plan) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Random images of the plan's batch, and classes for them."""
    shape = plan.rows[0].output
    draw = np.random.default_rng(0)
    x = draw.standard_normal((plan.batch, shape.channels, *shape.spatial), dtype=np.float32)
    return x, draw.integers(0, max(2, plan.rows[-1].output.channels), plan.batch)


def step_of(trainer: TorchTrainer | NativeTrainer, plan: Plan, mode: str) -> Callable[[], object]:
    """One step on random images of the plan's batch."""
    x, labels = images_for(plan)
    if mode == "inference":
        return lambda: trainer.scores(x)
    return lambda: trainer.step(x, labels, 0.0)  # a rate of 0: the weights stay finite however often it runs


def fit(rows: Vector, likely: Together = LIKELY) -> tuple[Together, float]:
    """The likeliest weights for rows of (what is weighted, what it should come to), and the spread around them.

    Ridge regression, drawn towards (1, 0, 0), from which `likely` are the deviations to expect; memory that is far away
    never makes a layer faster.
    """
    before = np.array([1.0, 0.0, 0.0])
    a, off = rows[:, :3], rows[:, 3] - rows[:, :3] @ before
    free = [0, 1, 2]
    change = np.zeros(3)
    for _ in range(2):
        scale = np.array(likely)[free]
        padded = np.vstack([a[:, free] * scale / UNEXPLAINED, np.eye(len(free))])
        wanted = np.append(off / UNEXPLAINED, np.zeros(len(free)))
        change[free] = np.linalg.lstsq(padded, wanted, rcond=None)[0] * scale
        if change[2] >= 0:
            break
        change[2], free = 0.0, [0, 1]
    found = before + change
    found[0] = max(found[0], LEAST)
    alone, task, byte = found.tolist()
    return (alone, task, byte), math.sqrt(float(np.mean((a @ found - rows[:, 3]) ** 2)))
