"""A machine measured once, in seconds, and remembered: what it computes, moves and starts in a second."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from time import perf_counter

import numpy as np
import torch

from ..initialise import initialise
from ..network import Network
from ..plan.calibration import Calibration, Sample
from ..plan.time import step_time
from ..torch_engine.allocator import hold_freed_memory
from ..torch_engine.device import SMALL_STEP_MACS, check_dtype, pick_device, pick_threads, threads
from ..torch_engine.optimizers import OPTIMIZERS, make_optimizer
from ..torch_engine.trainer import TorchTrainer
from ..wording import count_of
from .clock import repeated, timed, typical
from .kept import Question, Report, digest, machine_name
from .probes import Probe, probes, time_probe
from .rehearsal import Rehearsal, rehearsals, rehearse

FORMAT = 10
ROUNDS = 2
"""Each layer is timed so often, with all the others between, and the mean counts."""
LIMIT = 60.0
"""Seconds after which no further layer is timed."""
LARGE = 128 * 2**20
"""Bytes of an array that is sure to get new pages, and that no cache holds."""
NEW = 8
"""How many such arrays are made at least."""

Times = dict[str, float]


def calibration(
    dtype: str = "float32",
    threads: int | None = None,
    device: str = "auto",
    *,
    folder: str | Path | None = None,
    chosen: Sequence[Probe] | None = None,
    report: Report | None = None,
) -> Calibration:
    """The calibration of this machine: the one in `folder`, or else measured now and written there.

    `threads` None is as many as torch uses; with fewer, only such layers are timed as the engine gives so few threads.
    `folder` None is `$NEOCOG_CACHE`, or `neocog` in the user's cache folder. `report` is told what is being done.
    What is damaged, of another machine, of another version or of other layers than those `chosen` is measured again.
    Raises NeocogError for an unknown device or dtype.
    """
    return calibration_question(dtype, threads, device, chosen).answer(folder, report)


def calibration_question(
    dtype: str, threads: int | None, device: str = "auto", chosen: Sequence[Probe] | None = None
) -> Question[Calibration]:
    """What `calibration` answers, for those who only want to know whether the answer is at hand."""
    check_dtype(dtype)
    place = pick_device(device)
    count = threads or torch.get_num_threads()
    most = SMALL_STEP_MACS if count < torch.get_num_threads() else None
    layers = probes(most) if chosen is None else chosen
    steps = [r for r in rehearsals() if pick_threads(r.network, r.batch) == count] if chosen is None else []
    key = {
        "format": FORMAT,
        "machine": machine_name(place),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "threads": count,
        "dtype": dtype,
        "layers": digest([str(probe) for probe in layers]),
        "networks": digest([(str(step.network), step.batch) for step in steps]),
    }

    def measure(report: Report) -> Calibration:
        return calibrate(dtype, count, place, chosen=layers, rehearsed=steps, report=report)

    return Question("calibration", key, Calibration, measure)


def calibrate(
    dtype: str,
    count: int,
    device: torch.device,
    *,
    chosen: Sequence[Probe],
    rehearsed: Sequence[Rehearsal],
    report: Report,
) -> Calibration:
    """Measure those layers and steps, and what is not a layer's, with so many threads."""
    hold_freed_memory()
    with threads(count):
        named = f"{machine_name(device)}, {count_of(count, 'thread')}, {dtype}"
        report(f"measuring this machine once, for some 40 s: {named}")
        page, bandwidth, flops = _page(device), _bandwidth(device), _peak(dtype, device)
        times = _timed(chosen, dtype, device, report)
        measured = Calibration(
            machine=machine_name(device),
            threads=count,
            dtype=dtype,
            flops=max([flops, *_rates(times, dtype)]),
            bandwidth=bandwidth,
            overhead=_overhead(times, dtype),
            page=page,
            step={"inference": 0.0, "training": 0.0},
            update={name: _update(name, device, arrays=1, size=LARGE // 4) / (LARGE // 4) for name in OPTIMIZERS},
            update_array=_update("nesterov", device, arrays=100, size=8) / 100,
            together={},
            spread={},
            samples=(),
        )
        measured = replace(measured, samples=tuple(_samples(times, measured)))
        measured = replace(measured, step=_step(measured, dtype, device))
        together, spread = rehearse(rehearsed, measured, device, report)
        return replace(measured, together=together, spread=spread)


def _timed(chosen: Sequence[Probe], dtype: str, device: torch.device, tell: Report) -> dict[Probe, Times]:
    """The mean of several rounds over all probes: a machine runs faster at one time than at another."""
    found: dict[Probe, list[Times]] = defaultdict(list)
    end = perf_counter() + LIMIT
    for turn in range(ROUNDS):
        tell(f"  {len(chosen)} layers, round {turn + 1} of {ROUNDS}")
        for probe in chosen:
            if perf_counter() > end:
                tell(f"  {LIMIT:.0f} s are over in round {turn + 1}: {len(found)} of {len(chosen)} layers were timed")
                return _mean(found)
            found[probe].append(time_probe(probe, dtype, device))
    return _mean(found)


def _mean(found: Mapping[Probe, Sequence[Times]]) -> dict[Probe, Times]:
    return {probe: {which: fmean(t[which] for t in rounds) for which in rounds[0]} for probe, rounds in found.items()}


def _samples(times: Mapping[Probe, Times], expecting: Calibration) -> Iterator[Sample]:
    for probe, seconds in times.items():
        works = probe.works(expecting.dtype)
        slowness = {which: t / expecting.expected(works[which], which) for which, t in seconds.items()}
        yield Sample(works["forward"].op, works["forward"].features, slowness)


def _rates(times: Mapping[Probe, Times], dtype: str) -> Iterator[float]:
    """Operations a second of each layer and pass."""
    for probe, seconds in times.items():
        works = probe.works(dtype)
        yield from (works[which].flops / t for which, t in seconds.items())


def _peak(dtype: str, device: torch.device) -> float:
    """Operations a second of matrix products, the best size of those that take no longer than a moment."""
    best, size = 0.0, 128
    while size <= 4096:
        a = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
        seconds = min(repeated(lambda a=a: a @ a, device, 0.02))  # type: ignore[misc]  # one matrix for each size
        best = max(best, 2 * size**3 / seconds)
        if seconds > 0.02:
            break
        size *= 2
    return best


def _bandwidth(device: torch.device) -> tuple[tuple[float, float], ...]:
    """Bytes that a copy reads and writes, with bytes a second; a larger copy is never faster than a smaller one."""
    found = []
    for size in (2**14, 2**17, 2**19, 2**21, 2**23, 2**26):
        a, b = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
        seconds = min(repeated(lambda a=a, b=b: a.copy_(b), device, 0.01))  # type: ignore[misc]
        found.append((2.0 * size, 2 * size / seconds))
    rates = np.maximum.accumulate([rate for _, rate in found][::-1])[::-1]
    return tuple((size, float(rate)) for (size, _), rate in zip(found, rates, strict=True))


def _overhead(times: Mapping[Probe, Times], dtype: str) -> dict[str, Times]:
    """Seconds of the shortest of each kind: among the probes of each is one that has next to nothing to do."""
    found: dict[str, Times] = {}
    for probe, seconds in times.items():
        before = found.setdefault(probe.works(dtype)["forward"].op, dict(seconds))
        for which, t in seconds.items():
            before[which] = min(t, before.get(which, t))
    return found


def _page(device: torch.device) -> float:
    """Seconds a byte that writing to a new array takes longer than to one that was there.

    Where freed memory is held, the first arrays may not fit into what was freed, and later ones do: the least counts.
    """
    old = torch.ones(LARGE, dtype=torch.uint8, device=device)
    again = repeated(lambda: old.fill_(1), device, 0.02, least=NEW)
    anew = repeated(lambda: torch.ones(LARGE, dtype=torch.uint8, device=device), device, 0.05, least=NEW)
    return max(0.0, min(anew) - min(again)) / LARGE


def _update(name: str, device: torch.device, *, arrays: int, size: int) -> float:
    """Seconds of one update of so many arrays of so many parameters, old gradients dropped."""
    owner = torch.nn.ParameterList(torch.zeros(1, size, device=device) for _ in range(arrays))
    optimizer = make_optimizer(owner, name, 0.9, 0.0)

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    found = []
    for _ in range(5):
        for parameter in owner:
            parameter.grad = torch.zeros_like(parameter)
        found.append(timed(update, device))
    return typical(found[1:])


def _step(measured: Calibration, dtype: str, device: torch.device) -> Times:
    """What a step of the smallest network takes beyond its layers and their update."""
    network = Network.parse("INPUT[1x1x1] -> FC2")
    trainer = TorchTrainer(
        network, initialise(network), loss="cross-entropy", device=str(device), batch_size=1, dtype=dtype
    )
    x, labels = np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, np.int64)
    plan = network.plan(dtype=dtype, optimizer="nesterov")
    whole = {
        "inference": typical(repeated(lambda: trainer.scores(x), device, 0.02)),
        "training": typical(repeated(lambda: trainer.step(x, labels, 0.0), device, 0.05)),
    }
    return {mode: max(0.0, t - step_time(plan, measured, mode).seconds) for mode, t in whole.items()}
