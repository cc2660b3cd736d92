"""A network that learns in a thread of its own, watched and steered while it does.

What a run comes to is decided by its text, data and settings, and by its edits: what was changed before which step.
They are kept as events, and `script` gives a new run those of another, at the same steps. Looking costs at most
twice `LOOKING` of the time. All that touches the engine happens in the thread; others ask it (`ask`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Event, Lock, Thread
from time import perf_counter
from typing import Any, TypeVar

from ..data import Splits
from ..errors import NeocogError, RunError
from ..model import Model, Weights
from ..network import Network
from ..training.batches import Pass
from ..training.checkpoint import Checkpoint, Place
from ..training.engine import Engine
from ..training.loop import Pace
from ..training.metrics import Meter
from ..training.session import Session
from ..training.settings import Settings
from .choosing import check_settings
from .orders import Orders
from .progress import Progress
from .records import Allowance, Curve, moved

T = TypeVar("T")

LOOKING, LOOK_SECONDS = 0.01, 0.3
"""The most of a run's time that goes into looking at it, and the least seconds between two looks.

Its thread takes so much, and those who ask what is inside take as much again.
"""
MOST_EDITS, EVENTS_TOLD = 1000, 50
CLOSE_SECONDS, ANSWER_SECONDS = 10, 60
"""That a thread gets to end its step, and to answer what it is asked between two."""
_PREPARING = Lock()
"""One run is prepared at a time, so that the first of several that are begun together learns while the others wait."""
EDITABLE = ("lr", "momentum", "batch_size", "weight_decay")


class Live:
    """One run. Its attributes are read by others while it goes on, and written by its own thread alone."""

    def __init__(
        self,
        name: str,
        network: Network,
        data: Splits,
        settings: Settings,
        *,
        engine: str = "auto",
        script: Sequence[Mapping[str, Any]] = (),
        until: int | None = None,
        start: Checkpoint | None = None,
        weights: Weights | None = None,
        paused: bool = False,
        made: Future[Session] | None = None,
    ) -> None:
        self.name, self.network, self.data, self.asked_engine = name, network, data, engine
        self.first, self.settings, self.text = settings, settings, str(network)
        self.status, self.message = "preparing", ""
        self.step, self.epoch, self.done, self.seen = 0, 1, 0, 0
        self.events: list[dict[str, Any]] = []
        self.progress, self.ratios = Progress(), dict[str, float]()
        self.until, self.paused, self.ready = until, paused, Event()
        self.arrived: Callable[[], None] = lambda: None  # called by the run's thread when it rests at its end
        self._script = sorted((dict(one) for one in script if "changes" in one), key=lambda one: int(one["step"]))
        self._start, self._given, self._weights = start, weights, weights
        self._orders, self._closed, self._looked_at = Orders(), False, -1
        self._allowance, self._pace = Allowance(LOOKING, LOOK_SECONDS), Pace()
        self._session: Session | None = None
        self._made = made
        self._thread = Thread(target=self._work, name=f"run {name}", daemon=True)
        self._thread.start()

    # what others may do

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Have something done between two steps by the thread that owns the engine."""
        return self._orders.ask(question)

    def edit(self, changes: Mapping[str, float]) -> Future[None]:
        """Change settings from the next step on. Raises NeocogError for values that are none."""
        if unknown := [key for key in changes if key not in EDITABLE]:
            raise NeocogError(f"what can be changed is {', '.join(EDITABLE)}", received=unknown[0][:40])
        if not changes:
            raise NeocogError("an edit changes a setting", hint=", ".join(EDITABLE))
        if len(self.events) >= MOST_EDITS:
            raise NeocogError(
                f"a run has at most {MOST_EDITS:,} events", hint="a new run with the settings of this one"
            )
        plain: dict[str, Any] = {
            key: int(value) if key == "batch_size" else float(value) for key, value in changes.items()
        }
        check_settings(self.network, replace(self.settings, **plain), len(self.session().learned_from))
        return self.ask(lambda: self._apply(plain))

    def pause(self, paused: bool) -> None:
        """Rest after the step that is being made; or go on, to the end that was set or beyond it."""
        self.paused = paused
        if not paused and self.until is not None and self.step >= self.until:
            self.until = None
        self._orders.wake()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._orders.wake()
        self._thread.join(timeout=CLOSE_SECONDS)

    def model(self) -> Model:
        """The network with the weights of the last look. Raises RunError before there are any."""
        session = self.session()
        if self._weights is None:
            raise RunError("this run has no weights yet")
        loss, classes = self.settings.loss, self.data.train.classes
        return Model(self.network, self._weights, session.preprocessing, classes, loss, {"studio": self.name})

    def session(self) -> Session:
        """What the run consists of; waits until it is ready. Raises RunError where it failed."""
        self.ready.wait()
        return self._begun()

    def _begun(self) -> Session:
        if self._session is None:
            raise RunError("this run could not begin", received=self.message)
        return self._session

    @property
    def engine(self) -> Engine:
        """What learns; for the run's thread, or between two of its steps."""
        return self._begun().engine

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on from here to the same bits; asked of the run between two steps."""
        return self.ask(self._checkpoint).result()

    # what its thread does

    def _work(self) -> None:
        try:
            with _PREPARING:
                self._prepare()
            self.ready.set()
            while not self._closed:
                self._obey()
                if not self.paused and not self._closed:
                    self._learn()
        except NeocogError as error:
            self.status, self.message = "failed", error.text()
        except BaseException:
            self.status, self.message = "failed", "the studio itself made a mistake; the terminal shows which"
            raise
        finally:
            self.ready.set()
            self._orders.end()

    def _prepare(self) -> None:
        if self._made is not None:
            session, self._made = self._made.result(), None
        else:
            session = Session(self.network, self.data, self.settings, self.asked_engine, "auto")
        if self._given:
            session.engine.restore(session.engine.state() | {f"weights/{n}": w for n, w in self._given.items()})
        if at := self._start:
            session.engine.restore(at.state)
            place, kept = at.place, at.config.get("studio", {})
            self.step, self.epoch, self.done = place.step, place.epoch, place.done
            self.seen, self.events = int(kept.get("seen", 0)), [dict(one) for one in kept.get("events", [])]
            self._start = None
        self._session = session
        self._pass: Pass = session.batches.epoch(self.epoch)
        self._look()
        self._allowance = Allowance(LOOKING, LOOK_SECONDS)  # what it cost before the first step, it does not owe
        with self._allowance.spent():  # and the next look is at a network that has learned for a while
            pass
        self.status = "paused" if self.paused else "running"

    def _obey(self) -> None:
        """Do what others asked for; at rest, sleep until there is something."""
        if self.paused and self.status != "diverged":
            if self._looked_at != self.step:
                self._look()
            if self.status != "diverged":
                self.status = "paused"
        self._orders.obey(wait=self.paused)
        if not self.paused:
            self.status = "running"

    def _apply(self, changes: dict[str, Any]) -> None:
        """Change settings between two steps. Another batch size begins the next pass over the images."""
        before, after = self.settings, replace(self.settings, **changes)
        if any(getattr(before, key) != getattr(after, key) for key in EDITABLE if key != "lr"):
            self._begun().change(after)
        self.settings = after
        self.events.append({"step": self.step, "changes": changes})
        if before.batch_size != after.batch_size:
            if self.done:
                self.epoch, self.done = self.epoch + 1, 0
            self._pass = self._begun().batches.epoch(self.epoch)

    def _learn(self) -> None:
        """Some steps, or the next edit of the script, or rest where the run is to end."""
        while self._script and int(self._script[0]["step"]) <= self.step:
            self._apply(dict(self._script.pop(0)["changes"]))
        if self.until is not None and self.step >= self.until:
            self.paused = True
            self.arrived()
            return
        if self._allowance.due:
            self._look(moving=True)
            return
        steps = self._steps()
        with self._pace.timed(steps):
            self._take(steps)

    def _steps(self) -> int:
        """How many steps at once: within the pass, and not beyond the next edit or the end."""
        ends = [int(one["step"]) for one in self._script[:1]] + [self.until or self.step + self._pace.steps]
        return max(1, min(self._pace.steps, len(self._pass.sizes) - self.done, *(end - self.step for end in ends)))

    def _take(self, steps: int) -> None:
        course = self._pass.course(self.done, [self.settings.lr] * steps)
        began = perf_counter()
        taken = self.engine.learn(course)
        self.progress.took(int(course.sizes.sum()), perf_counter() - began)
        for loss, right, size in zip(taken.losses.tolist(), taken.right.tolist(), course.sizes.tolist(), strict=False):
            if not math.isfinite(loss):
                self._diverge()
                return
            self._count(loss, right, size)

    def _count(self, loss: float, right: int, size: int) -> None:
        self.step, self.done, self.seen = self.step + 1, self.done + 1, self.seen + size
        self.progress.learned(self.step, loss, right, size)
        if self.done == len(self._pass.sizes):
            self.epoch, self.done = self.epoch + 1, 0
            self._pass = self._begun().batches.epoch(self.epoch)

    def _diverge(self) -> None:
        self.paused, self.status = True, "diverged"
        lower = float(f"{self.settings.lr / 10:.2g}")
        self.message = f"the loss is not finite after step {self.step}; try a learning rate of {lower:g}"

    def _look(self, *, moving: bool = False) -> None:
        """See how good the network is, and, moving, how far a step moves its weights."""
        before: Weights = {}
        if moving:
            with self._allowance.spent():
                before = self.engine.weights()
            self._take(1)  # which is learning, and costs the run nothing
        with self._allowance.spent():
            self._weights, self._looked_at = self.engine.weights(), self.step
            if moving:
                self.ratios = moved(before, self._weights)
            if not self.progress.look(self.step, self._begun(), self.settings, self._weights):
                self._diverge()

    def _checkpoint(self) -> Checkpoint:
        session, empty = self.session(), Meter().as_dict()
        place = Place(self.step, self.epoch, self.done, empty, empty, {}, 0.0)
        kept = {"events": self.events, "seen": self.seen, "engine": self.engine.name}
        config = {**session.config, "settings": self.settings.as_dict(), "studio": kept}
        return Checkpoint(place, config, (), self.engine.state())

    def clear(self) -> None:
        """Empty the curves."""
        self.ask(self.progress.clear).result(timeout=ANSWER_SECONDS)

    # what the page is told

    @property
    def curves(self) -> dict[str, Curve]:
        """Loss and accuracy over steps."""
        return self.progress.curves

    def state(self, *, curves: bool = False) -> dict[str, Any]:
        """The run as plain values."""
        told: dict[str, Any] = {
            "name": self.name,
            "kind": "live",
            "network": self.text,
            "data": self.data.train.name,
            "status": self.status,
            "message": self.message,
            "engine": self._session.reason if self._session else "",
            "step": self.step,
            "epoch": self.epoch,
            "seen": self.seen,
            "optimizer": self.settings.optimizer,
            "augment": self.settings.augment,
            "seed": self.settings.seed,
            **{key: getattr(self.settings, key) for key in EDITABLE},
            **self.progress.state(),
            "events": self.events[-EVENTS_TOLD:],
        }
        if curves:
            told["curves"] = {name: curve.shown() for name, curve in self.curves.items()}
        return told
