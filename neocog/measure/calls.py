"""The native engine's step, call by call on one thread, with a look at the clock before each."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from time import perf_counter

import numpy as np

from ..initialise import initialise
from ..losses import default_loss
from ..native.engine import NativeNetwork
from ..native.expressions import Access
from ..native.jit import Compiled, machine
from ..native.pace import WAYS, BlockCourse, Course, FewCourse, Task
from ..plan.calibration import Vector
from .rehearsal import images_for

Timed = Callable[[], float]


class Stepper:
    """A native network whose step runs as a course says, in the order of the engine, one block after the other."""

    def __init__(self, course: Course) -> None:
        plan = course.plan
        loss, self.training = default_loss(plan.network).name, course.kind == "training"
        used = machine().for_images(plan.batch, pairs=plan.dtype == "bfloat16")
        self.network = NativeNetwork(plan.network, 1, plan.optimizer, loss, plan.dtype, on=used)
        self.network.write_weights(initialise(plan.network))
        x, labels = images_for(plan)
        if isinstance(course, BlockCourse):
            self.network.train(x, labels, 0.0, 0.0, 0.0)  # everything gets its memory
            self.network.score(np.resize(x, (max(plan.batch, used.whole.lanes), *x.shape[1:])))  # no few images
            self.calls = [self._in_blocks(task, course.blocks) for task in course.tasks]
        else:
            assert isinstance(course, FewCourse)  # noqa: S101
            self.network.score(x)
            self.calls = [self._of_few(task) for task in course.tasks]

    def _in_blocks(self, task: Task, blocks: int) -> list[Timed]:
        """One for each block; a single one for what threads share."""
        each = range(blocks if task.where in WAYS and not task.numbers else 1)
        training, network = self.training, self.network
        layout = network.program.training_layout if training else network.program.predicting_layout
        places = [layout.placed(place) for place in task.call.places]
        return [_timed(network.code, task, places, network.addresses(block, training=training)) for block in each]

    def _of_few(self, task: Task) -> list[Timed]:
        scorer = self.network.few
        assert scorer is not None  # noqa: S101
        return [_timed(scorer.code, task, task.call.places, scorer.addresses())]

    def seconds(self, rounds: int) -> Vector:
        """Of each task for one block or image, typically: (tasks,)."""
        found = np.array([self._round() for _ in range(rounds)])
        faster: Vector = np.median(np.sort(found, axis=0)[: (rounds + 1) // 2], axis=0)
        return faster

    def _round(self) -> list[float]:
        """Calls of blocks follow each other block by block, as they do between two meetings."""
        spent = [0.0] * len(self.calls)
        for blocks, tasks in groupby(range(len(self.calls)), key=lambda k: len(self.calls[k])):
            together = list(tasks)
            for block in range(blocks):
                for k in together:
                    spent[k] += self.calls[k][block]()
        return [total / len(calls) for total, calls in zip(spent, self.calls, strict=True)]


def _timed(code: Compiled, task: Task, places: Sequence[Access], at: Mapping[str, int]) -> Timed:
    function = task.call.function
    kinds = [ctypes.c_void_p] * len(function.buffers) + [ctypes.c_int64] * len(task.numbers)
    run = code.function(function.name, kinds)
    arguments = [*(at[place.buffer] + 4 * place.at.constant for place in places), *task.numbers]

    def timed() -> float:
        start = perf_counter()
        run(*arguments)
        return perf_counter() - start

    return timed
