"""The pace of the native engine on this machine, measured once, in seconds, and remembered."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import llvmlite
import numpy as np
import torch

from ..initialise import initialise
from ..losses import default_loss
from ..native import program, trainer
from ..native.effort import Effort
from ..native.expressions import Index, Type, constant, fma, load
from ..native.jit import NARROWEST, Compiled, machine
from ..native.kernel import Function
from ..native.layout import aligned
from ..native.pace import FEW, Pace, course_of
from ..native.trainer import NativeTrainer, not_covered
from ..plan.calibration import Together, Vector
from ..plan.plan import Plan
from ..resources import cores
from ..torch_engine.allocator import hold_freed_memory
from ..wording import count_of
from .calls import Stepper
from .clock import repeated, typical
from .kept import Question, Report, digest, machine_name
from .rehearsal import Rehearsal, fit, rehearsals, settings_of, step_of

FORMAT = 3
ROUNDS = 9
"""How often each call is timed."""
SECONDS = 0.12
"""How long each whole step is repeated."""
MOST_PARAMETERS = 2_000_000
"""Networks with more are not rehearsed."""
LIKELY = (0.5, 5e-5, 5e-11)
"""How far the weights of whole steps are expected to be from those of calls that nothing disturbs."""
TICK = 1e-6
"""Calls that take much less, in seconds, are timed less well, and count for less."""
USUAL = {"products": 1.0, "other": 1.0, "slow": 16.0, "moves": 0.5, "turns": 1.0, "tiles": 32.0, "bytes": 0.02}
"""Cycles in which one is begun, of those in which a product is: what processors' makers say, roughly."""
VARIED = 1.0
"""By what share of it these are expected to be off, as a standard deviation; all are rough."""
UNEXPLAINED = 0.3
"""How far a call is expected to be from what is counted, as a share of it."""
CPU = torch.device("cpu")


def pace(
    dtype: str = "float32",
    threads: int | None = None,
    *,
    folder: str | Path | None = None,
    chosen: Sequence[Rehearsal] | None = None,
    report: Report | None = None,
) -> Pace:
    """The native engine's pace on this machine: the one in `folder`, or else measured now and written there.

    `threads` None is one for each core. `folder` None is `$NEOCOG_CACHE`, or `neocog` in the user's cache folder.
    `report` is told what is being done. What is damaged, or of another machine, version or generator of code, is
    measured again.
    """
    return pace_question(dtype, threads, chosen).answer(folder, report)


def pace_question(dtype: str, threads: int | None, chosen: Sequence[Rehearsal] | None = None) -> Question[Pace]:
    """What `pace` answers, for those who only want to know whether the answer is at hand."""
    count = threads or cores()
    networks = [r for r in rehearsals() if _fits(r)] if chosen is None else list(chosen)
    key = {
        "format": FORMAT,
        "machine": machine_name(CPU),
        "cores": os.cpu_count(),
        "llvmlite": llvmlite.__version__,
        "generator": generator(),
        "threads": count,
        "dtype": dtype,
        "networks": digest([(str(step.network), step.batch) for step in networks]),
    }
    return Question("pace", key, Pace, lambda report: measure_pace(dtype, count, networks, report))


def pace_for(plan: Plan, *, report: Report | None = None) -> Pace:
    """The pace for the dtype of a plan and the threads that the engine gives it.

    It is measured for all threads and for one, whichever the plan gets: then the time of every step is known.
    """
    own = trainer.pick_threads(plan.network, plan.batch)
    return {count: pace(plan.dtype, count, report=report) for count in sorted({own, 1, cores()})}[own]


def _fits(step: Rehearsal) -> bool:
    small = step.network.plan().totals["parameters"] <= MOST_PARAMETERS
    return small and not not_covered(step.network, default_loss(step.network).name, "nesterov")


