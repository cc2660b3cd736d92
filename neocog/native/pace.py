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
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np

from ..plan.calibration import Together, Vector
from ..plan.plan import Plan
from ..plan.time import DRIFT, MODES, LayerTime, StepTime, check_step, operations
from .effort import Counter, Effort
from .jit import Machine, machine
from .kernel import Function
from .one_image_tasks import covers
from .places import Places, first_layer
from .program import Call, Program
from .single import SinglePlan
from .step_calls import StepCalls, step_calls

FORWARD, BACKWARD, UPDATE, REST = "forward", "backward", "update", "rest"
WAYS = (FORWARD, BACKWARD)
FEW = "few images"
KINDS = (*MODES, FEW)
"""Of steps: the modes, and what predicts few images."""


@dataclass(frozen=True)
class Pace:
    """What one machine does with one dtype and number of threads.

    `rate` is the most multiplications and additions a second that the threads reach together; `costs` are seconds on
    one thread by the names of `Effort`; `narrow` says for vectors of which two or four fill one of the processor's what
    part of its time they take; `together` has, for each of `KINDS`, the weights of the seconds
    of a thread's calls, of the step itself and of each byte its calls touch; `spread` says how far steps were off by
    them.
    """

    machine: str
    threads: int
    dtype: str
    rate: float
    costs: Mapping[str, float]
    narrow: Mapping[str, float]
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
        costs = [*(found.costs[name] for name in Effort._fields), *found.narrow.values(), *found.spread.values()]
        costs += [weight for weights in together.values() for weight in weights]
        if not 0 < found.rate < math.inf or not all(0 <= cost < math.inf for cost in costs):
            raise ValueError("a rate is a positive number, and costs are not negative")
        return found

    def seconds(self, effort: Effort, wide: int = 1) -> float:
        """On one thread that nothing disturbs, with vectors of which so many fill one of the processor's."""
        whole = effort.in_whole(self.narrow[str(wide)]) if wide > 1 else effort
        return math.fsum(self.costs[name] * count for name, count in whole._asdict().items())


class Task(NamedTuple):
    """A call in a step, how often the busiest thread makes it (a part of once, where it is shared), and its place.

    `where` is forward, backward, update or the rest; `layer` is the one it works for, empty where that is not one.
    """

    call: Call
    numbers: tuple[int, ...]
    times: float
    where: str
    layer: str = ""


class Course:
    """A step of the native engine: what the thread with the most to do calls, in the order in which it does.

    `kind` is training, inference, or few images, which the engine runs one after the other in a way of its own. The
    processor's vectors are so many times as `wide` as those that are used.
    """

    def __init__(
        self, plan: Plan, kind: str, tasks: list[Task], functions: Mapping[str, Function], wide: int = 1
    ) -> None:
        self.plan, self.kind, self.tasks, self.functions, self.wide = plan, kind, tasks, functions, wide

    @cached_property
    def efforts(self) -> list[Effort]:
        """What each task does in all."""
        counter = Counter(self.functions)
        return [
            Effort(*(task.times * n for n in counter.effort(task.call.function, task.numbers))) for task in self.tasks
        ]

    def alone(self, pace: Pace) -> Vector:
        """What `Pace.together` weighs: seconds of the thread's calls, one step, and bytes."""
        calls = math.fsum(pace.seconds(effort, self.wide) for effort in self.efforts)
        return np.array([calls, 1.0, math.fsum(effort.bytes for effort in self.efforts)])

    def by_layer(self, seconds: Sequence[float]) -> dict[tuple[str, str], float]:
        """Seconds of the tasks added up by layer and place; what belongs to no layer is the rest."""
        found: dict[tuple[str, str], float] = {}
        for task, spent in zip(self.tasks, seconds, strict=True):
            key = (task.layer, task.where) if task.layer or task.where == UPDATE else ("", REST)
            found[key] = found.get(key, 0.0) + spent
        return found


def course_of(plan: Plan, mode: str, threads: int, on: Machine | None = None) -> Course:
    """The course of a step of `plan.batch` images."""
    made = BlockCourse(plan, mode, threads, on)
    whole = made.program.machine.whole
    few = plan.batch < whole.lanes and mode == "inference" and covers(plan.network)
    if few and (single := SinglePlan(whole, plan.network, made.program.regions)).most >= plan.batch:
        return FewCourse(plan, single)
    return made


class FewCourse(Course):
    """Images one after the other, by the plan for few of them."""

    def __init__(self, plan: Plan, single: SinglePlan) -> None:
        names = [first_layer(task.stage, plan.network) for task in single.tasks]
        makers = zip(single.calls, single.makers, strict=True)
        tasks = [Task(call, (), plan.batch, FORWARD, names[maker]) for call, maker in makers]
        super().__init__(plan, FEW, tasks, single.functions)


class BlockCourse(Course):
    """Blocks of as many images as a vector has lanes, shared out among threads."""

    def __init__(self, plan: Plan, mode: str, threads: int, on: Machine | None = None) -> None:
        from ..losses import default_loss

        network = plan.network
        self.threads = threads
        pairs = plan.dtype == "bfloat16"
        used = (on or machine()).for_images(plan.batch, pairs=pairs)
        self.program = Program(used, network, default_loss(network).name, pairs=pairs)
        self.calls: StepCalls = step_calls(self.program, plan.optimizer)
        self.blocks = -(-plan.batch // self.program.machine.lanes)
        tasks = list(self._training() if mode == "training" else self._inference())
        places = Places(self.program)
        named = [task._replace(layer=places.layer(task.call)) if task.where in WAYS else task for task in tasks]
        super().__init__(plan, mode, named, self.program.functions, used.wide)

    def _inference(self) -> Iterator[Task]:
        for call in self.calls.prepare:
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
            for call in segment.packs:
                yield Task(call, (), share, REST)
        yield Task(self.calls.losses, (groups,), 1, REST)
        for shared in (*self.calls.sums, *chain.from_iterable(self.calls.updates)):
            yield Task(shared.call, (0, shared.rows, groups), share, UPDATE)

    def _turns(self, groups: int) -> int:
        """The blocks of the thread that has the most: groups are shared out in turn, and hold nearly as many each."""
        starts = [k * self.blocks // groups for k in range(groups + 1)]
        sizes = [after - first for first, after in pairwise(starts)]
        return max(sum(sizes[k :: self.threads]) for k in range(min(self.threads, groups)))


def step_time(plan: Plan, pace: Pace, mode: str = "training") -> StepTime:
    """What one step of `plan.batch` images is expected to take.

    A layer's time holds that of the layers which run in the same pass: activation functions, pooling, normalization.
    Raises NeocogError for an unknown mode, or for a dtype that was not measured.
    """
    check_step(plan, pace.dtype, mode)
    course = course_of(plan, mode, pace.threads)
    alone, step, byte = pace.together[course.kind]
    spent = [alone * pace.seconds(effort, course.wide) + byte * effort.bytes for effort in course.efforts]
    times = course.by_layer(spent)
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
    spread = math.hypot(pace.spread[course.kind], DRIFT)
    return StepTime(mode, plan.batch, layers, update, rest + step, spread, engine="native")
