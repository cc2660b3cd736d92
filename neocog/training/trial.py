"""Engines expected to take nearly as long as each other for a step, told apart by some steps of each, by turns.

What is expected of one was measured at another time than what is expected of the other, and a machine that is shared
changes its pace between; turns see both alike. What they came to is kept: a run that is done again has the engine that
it had.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, Self

import llvmlite
import torch

from ..data.dataset import Told, silence
from ..initialise import initialise
from ..measure.clock import repeated, typical
from ..measure.kept import Question, digest, machine_name
from ..measure.pace import generator
from ..measure.rehearsal import step_of
from ..native.footprint import footprints
from ..native.trainer import NativeTrainer, pick_threads
from ..network import Network
from ..plan.plan import Plan
from ..resources import cores
from ..torch_engine.trainer import TorchTrainer

FORMAT = 2
NEAR = 2.0
"""How many times as long as the fastest an engine is expected to take at most, to be tried beside it."""
WARM, CLOSE = 3, 1.5
"""Steps after the first until an engine has its memory and its code, of which the last one counts; and how many times
as long as the fastest another may have taken there, to take turns with it."""
TURNS, TURN_SECONDS, LONGEST = 5, 0.1, 10.0
"""How many turns each gets, how long one lasts at least, and after how many seconds of all there is no further one."""
LEAST, STEPS, SHARE = 2.0, 6, 0.05
"""Seconds that a trial takes at least, and steps of each; and of a run's time, how much it may take."""
TRYING = "trying engines by turns"
CPU = torch.device("cpu")

MAKERS: dict[str, type[TorchTrainer] | type[NativeTrainer]] = {"torch": TorchTrainer, "native": NativeTrainer}


class Way(NamedTuple):
    """How a step may be made: by which engine, with products of which dtype."""

    engine: str
    dtype: str


class Step(NamedTuple):
    """What a step is made of."""

    network: Network
    loss: str
    optimizer: str
    batch_size: int

    def plan(self, dtype: str) -> Plan:
        """Its plan, with products of that dtype."""
        return self.network.plan(batch=self.batch_size, dtype=dtype, optimizer=self.optimizer)

    def needed(self, way: Way) -> int:
        """The bytes that it takes."""
        plan = self.plan(way.dtype)
        if way.engine == "native":
            return footprints(plan, pick_threads(self.network, self.batch_size))["training"].total
        return int(plan.memory["training_bytes"])

    def made(self, way: Way) -> Callable[[], object]:
        """One on random images, by an engine of its own, which changes no weights."""
        trainer = MAKERS[way.engine](
            self.network,
            initialise(self.network),
            loss=self.loss,
            optimizer=self.optimizer,
            batch_size=self.batch_size,
            dtype=way.dtype,
            device=CPU.type,
        )
        return step_of(trainer, self.plan(way.dtype), "training")


@dataclass(frozen=True)
class Trial:
    """Seconds of a step by the way that it is made."""

    seconds: Mapping[Way, float]

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"steps": [[*way, seconds] for way, seconds in self.seconds.items()]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        found = {Way(str(engine), str(dtype)): float(seconds) for engine, dtype, seconds in values["steps"]}
        if not found or not all(math.isfinite(seconds) and seconds > 0 for seconds in found.values()):
            raise ValueError
        return cls(found)


def worth_trying(expected: Mapping[Way, float], steps: float) -> list[Way]:
    """Which of these ways, by their expected seconds, are to be tried for a run of so many steps; none where one is
    expected to be by far the fastest, and where the run is short beside a trial.
    """
    least = min(expected.values())
    ways = [way for way, seconds in expected.items() if seconds <= NEAR * least]
    cost = max(LEAST, STEPS * sum(expected[way] for way in ways))
    return ways if len(ways) > 1 and cost <= SHARE * least * steps else []


def trial_question(step: Step, ways: Sequence[Way], told: Told = silence) -> Question[Trial]:
    """How long this step takes on this CPU in each of these ways. `told` hears of the turns that are done."""
    key = {
        "format": FORMAT,
        "machine": machine_name(CPU),
        "cores": [os.cpu_count(), cores()],
        "torch": torch.__version__,
        "llvmlite": llvmlite.__version__,
        "generator": generator(),
        "step": [digest(str(step.network)), *step[1:]],
        "ways": [list(way) for way in sorted(ways)],
    }
    return Question("trial", key, Trial, lambda _: Trial(by_turns({way: step.made(way) for way in ways}, told)))


def by_turns(steps: Mapping[Way, Callable[[], object]], told: Told = silence) -> dict[Way, float]:
    """Typical seconds of each of these steps; those nearly as fast as each other run over and over again, by turns."""
    told(TRYING, 0, TURNS)
    first = {way: repeated(step, CPU, 0.0, least=WARM)[-1] for way, step in steps.items()}
    close = [way for way in steps if first[way] <= CLOSE * min(first.values())]
    found: dict[Way, list[float]] = {way: [] for way in close}
    start = perf_counter()
    for turn in range(TURNS if len(close) > 1 else 0):
        told(TRYING, turn, TURNS)
        for way in close:
            found[way] += repeated(steps[way], CPU, TURN_SECONDS, least=1)
        if perf_counter() - start > LONGEST:
            break
    told(TRYING, TURNS, TURNS)
    return first | {way: typical(seconds) for way, seconds in found.items() if seconds}