def generator() -> str:
    """The code that makes the engine's code: another one makes steps of another length."""
    found = hashlib.sha256()
    for file in sorted(Path(program.__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def measure_pace(dtype: str, threads: int, networks: Sequence[Rehearsal], tell: Report) -> Pace:
    """Time the calls of those networks' steps on one thread, and whole steps on all."""
    hold_freed_memory()
    tell(f"measuring the native engine once, for some 20 s: {count_of(threads, 'thread')}, {dtype}")
    plans = [step.network.plan(batch=step.batch, dtype=dtype, optimizer="nesterov") for step in networks]
    alone = {step.network: step.network.plan(dtype=dtype, optimizer="nesterov") for step in networks}
    steps = {"training": plans, "inference": plans, FEW: list(alone.values())}
    narrow = narrower()
    efforts: list[Effort] = []
    seconds: list[float] = []
    for k, plan in enumerate(plans):
        tell(f"  network {k + 1} of {len(plans)}, call by call")
        course = course_of(plan, "training", 1)
        for task, effort, spent in zip(course.tasks, course.efforts, Stepper(course).seconds(ROUNDS), strict=True):
            one = Effort(*(n / task.times for n in effort))
            efforts.append(one.in_whole(narrow[str(course.wide)]) if course.wide > 1 else one)
            seconds.append(float(spent))
    cycle = 2 * machine().lanes / peak(1)
    measured = Pace(machine_name(CPU), threads, dtype, peak(threads), costs(efforts, seconds, cycle), narrow, {}, {})
    together: dict[str, Together] = {}
    spread: dict[str, float] = {}
    for kind, whole in steps.items():
        tell(f"  {kind}, {len(whole)} networks")
        (weight, step, byte), spread[kind] = fit(np.array([_row(plan, measured, kind) for plan in whole]), LIKELY)
        together[kind] = weight, max(0.0, step), byte
    return replace(measured, together=together, spread=spread)


def _row(plan: Plan, measured: Pace, kind: str) -> Vector:
    """What is weighed, and what it should come to, as shares of that."""
    mode = "training" if kind == "training" else "inference"
    made = trainer_for(plan, measured.threads)
    seconds = typical(repeated(step_of(made, plan, mode), CPU, SECONDS))
    row: Vector = np.append(course_of(plan, mode, measured.threads).alone(measured), seconds) / seconds
    return row


def trainer_for(plan: Plan, threads: int | None = None) -> NativeTrainer:
    """The native engine with the plan's network, batch, optimizer and dtype."""
    return NativeTrainer(plan.network, initialise(plan.network), threads=threads, **settings_of(plan))


def costs(efforts: Sequence[Effort], seconds: Sequence[float], cycle: float) -> dict[str, float]:
    """Seconds of each kind of instruction that explain these calls, none below zero.

    Ridge regression, drawn towards what such instructions take where one is begun in every `cycle` (seconds): calls of
    all kinds have much of the same mixture, so that least squares alone would not tell one kind from another.
    Starting a call from Python takes as long as the shortest of them.
    """
    spent = np.array(seconds) - min(seconds)
    weight = (spent + TICK) ** -0.75  # between errors in seconds, where large calls decide, and in shares of each call
    weight /= math.sqrt(float(np.mean((spent * weight) ** 2))) * UNEXPLAINED
    usual = np.array([USUAL[name] for name in Effort._fields]) * cycle
    a, off = np.array(efforts) * weight[:, None], (spent - np.array(efforts) @ usual) * weight
    scale = usual * VARIED
    change = np.linalg.lstsq(np.vstack([a * scale, np.eye(len(usual))]), np.append(off, 0 * usual), rcond=None)[0]
    found = np.maximum(usual + change * scale, 0.0)
    return dict(zip(Effort._fields, found.tolist(), strict=True))


def narrower() -> dict[str, float]:
    """What part of an instruction's time it takes on vectors of which two, or four, fill one of the processor's."""
    lanes, whole = machine().lanes, peak(1)
    return {str(wide): whole / (wide * peak(1, lanes // wide)) for wide in (2, 4) if lanes // wide >= NARROWEST}


def peak(threads: int, lanes: int = 0) -> float:
    """Multiplications and additions a second that so many threads reach together on registers alone.

    Of vectors with so many lanes; with none given, as many as the processor has.
    """
    vector, sums, turns, calls = Type("f32", lanes or machine().lanes), 12, 100_000, 20
    f = Function("limit", ["x"])
    one = f.let(load(vector, "x", Index()))
    variables = [f.variable(constant(vector, 0.0)) for _ in range(sums)]
    with f.loop(turns):
        for variable in variables:
            f.set(variable, fma(one, one, variable.value))
    for k, variable in enumerate(variables):
        f.store("x", Index(k), variable.value)
    code = Compiled([f])

    def once(_: int) -> float:
        memory, start = aligned(sums * vector.lanes), perf_counter()
        for _ in range(calls):
            code.call("limit", [ctypes.c_void_p(memory.ctypes.data)])
        return 2 * sums * vector.lanes * turns * calls / (perf_counter() - start)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(once, range(threads)))
