"""The real step, timed as a whole and layer by layer, beside what was predicted for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch

from ..plan.calibration import Calibration
from ..plan.plan import Plan
from ..plan.tables import duration
from ..plan.time import StepTime, step_time
from ..torch_engine.allocator import hold_freed_memory
from ..torch_engine.device import pick_device, pick_threads
from ..torch_engine.trainer import TorchTrainer
from .calibration import calibration
from .clock import BUSY, repeated, synchronise, typical, watched
from .kept import Report
from .rehearsal import step_of, trainer_for

REST, UPDATE = -1, -2
"""What is marked as no layer's time."""


@dataclass(frozen=True)
class Measured:
    """Seconds of one step as it ran: `layers` are (forward, backward) by name, and make up most of `seconds`.

    `update` is the optimizer's step alone. `others` is how many cores other programs used meanwhile, None where
    that is not known.
    """

    seconds: float
    layers: dict[str, tuple[float, float]]
    update: float
    others: float | None


@dataclass(frozen=True)
class TimeRow:
    """One layer: seconds predicted and measured, and the share of the roofline that it was measured to reach."""

    name: str
    token: str
    predicted: float
    measured: float
    share: float


@dataclass(frozen=True)
class Comparison:
    """A step's prediction beside its measurement."""

    plan: Plan
    predicted: StepTime
    measured: Measured

    @property
    def rows(self) -> tuple[TimeRow, ...]:
        """The layers in their order, each once."""
        found = []
        for layer in self.predicted.layers:
            seconds = sum(self.measured.layers[layer.name])
            share = layer.ideal / seconds if seconds else 0.0
            found.append(TimeRow(layer.name, layer.token, layer.seconds, seconds, share))
        return tuple(found)

    def summary(self) -> list[str]:
        """The step in words."""
        low, high = self.predicted.interval
        batch, off = self.plan.batch, self.predicted.seconds / self.measured.seconds - 1
        lines = [
            f"{self.predicted.mode} by {self.predicted.engine}, batch {batch}, {self.plan.dtype}: "
            f"predicted {duration(self.predicted.seconds)} a step ({duration(low)} to {duration(high)}), "
            f"{self.predicted.images_per_second:,.1f} images/s",
            f"measured {duration(self.measured.seconds)}, {batch / self.measured.seconds:,.1f} images/s: "
            f"the prediction is {abs(off):.0%} too {'high' if off > 0 else 'low'}",
        ]
        if self.predicted.engine == "native":
            lines.append(
                "a layer's time holds what runs in one pass with it: activation functions, pooling, normalization"
            )
        if (self.measured.others or 0.0) > BUSY:
            lines.append(f"other programs used {self.measured.others:.1f} processor cores meanwhile")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """All of it in plain values, seconds throughout."""
        layers = [
            {"name": r.name, "predicted": r.predicted, "measured": r.measured, "share": r.share} for r in self.rows
        ]
        return {
            "predicted": self.predicted.as_dict(),
            "measured": {
                "seconds": self.measured.seconds,
                "update": self.measured.update,
                "other_programs_cores": self.measured.others,
            },
            "layers": layers,
        }


def calibration_for(plan: Plan, device: str = "auto", *, report: Report | None = None) -> Calibration:
    """The machine's calibration for the dtype of a plan and the threads that the engine gives it.

    A CPU is calibrated for all threads and for one, whichever the plan gets: then the time of every step is known.
    """
    own = pick_threads(plan.network, plan.batch)
    counts = {own} if pick_device(device).type == "cuda" else {own, 1, torch.get_num_threads()}
    return {count: calibration(plan.dtype, count, device, report=report) for count in sorted(counts)}[own]


def compare(
    plan: Plan, calibration: Calibration, mode: str = "training", device: str = "auto", *, seconds: float = 2.0
) -> Comparison:
    """Predict one step of `plan.batch` images, run it for so many seconds, and put both side by side.

    Raises NeocogError where `step_time` does, and for training of a network whose output is no vector.
    """
    return Comparison(plan, step_time(plan, calibration, mode), measure(plan, mode, device, seconds=seconds))


def measure(plan: Plan, mode: str = "training", device: str = "auto", *, seconds: float = 2.0) -> Measured:
    """Run the engine's own step on random images, whole and then with a look at the clock between layers."""
    hold_freed_memory()
    trainer = trainer_for(plan, mode, device)
    place = torch.device(trainer.device)
    run = step_of(trainer, plan, mode)
    with watched() as load:
        whole = typical(repeated(run, place, seconds))
        with _marked(trainer, mode) as marks:
            spent = _by_layer(run, marks, place, seconds)
    layers = {row.name: (spent[k, False], spent[k, True]) for k, row in enumerate(plan.rows)}
    return Measured(whole, layers, spent[UPDATE, False], load.others)


Place = tuple[int, bool]
"""A row of the plan, or REST or UPDATE, and whether on the way back."""


class _Marks:
    """When which part of a step began; each lasts until the next one does."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.found: list[tuple[Place, float]] = []

    def __call__(self, row: int, backward: bool = False) -> None:
        synchronise(self.device)
        self.found.append(((row, backward), perf_counter()))


@contextmanager
def _marked(trainer: TorchTrainer, mode: str) -> Iterator[_Marks]:
    """Have the layers, forwards and backwards, and the optimizer mark when they begin."""
    marks = _Marks(torch.device(trainer.device))
    handles: list[Any] = [
        trainer.optimizer.register_step_pre_hook(lambda *_: marks(UPDATE)),
        trainer.optimizer.register_step_post_hook(lambda *_: marks(REST)),
    ]
    layers = dict((trainer.module if mode == "training" else trainer.predicting).named_children())
    for k, node in enumerate(trainer.module.network.nodes):
        if (layer := layers.get(node.name)) is None:  # it runs in another one's pass, or not at all
            continue
        if k:  # INPUT begins with the step: it stands for bringing the images into place
            handles.append(layer.register_forward_pre_hook(lambda *_, k=k: marks(k)))
        handles.append(layer.register_forward_hook(lambda _, xs, y, k=k: _mark_end(xs, y, marks, k)))
    try:
        yield marks
    finally:
        for handle in handles:
            handle.remove()


def _mark_end(xs: tuple[torch.Tensor, ...], y: torch.Tensor, marks: _Marks, row: int) -> None:
    """A layer is done; it goes on when the gradient of its output is complete, unless it only hands that on."""
    marks(REST)
    if y.requires_grad and all(y is not x for x in xs):
        y.register_hook(lambda _: marks(row, True))  # type: ignore[no-untyped-call]  # torch's


def _by_layer(run: Callable[[], object], marks: _Marks, device: torch.device, seconds: float) -> dict[Place, float]:
    """Typical seconds of each part of the step."""
    times: dict[Place, list[float]] = defaultdict(list)

    def step() -> None:
        marks.found.clear()
        marks(0)
        run()
        marks(REST)
        spent: dict[Place, float] = defaultdict(float)
        for (place, begin), (_, end) in zip(marks.found, marks.found[1:], strict=False):
            spent[place] += end - begin
        for place, passed in spent.items():
            times[place].append(passed)

    repeated(step, device, seconds)
    found: dict[Place, float] = defaultdict(float)
    found.update({place: typical(passed) for place, passed in times.items()})
    return found
