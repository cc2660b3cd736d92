"""How long a step of the native engine takes: its calls, counted, at the pace that one machine was seen to run them.

A thread's time is what its calls take: the blocks that fall to it, and its share of what threads do together. The pace
is seconds of each kind of instruction, fitted to calls that were timed one by one on one thread, and three weights by
which a whole step on all threads takes longer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..plan.calibration import Together, Vector
from ..plan.plan import Plan
from ..plan.time import DRIFT, LayerTime, StepTime, check_step, operations
from .c_calls import StepCalls, step_calls
from .effort import Counter, Effort
from .jit import Machine, machine
from .places import Places
from .program import Call, Program

FORWARD, BACKWARD, UPDATE, REST = "forward", "backward", "update", "rest"
WAYS = (FORWARD, BACKWARD)


@dataclass(frozen=True)
class Pace:
    """What one machine does with one dtype and number of threads.

    `rate` is the most multiplications and additions a second that the threads reach together; `costs` are seconds on
    one thread by the names of `Effort`; `together` has, for both modes, the weights of the seconds
    of a thread's calls, of the step itself and of each byte its calls touch; `spread` says how far steps were off by
    them.
    """

    machine: str
    threads: int
    dtype: str
    rate: float
    costs: Mapping[str, float]
    together: Mapping[str, Together]
    spread: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pace:
        """The pace that `as_dict` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        together = {mode: (float(a), float(b), float(c)) for mode, (a, b, c) in values["together"].items()}
        found = cls(**{**values, "together": together})
        costs = [*(found.costs[name] for name in Effort._fields), *found.spread.values()]
        costs += [weight for weights in together.values() for weight in weights]
        if not 0 < found.rate < math.inf or not all(0 <= cost < math.inf for cost in costs):
            raise ValueError("a rate is a positive number, and costs are not negative")
        return found

    def seconds(self, effort: Effort) -> float:
        """On one thread that nothing disturbs."""
        return math.fsum(self.costs[name] * count for name, count in effort._asdict().items())


class Task(NamedTuple):
    """A call in a step, how often the busiest thread makes it (a part of once, where it is shared), and its place."""

    call: Call
    numbers: tuple[int, ...]
    times: float
    where: str


class Course:
    """A step of the native engine: what the thread with the most to do calls."""

    def __init__(self, plan: Plan, mode: str, threads: int, on: Machine | None = None) -> None:
        from ..losses import default_loss

        self.plan, self.mode, self.threads = plan, mode, threads
        network = plan.network
        self.program = Program(on or machine(), network, default_loss(network).name, pairs=plan.dtype == "bfloat16")
        self.calls: StepCalls = step_calls(self.program, plan.optimizer)
        self.blocks = -(-plan.batch // self.program.machine.lanes)

    @cached_property
    def tasks(self) -> list[Task]:
        """In the order in which they run."""
        return list(self._training() if self.mode == "training" else self._inference())

    def _inference(self) -> Iterator[Task]:
        for call in (*self.calls.pack, *self.calls.prepare):
            yield Task(call, (), 1 / self.threads, REST)
        for call in self.calls.predict:
            yield Task(call, (), -(-self.blocks // self.threads), FORWARD)

    def _training(self) -> Iterator[Task]:
        groups, forwards = self.program.groups(self.blocks), {id(call) for call in self.program.forward}
        turns, share = self._turns(groups), 1 / self.threads
        for call in self.calls.pack:
            yield Task(call, (), share, REST)
        yield Task(self.calls.clear, (), -(-groups // self.threads), REST)
        for segment in self.calls.segments:
            where = FORWARD
            for call in segment.calls:
                where = FORWARD if id(call) in forwards else BACKWARD
                yield Task(call, (), turns, where)
            for meeting in segment.meetings:
                yield Task(meeting.call, (0, meeting.rows, self.blocks), share, where)
        yield Task(self.calls.losses, (groups,), 1, REST)
        for shared in (*self.calls.sums, *self.calls.updates):
            yield Task(shared.call, (0, shared.rows, groups), share, UPDATE)

    def _turns(self, groups: int) -> int:
        """The blocks of the thread that has the most: groups are shared out in turn, and hold nearly as many each."""
        starts = [k * self.blocks // groups for k in range(groups + 1)]
        sizes = [after - first for first, after in pairwise(starts)]
        return max(sum(sizes[k :: self.threads]) for k in range(min(self.threads, groups)))

    @cached_property
    def efforts(self) -> list[Effort]:
        """What each task does in all."""
        counter = Counter(self.program.functions)
        return [
            Effort(*(task.times * n for n in counter.effort(task.call.function, task.numbers))) for task in self.tasks
        ]

    def alone(self, pace: Pace) -> Vector:
        """What `Pace.together` weighs: seconds of the thread's calls, one step, and bytes."""
        return np.array([math.fsum(map(pace.seconds, self.efforts)), 1.0, math.fsum(e.bytes for e in self.efforts)])


def step_time(plan: Plan, pace: Pace, mode: str = "training") -> StepTime:
    """What one step of `plan.batch` images is expected to take.

    A layer's time holds that of the layers which run in the same pass: activation functions, pooling, normalization.
    Raises NeocogError for an unknown mode, or for a dtype that was not measured.
    """
    check_step(plan, pace.dtype, mode)
    course = Course(plan, mode, pace.threads)
    alone, step, byte = pace.together[mode]
    spent = [alone * pace.seconds(effort) + byte * effort.bytes for effort in course.efforts]
    times = by_layer(course, spent)
    layers = tuple(
        LayerTime(
            row.name,
            row.node.layer.token,
            times.get((row.name, FORWARD), 0.0),
            times.get((row.name, BACKWARD), 0.0),
            float(ideal),
        )
        for row, ideal in zip(plan.rows, operations(plan, mode) / pace.rate, strict=True)
    )
    update, rest = times.get(("", UPDATE), 0.0), times.get(("", REST), 0.0)
    spread = math.hypot(pace.spread[mode], DRIFT)
    return StepTime(mode, plan.batch, layers, update, rest + step, spread, engine="native")


def by_layer(course: Course, seconds: Sequence[float]) -> dict[tuple[str, str], float]:
    """Seconds of a course's tasks added up by layer and place; what belongs to no layer is the rest."""
    places, found = Places(course.program), dict[tuple[str, str], float]()
    for task, spent in zip(course.tasks, seconds, strict=True):
        layer = places.layer(task.call) if task.where in WAYS else ""
        key = (layer, task.where) if layer or task.where == UPDATE else ("", REST)
        found[key] = found.get(key, 0.0) + spent
    return found
