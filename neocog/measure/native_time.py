"""The native engine's step, timed as a whole and call by call, beside what was predicted for it."""

from __future__ import annotations

from time import perf_counter

from ..native.pace import BACKWARD, FORWARD, UPDATE, Pace, course_of, step_time
from ..plan.plan import Plan
from ..torch_engine.allocator import hold_freed_memory
from .calls import Stepper
from .clock import repeated, typical, watched
from .pace import CPU, trainer_for
from .rehearsal import check_training, step_of
from .time import Comparison, Measured


def compare(plan: Plan, pace: Pace, mode: str = "training", *, seconds: float = 2.0) -> Comparison:
    """Predict one step of `plan.batch` images, run it for so many seconds, and put both side by side.

    Raises NeocogError where `step_time` does, and for training of a network whose output is no vector.
    """
    return Comparison(plan, step_time(plan, pace, mode), measure(plan, mode, pace.threads, seconds=seconds))


def measure(plan: Plan, mode: str, threads: int, *, seconds: float = 2.0) -> Measured:
    """Run the engine's own step on random images, whole and then call by call on one thread.

    A layer's seconds are those of its calls for as many blocks as the busiest thread has.
    """
    check_training(plan, mode)
    hold_freed_memory()
    trainer = trainer_for(plan, threads)
    course = course_of(plan, mode, threads)
    stepper = Stepper(course)
    with watched() as load:
        whole = typical(repeated(step_of(trainer, plan, mode), CPU, seconds))
        start = perf_counter()
        stepper.seconds(1)
        each = stepper.seconds(max(3, int(seconds / (perf_counter() - start))))
    spent = course.by_layer([task.times * one for task, one in zip(course.tasks, each, strict=True)])
    layers = {
        row.name: (spent.get((row.name, FORWARD), 0.0), spent.get((row.name, BACKWARD), 0.0)) for row in plan.rows
    }
    return Measured(whole, layers, spent.get(("", UPDATE), 0.0), load.others)
