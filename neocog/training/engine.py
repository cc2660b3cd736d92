"""What the training loop needs from an engine, and which engine it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.dataset import Told, silence
from ..errors import NeocogError
from ..feed import Course, Moves, Pixels, Taken
from ..measure.calibration import calibration_question
from ..measure.pace import pace_question
from ..native import pace as native_pace
from ..native import trainer as native
from ..native.jit import machine
from ..native.trainer import NativeTrainer, busy_lanes, not_covered
from ..network import Network
from ..plan.tables import duration, size
from ..plan.time import step_time
from ..resources import available_memory, cores
from ..torch_engine.device import DTYPES, SMALL_STEP_MACS, check_dtype, pick_device, pick_threads
from ..torch_engine.rates import frozen_statistics
from ..torch_engine.trainer import TorchTrainer
from .augment import NONE, Augment
from .settings import Settings
from .trial import MAKERS, Step, Way, trial_question, worth_trying

ENGINES = ("auto", "torch", "native")
AUTO = "auto"
MOST_PARAMETERS = 2_000_000
"""Up to how many `auto` trusts the native engine on a machine that has not been calibrated: its gradients stand in
memory once for each part of a batch."""
SHARE_OF_MEMORY = 0.5
"""Of what is available, how much the native engine may take for `auto` to choose it."""
ADVANTAGE = 1.3
"""How often the native engine was at least as fast as torch, with all lanes and threads busy (docs/performance.md)."""
UNTIMED = "; float32 until `neocog plan lenet5 --time` has timed this machine, without and with --dtype bfloat16"
"""Said where `dtype` auto cannot know which is the faster."""


class Engine(Protocol):
    """Holds a network's weights and optimizer state, and changes them by one mini-batch after the other."""

    name: str
    device: str
    threads: int

    def learn(self, course: Course) -> Taken:
        """The steps of a course, up to the first whose loss is not finite: that one leaves the weights as they are."""

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output (N, K) as at prediction."""

    def answers(self, pixels: Pixels, moves: Moves | None = None) -> NDArray[np.float32]:
        """The same for images as bytes, each by its own move (N, 6) if there are any."""

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all arrays by name."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next step depends on: `<kind>/<node>.<parameter>`, and counts."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was read from, bit for bit. Raises ModelFileError for the state of something else."""

    def first_non_finite(self, x: NDArray[np.float32]) -> str | None:
        """The name of the first layer whose output for x is not finite."""


class Choice(NamedTuple):
    """The engine for a network and the dtype of its products, and in words why they are these."""

    make: type[TorchTrainer] | type[NativeTrainer]
    dtype: str
    reason: str


def choose_engine(
    name: str,
    network: Network,
    device: str = "auto",
    loss: str = "cross-entropy",
    optimizer: str = "nesterov",
    batch_size: int = 64,
    dtype: str = "float32",
    beyond: str = "",
    steps: float = 0.0,
    told: Told = silence,
) -> Choice:
    """The engine that trains a network with its loss and its optimizer.

    `auto` is torch on a GPU where there is one. On a CPU that has been calibrated (`neocog plan --time` does so once)
    it is the engine that is expected to take less time for a step, unless that is native and would take more than
    half of the memory that is available; with `dtype` auto the faster of float32 and bfloat16 too. Those that are
    expected to be nearly as fast as each other are tried by turns, once, where a run of so many `steps` is long beside
    that; `told` hears of it. Elsewhere it is native where that has kernels for all that is asked, the weights are few
    enough for each part of a batch to have gradients of its own, and the mini-batches keep enough lanes and threads
    busy; else torch; and `dtype` auto is float32. `beyond` is what else is asked for that native has not. A run never
    mixes engines.
    Raises NeocogError for an engine, a dtype or a device that is not there.
    """
    if name not in ENGINES:
        raise NeocogError(f"engine is one of {', '.join(ENGINES)}", received=f"engine={name}")
    if dtype != AUTO:
        check_dtype(dtype)
    place = pick_device(device)
    missing = "kernels for CPUs only" if place.type == "cuda" else not_covered(network, loss, optimizer) or beyond
    if name == "native" and missing:
        raise NeocogError("the native engine cannot train this", received=missing, hint="engine=torch or engine=auto")
    if name == "auto" and place.type == "cuda":
        why = "a GPU is there" if device == "auto" else "as asked"
        return Choice(TorchTrainer, _plain(dtype), f"torch on {place}: {why}")
    engines = [one for one in ("native", "torch") if name in (one, "auto") and not (one == "native" and missing)]
    ways = [Way(one, d) for one in engines for d in (DTYPES if dtype == AUTO else (dtype,))]
    step = Step(network, loss, optimizer, batch_size)
    if len(ways) > 1 and place.type == "cpu" and (chosen := _fastest(ways, step, steps, told)):
        return chosen
    if name != "auto":
        where = f" on {place}" if name == "torch" else ""
        return Choice(MAKERS[name], _plain(dtype), f"{name}{where}, as asked")
    untimed = UNTIMED if dtype == AUTO else ""
    if missing := missing or _too_many(network) or _idle(network, batch_size, cores()):
        return Choice(TorchTrainer, _plain(dtype), f"torch on {place}: native has {missing}{untimed}")
    return Choice(NativeTrainer, _plain(dtype), f"native: machine code for this network{untimed}")


