"""How long one step of a network takes on a calibrated machine, layer by layer, and how sure that is.

A training step is: forwards, backwards, update. A layer that multiplies with weights and whose input needs no gradient,
as the first convolution, computes only that of its weights. Where several layers read one volume, their gradients are
added up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import NeocogError
from ..layer import Layer, Shape
from ..layers.add import Add
from ..network import fused
from .calibration import Calibration, Vector
from .plan import Plan
from .work import PASSES, Work, work

MODES = ("inference", "training")
DRIFT = 0.1
"""How much faster or slower a whole machine runs from one minute to another, as a standard deviation of the log."""
BY_THEMSELVES = (1.0, 0.0, 0.0)
"""The weights of layers that do not disturb each other (`Calibration.together`)."""
NORMAL_80 = 1.2816
"""Four fifths of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True)
class LayerTime:
    """Seconds of one layer in one step, and the least that the roofline allows. `backward` is 0 in inference."""

    name: str
    token: str
    forward: float
    backward: float
    ideal: float

    @property
    def seconds(self) -> float:
        """Both passes."""
        return self.forward + self.backward

    @property
    def share(self) -> float:
        """Of the roofline: 1 where the machine is used as well as it can be, 0 for a layer that takes no time."""
        return self.ideal / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, by layer; `update` is the optimizer's part, `overhead` what belongs to no layer.

    `spread` is the standard deviation of the logarithm of `seconds`; 0 for a time that was measured. `engine` is the
    one that runs it.
    """

    mode: str
    batch: int
    layers: tuple[LayerTime, ...]
    update: float
    overhead: float
    spread: float = 0.0
    engine: str = "torch"

    @property
    def seconds(self) -> float:
        """The whole step."""
        return math.fsum(layer.seconds for layer in self.layers) + self.update + self.overhead

    @property
    def interval(self) -> tuple[float, float]:
        """Seconds between which four of five steps are expected to lie."""
        factor = math.exp(NORMAL_80 * self.spread)
        return self.seconds / factor, self.seconds * factor

    @property
    def images_per_second(self) -> float:
        """Images that go through in a second."""
        return self.batch / self.seconds

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain numbers, seconds throughout."""
        low, high = self.interval
        layers = [
            {"name": t.name, "forward": t.forward, "backward": t.backward, "ideal": t.ideal, "share": t.share}
            for t in self.layers
        ]
        return {
            "engine": self.engine,
            "mode": self.mode,
            "batch": self.batch,
            "seconds": self.seconds,
            "low": low,
            "high": high,
            "images_per_second": self.images_per_second,
            "update": self.update,
            "overhead": self.overhead,
            "layers": layers,
        }


def step_time(plan: Plan, calibration: Calibration, mode: str = "training") -> StepTime:
    """What one step of `plan.batch` images is expected to take the torch engine.

    Raises NeocogError for an unknown mode, or for a dtype that was not calibrated.
    """
    check_step(plan, calibration.dtype, mode)
    tasks = _tasks(plan, mode)
    seconds, spread = _predicted([task for task, _, _ in tasks], plan, calibration)
    seconds = _together(seconds, plan, calibration, mode)
    spread = math.hypot(spread, calibration.spread.get(mode, 0.0))
    spent = np.zeros((2, len(plan.rows)))
    ideal = np.zeros(len(plan.rows))
    for task, row, backwards in tasks:
        spent[int(backwards), row] += seconds[task]
        ideal[row] += calibration.ideal(task.work(plan.batch, plan.dtype))
    layers = tuple(
        LayerTime(row.name, row.node.layer.token, float(forward), float(backward), float(least))
        for row, forward, backward, least in zip(plan.rows, *spent, ideal, strict=True)
    )
    update = _update(plan, calibration) if mode == "training" else 0.0
    return StepTime(mode, plan.batch, layers, update, calibration.step[mode], spread)


def check_step(plan: Plan, dtype: str, mode: str) -> None:
    """Raises NeocogError for an unknown mode, or where what is known of a machine is not of the plan's dtype."""
    if mode not in MODES:
        raise NeocogError(f"mode is one of {', '.join(MODES)}", received=f"mode={mode}")
    if plan.dtype != dtype:
        raise NeocogError(
            f"this calibration is for {dtype}",
            received=f"a plan for {plan.dtype}",
            hint=f"dtype={dtype}, or a calibration for {plan.dtype}",
        )


def operations(plan: Plan, mode: str) -> Vector:
    """Multiplications and additions of each row in one step: what no engine can leave out."""
    found = np.zeros(len(plan.rows))
    for task, row, _ in _tasks(plan, mode):
        found[row] += task.work(plan.batch, plan.dtype).flops
    return found


def alone(plan: Plan, calibration: Calibration, mode: str) -> Vector:
    """What `Calibration.together` weighs, added up over a step: seconds of the passes alone, passes, and bytes."""
    tasks = [task for task, _, _ in _tasks(plan, mode)]
    seconds, _ = _predicted(tasks, plan, calibration)
    parts: Vector = np.array([_weighed(task, seconds[task], plan) for task in tasks])
    total: Vector = parts.sum(axis=0)
    return total


