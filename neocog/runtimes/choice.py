"""Which runtime is fastest for a model here: measured once, and only where it is worth the time.

Torch, which needs nothing made ready, is timed first. Where it is done with all images in `WORTH` seconds there is
nothing to gain. Else the others are timed, one after the other until `BUDGET` seconds are over, or a `SHARE` of what
torch would take, on as many images at once as make some milliseconds of work. One that takes long to be made ready
(`Runtime.patience`), as compiled code does, is tried only where that is within those seconds too. The fastest are then
timed by turns, since a first call is slow and a machine's pace wavers. What was measured is kept for this network,
batch and machine: images a second, and how long each took to be made ready, which decides what is fastest for a number
of images. A runtime is taken only if it gives the answers of the plain module, which is looked at anew each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import NeocogError
from ..losses import LOSSES
from ..measure.clock import repeated, typical
from ..measure.kept import Question, digest, machine_name
from ..model import Model
from ..resources import available_memory, cores
from ..wording import count_of
from .base import DTYPES, FLOAT32, Runtime
from .table import RUNTIMES

AUTO, DEFAULT = "auto", "torch"
WORTH, BUDGET, SHARE = 2.0, 2.0, 0.05
"""Seconds: images that torch reads sooner are no reason to measure. After so many, or that share of what torch would
take for all images, no other runtime is begun with.
"""
SAMPLE_MACS, LARGEST_SAMPLE = 2_000_000_000, 256
TIMED = 0.05
NEAR, TURNS = 2.0, 5
"""How many times as fast as another the fastest runtime is at most where both are timed again, and how many times."""
TURN_SECONDS, HELD = 10.0, 3
"""How long turns may take in all, and how often a runtime may have the weights: as they came, and as it reads them."""
FORMAT = 2
"""Of how they are measured: what was kept of another is not used."""
LONG, NOTICED = 1.0, 0.1
"""Seconds to be made ready that are worth a word before, and beside what was measured."""
AGREED = 1e-3
"""The largest difference from the plain module, as a share of its largest output, with which float32 agrees."""
PROBES, FEW = 4, 16
MOST_COMPILED = 60
"""Layers of a network whose native code takes longer to make than measuring may take."""
Tell = Callable[[str], None]


class Choice(NamedTuple):
    """The model as it will compute: `model` has the runtime, `reason` says why that one."""

    model: Model
    runtime: str
    dtype: str
    reason: str


class Agreement(NamedTuple):
    """The largest difference from the plain module's outputs, as a share of the largest of those; how many of the
    images get another class.
    """

    error: float
    others: int
    images: int

    def __str__(self) -> str:
        classes = "the same classes" if not self.others else f"other classes for {self.others}"
        return f"{classes} on {count_of(self.images, 'image')}, outputs within {self.error:.1e} of the largest"


@dataclass(frozen=True)
class Rates:
    """Images a second by runtime, on so many images at once, and in how many seconds each was ready."""

    batch: int
    rates: Mapping[str, float] = field(default_factory=dict)
    ready: Mapping[str, float] = field(default_factory=dict)

    def fastest(self, count: int) -> list[str]:
        """The runtimes, first the one that has read so many images soonest."""
        return sorted(self.rates, key=lambda name: self.ready[name] + count / self.rates[name])

    def __str__(self) -> str:
        found = sorted(self.rates.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} {rate:,.0f}{self._after(name)}" for name, rate in found)
        return f"images/s, {self.batch} at once: {shown}"

    def _after(self, name: str) -> str:
        """In how many seconds it is ready, where that can be why a slower one is soonest done."""
        return f" (ready in {self.ready[name]:.2g} s)" if self.ready[name] >= NOTICED else ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"batch": self.batch, "rates": dict(self.rates), "ready": dict(self.ready)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        rates = {str(name): float(rate) for name, rate in values["rates"].items() if name in RUNTIMES}
        ready = {name: float(values["ready"][name]) for name in rates}
        sound = all(np.isfinite(rate) and rate > 0 for rate in rates.values())
        if not rates or not sound or not all(0 <= seconds < np.inf for seconds in ready.values()):
            raise ValueError
        return cls(int(values["batch"]), rates, ready)


def choose(
    model: Model,
    count: int,
    runtime: str = AUTO,
    dtype: str = FLOAT32,
    tell: Tell = lambda text: None,
    *,
    batch: int | None = None,
) -> Choice:
    """The model with the runtime of that name, or with the fastest for `count` images, `batch` of them at once.

    Raises NeocogError for a runtime that there is not, or that lacks something for this model, saying what. `tell` is
    told what is being measured.
    """
    if runtime != AUTO and runtime not in RUNTIMES:
        raise NeocogError("there is no such runtime", received=runtime[:40], hint=f"{AUTO}, {', '.join(RUNTIMES)}")
    if dtype not in DTYPES:
        raise NeocogError("there is no such dtype", received=dtype[:40], hint=", ".join(DTYPES))
    if runtime == AUTO and dtype == FLOAT32 and count < FEW:
        return Choice(model, DEFAULT, dtype, "few images")
    at_once = batch or _sample(model, count)
    if runtime != AUTO:
        return _taken(model, runtime, dtype, at_once, "asked for", tell)
    return _fastest(model, count, dtype, tell, at_once)


def _taken(model: Model, name: str, dtype: str, batch: int, reason: str, tell: Tell) -> Choice:
    """The model with one runtime. Raises NeocogError where it cannot run it, or computes something else."""
    kind = RUNTIMES[name]
    if lack := kind.lacks(model, dtype):
        raise NeocogError(f"{name} cannot run this model in {dtype}", received=lack, hint=f"--runtime {AUTO}")
    made, _ = _made(model, name, dtype, batch, tell)
    found = agreement(model, made, batch)
    if dtype == FLOAT32 and found.error > AGREED:
        raise NeocogError(f"{name} does not give the model's answers", received=str(found), hint=f"--runtime {DEFAULT}")
    return Choice(replace(model, runtime=made), name, dtype, f"{reason}; {found}")


def _fastest(model: Model, count: int, dtype: str, tell: Tell, batch: int) -> Choice:
    x = _images(model, batch)
    able = [name for name, kind in RUNTIMES.items() if not kind.lacks(model, dtype)]
    if not able:
        raise NeocogError(f"no runtime here computes in {dtype}", hint=f"--dtype {FLOAT32}")
    images = count_of(count, "image")
    first, patience = able[0], {name: RUNTIMES[name].patience(model.network) for name in able}
    known = _question(model, x, dtype, able).at_hand()
    if known is None:
        soon = _question(model, x, dtype, [name for name in able if not patience[name]]).at_hand()
        seconds = count / (soon.rates[first] if soon else batch / _seconds(RUNTIMES[first](model, dtype, batch), x))
        if soon is None and seconds < WORTH:
            reason = f"it reads {images} in about {max(seconds, 0.01):.2g} s, so no other was measured"
            if (first, dtype) == (DEFAULT, FLOAT32):
                return Choice(model, DEFAULT, dtype, reason)
            return _taken(model, first, dtype, batch, reason, tell)
        budget = max(BUDGET, SHARE * seconds)
        tried = [name for name in able if patience[name] <= budget]
        question = _question(model, x, dtype, tried, budget)
        known = question.at_hand()
        if known is None:
            tell(f"measuring runtimes for {images}: {', '.join(tried)}")
            known = question.answer(report=tell)
    for name in known.fastest(count):
        try:
            return _taken(model, name, dtype, batch, f"soonest done with {images}, as measured ({known})", tell)
        except NeocogError as error:
            tell(str(error))
    return _taken(model, first, dtype, batch, "no other gave the model's answers", tell)


def _question(
    model: Model, x: NDArray[np.float32], dtype: str, names: list[str], budget: float = BUDGET
) -> Question[Rates]:
    """How fast these runtimes are."""

    def measure(tell: Tell) -> Rates:
        return _measured(model, x, dtype, names, budget, tell)

    return Question("runtimes", _key(model, len(x), dtype, names), Rates, measure)


def _measured(model: Model, x: NDArray[np.float32], dtype: str, tried: list[str], budget: float, tell: Tell) -> Rates:
    """The rate of each until the time is over; the first is measured in any case. The fastest ones then take turns."""
    rates: dict[str, float] = {}
    ready: dict[str, float] = {}
    fast: dict[str, Runtime] = {}
    start = perf_counter()
    for name in tried:
        slow_to_make = name == "native" and len(model.network.nodes) > MOST_COMPILED
        if rates and (slow_to_make or perf_counter() - start > budget):
            continue
        try:
            made, ready[name] = _made(model, name, dtype, len(x), tell)
            if ready[name] >= LONG:  # code was compiled, and is kept: what is waited for from now on is less
                made, ready[name] = _made(model, name, dtype, len(x), lambda text: None)
        except NeocogError as error:
            tell(str(error))
        else:
            rates[name], fast[name] = len(x) / _seconds(made, x), made
            fast = {one: fast[one] for one in _fastest_of(rates, model) if one in fast}
    _take_turns(fast, x, rates, budget)
    return Rates(len(x), rates, ready)


def _fastest_of(rates: Mapping[str, float], model: Model) -> list[str]:
    """Those that will be timed again, and are held until then: as many of the fastest as memory has room for."""
    near = sorted((name for name in rates if NEAR * rates[name] >= max(rates.values())), key=lambda name: -rates[name])
    room, each = available_memory(), HELD * sum(array.nbytes for array in model.weights.values())
    return near if room is None else near[: max(1, int(room / 2 / max(1, each)))]


def _take_turns(fast: Mapping[str, Runtime], x: NDArray[np.float32], rates: dict[str, float], budget: float) -> None:
    """Time runtimes again, one after the other and over again: each has its best, which what disturbs it only hides."""
    start = perf_counter()
    for _ in range(TURNS if len(fast) > 1 else 0):
        for name, runtime in fast.items():
            rates[name] = max(rates[name], len(x) / _seconds(runtime, x))
        if perf_counter() - start > min(budget, TURN_SECONDS):
            return


def _made(model: Model, name: str, dtype: str, batch: int, tell: Tell) -> tuple[Runtime, float]:
    """A runtime, and in how many seconds it was ready; where that is long it is said before."""
    kind, start = RUNTIMES[name], perf_counter()
    if (patience := kind.patience(model.network)) >= LONG:
        tell(f"{name} is being made ready, which may take {patience:.0f} s")
    return kind(model, dtype, batch), perf_counter() - start


def _seconds(made: Runtime, x: NDArray[np.float32]) -> float:
    return typical(repeated(lambda: made.scores(x), torch.device("cpu"), TIMED))


def _sample(model: Model, count: int) -> int:
    """How many images at once: some milliseconds of work, and a power of two so that counts share what was measured."""
    most = max(1, min(count, LARGEST_SAMPLE, SAMPLE_MACS // max(1, model.network.plan().totals["macs"])))
    return 1 << (most.bit_length() - 1)


def _images(model: Model, count: int) -> NDArray[np.float32]:
    """The golden images over and over, else random ones; preprocessed."""
    if model.golden is not None:
        return model.preprocessing(np.resize(model.golden[0], (count, *model.golden[0].shape[1:])))
    shape = model.network.input_shape
    return np.random.default_rng(0).standard_normal((count, shape.channels, *shape.spatial)).astype(np.float32)


def agreement(model: Model, made: Runtime, batch: int) -> Agreement:
    """A runtime beside the plain module on a few images, in batches of the size that it was made for."""
    x = _images(model, -(-PROBES // batch) * batch)
    found = [made.scores(x[k : k + batch]) for k in range(0, len(x), batch)]
    return compared(model, model.scores(x), np.concatenate(found))


def compared(model: Model, wanted: NDArray[np.float32], found: NDArray[np.float32]) -> Agreement:
    """How outputs differ from the wanted ones of a model; those that are not numbers differ infinitely."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return Agreement(float("inf"), len(wanted), len(wanted))
    error = float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-30))
    classes = [LOSSES[model.loss].posterior(scores).argmax(1) for scores in (wanted, found)]
    return Agreement(error, int((classes[0] != classes[1]).sum()), len(wanted))


def _key(model: Model, batch: int, dtype: str, able: list[str]) -> dict[str, Any]:
    """All that speed depends on: the network, not the values of its weights."""
    return {
        "format": FORMAT,
        "network": digest(str(model.network)),
        "batch": batch,
        "dtype": dtype,
        "machine": machine_name(torch.device("cpu")),
        "threads": cores(),
        "versions": {name: _version(name) for name in ("neocog", *able) if name != "native"},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