def native_lacks(settings: Settings, network: Network, factors: Mapping[str, float]) -> str:
    """What settings ask for that only torch has; empty where native has all of it.

    Native goes through a mini-batch block by block, so that accumulating gradients changes nothing there, unless a
    layer mixes the batch.
    """
    coupled = [node.layer.op for node in network.nodes if node.layer.couples_batch]
    if settings.clip:
        return "no clipping of gradients"
    if settings.class_weights != NONE:
        return "no class weights"
    if beyond := Augment.parse(settings.augment).torch_only:
        return f"no {beyond} of images"
    if settings.accumulate > 1 and coupled:
        return f"no {coupled[0]} over parts of a mini-batch"
    return f"no frozen {coupled[0]}" if frozen_statistics(network, factors) else ""


def _plain(dtype: str) -> str:
    return "float32" if dtype == AUTO else dtype


def _fastest(ways: list[Way], step: Step, steps: float, told: Told) -> Choice | None:
    """Of engines and dtypes by the time of a step, as it is expected or has been tried; None unless all are known."""
    expected: Mapping[Way, float] = {
        way: seconds for way in ways if (seconds := expected_seconds(*way, step)) is not None
    }
    if len(expected) < len(ways):
        return None
    order = sorted(ways, key=lambda way: expected[way])
    too_large = ""
    if order[0].engine == "native" and any(way.engine == "torch" for way in ways):
        too_large = _too_large(step, order[0])
    if too_large:
        order.sort(key=lambda way: way.engine == "native")
    found, how, said = expected, " expected", too_large
    if not too_large and (tried := _tried(expected, step, steps, told)):
        found, how, said = tried, "", "; tried by turns"
        order = sorted(tried, key=lambda way: tried[way])
    best, *others = order
    shown = "".join(f", {duration(found[way])} by {way.engine} in {way.dtype}" for way in others) + said
    why = f"{best.engine}: {duration(found[best])} a step{how} in {best.dtype}{shown}"
    return Choice(MAKERS[best.engine], best.dtype, why)


def _tried(expected: Mapping[Way, float], step: Step, steps: float, told: Told) -> Mapping[Way, float]:
    """Seconds of a step in the ways that are worth a trial; empty where there are none, or memory for only one."""
    ways = worth_trying(expected, steps)
    free = available_memory()
    if not ways or (free is not None and sum(map(step.needed, ways)) > SHARE_OF_MEMORY * free):
        return {}
    return trial_question(step, ways, told).answer().seconds


def _too_large(step: Step, way: Way) -> str:
    """Whether a step would take too much memory so, in words; empty where it would not."""
    needed, free = step.needed(way), available_memory()
    if free is None or needed <= SHARE_OF_MEMORY * free:
        return ""
    return f"; {way.engine} would take {size(needed)}, more than half of the {size(free)} of memory available"


def expected_seconds(engine: str, dtype: str, step: Step) -> float | None:
    """Seconds of a training step on this CPU; None where it has not been calibrated for that."""
    plan = step.plan(dtype)
    if engine == "torch":
        found = calibration_question(dtype, pick_threads(step.network, step.batch_size), "cpu").at_hand()
        return step_time(plan, found).seconds if found else None
    pace = pace_question(dtype, native.pick_threads(step.network, step.batch_size)).at_hand()
    return native_pace.step_time(plan, pace).seconds if pace else None


def _too_many(network: Network) -> str:
    count = network.plan().totals["parameters"]
    return f"too many weights to hold, {count:,}" if count > MOST_PARAMETERS else ""


def _idle(network: Network, batch_size: int, threads: int) -> str:
    """Whether mini-batches leave so much idle that torch is the better choice; empty where they do not."""
    for_torch = 1 if network.plan().totals["macs"] * batch_size < SMALL_STEP_MACS else threads
    busy = busy_lanes(network, batch_size, threads, machine().lanes)
    if ADVANTAGE * busy < for_torch:
        return f"few lanes to fill, {busy:.1f} of {for_torch} threads' with mini-batches of {batch_size}"
    return ""