def _weighed(task: Task, seconds: float, plan: Plan) -> tuple[float, float, float]:
    return seconds, 1.0, task.work(plan.batch, plan.dtype).bytes


def _together(alone: dict[Task, float], plan: Plan, calibration: Calibration, mode: str) -> dict[Task, float]:
    """Seconds of each task among the others; none is faster than the roofline."""
    weights = calibration.together.get(mode, BY_THEMSELVES)
    found = {task: float(np.dot(weights, _weighed(task, seconds, plan))) for task, seconds in alone.items()}
    return {task: max(t, calibration.ideal(task.work(plan.batch, plan.dtype))) for task, t in found.items()}


class Task(NamedTuple):
    """One pass of a layer: equal tasks take equally long, wherever in the network they are."""

    layer: Layer
    inputs: tuple[Shape, ...]
    output: Shape
    which: str

    def work(self, batch: int, dtype: str) -> Work:
        """What it has to do for so many images."""
        return work(self.layer, self.inputs, self.output, batch, dtype)[self.which]


Placed = tuple[Task, int, bool]
"""A task, the row it belongs to, and whether it is on the way back."""


def _tasks(plan: Plan, mode: str) -> list[Placed]:
    return list(_inference(plan) if mode == "inference" else _training(plan))


def _inference(plan: Plan) -> Iterator[Placed]:
    """What leads to the last layer: side branches are not run, and some layers run in another one's pass."""
    needed, inside = {len(plan.rows) - 1}, fused(plan.network)
    for k in reversed(range(len(plan.rows))):
        if k in needed:
            row = plan.rows[k]
            needed.update(row.node.inputs)
            if k not in inside:
                yield Task(row.node.layer, row.inputs, row.output, "inference"), k, False


def _training(plan: Plan) -> Iterator[Placed]:
    """Forward and backward passes. Each reader of a volume but the last one adds its gradient to what is there."""
    needed = _needing_gradients(plan)
    last_reader = {i: k for k, row in enumerate(plan.rows) for i in row.node.inputs}
    for k, row in enumerate(plan.rows):
        layer = row.node.layer
        yield Task(layer, row.inputs, row.output, "forward"), k, False
        if needed[k]:
            part = row.cost.macs > 0 and not any(needed[i] for i in row.node.inputs)
            which = "parameters" if part else "backward"
            yield Task(layer, row.inputs, row.output, which), k, True
        for i in row.node.inputs:
            if needed[i] and last_reader[i] != k:
                shape = plan.rows[i].output
                yield Task(Add(), (shape, shape), shape, "forward"), k, True


def _needing_gradients(plan: Plan) -> list[bool]:
    """For each volume, whether a parameter lies at or before it."""
    needed: list[bool] = []
    for row in plan.rows:
        needed.append(row.cost.parameters > 0 or any(needed[i] for i in row.node.inputs))
    return needed


def _predicted(tasks: Sequence[Task], plan: Plan, calibration: Calibration) -> tuple[dict[Task, float], float]:
    """Seconds of each task, and the spread of their sum."""
    counts = Counter(tasks)
    seconds: dict[Task, float] = {}
    variance = 0.0
    for which in PASSES:
        alike = [task for task in counts if task.which == which]
        found = _growing(alike, plan, calibration)
        seconds.update(zip(alike, map(float, found), strict=True))
        total = found * [counts[task] for task in alike]
        works = [task.work(plan.batch, plan.dtype) for task in alike]
        variance += float(total @ calibration.covariance(works, which) @ total)
    whole = math.fsum(seconds[task] * count for task, count in counts.items())
    return seconds, math.hypot(math.sqrt(variance) / whole, DRIFT)


def _growing(tasks: Sequence[Task], plan: Plan, calibration: Calibration) -> Vector:
    """Seconds of tasks of one pass, by construction never less for more images.

    They are predicted for 1, 2, 4, ... images, kept from falling, and read off the straight lines between.
    """
    batches = [2**k for k in range(math.ceil(math.log2(plan.batch)) + 1)]
    if not tasks:
        return np.zeros(0)
    table = [calibration.seconds([t.work(b, plan.dtype) for t in tasks], tasks[0].which) for b in batches]
    rising = np.maximum.accumulate(np.array(table))
    return np.array([np.interp(plan.batch, batches, column) for column in rising.T])


def _update(plan: Plan, calibration: Calibration) -> float:
    """The optimizer's part. One that was not timed is taken for the slowest that was."""
    arrays = sum(p.trainable for row in plan.rows for p in row.node.layer.parameters(*row.inputs).values())
    each = calibration.update.get(plan.optimizer, max(calibration.update.values()))
    return arrays * calibration.update_array + plan.totals["parameters"] * each
