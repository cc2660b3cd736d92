"""A network that learns in a thread of its own, watched and steered while it does.

What a run comes to is decided by its text, data and settings, and by its edits: what was changed before which step.
They are kept as events, and `script` gives a new run those of another, at the same steps. Looking costs at most
twice `LOOKING` of the time. All that touches the engine happens in the thread; others ask it (`ask`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from ..data import Splits
from ..errors import NeocogError, RunError
from ..losses import LOSSES
from ..model import Model, Weights
from ..network import Network
from ..training.batches import Pass
from ..training.checkpoint import Checkpoint, Place
from ..training.engine import Engine
from ..training.loop import Pace
from ..training.metrics import Meter
from ..training.session import Session
from ..training.settings import Settings
from ..views import Views
from .records import Allowance, Curve, Share, moved, short

T = TypeVar("T")

LOOKING, LOOK_SECONDS = 0.02, 0.3
"""The most of a run's time that goes into looking at it, and the least seconds between two looks.

Its thread takes so much, and those who ask what is inside take as much again.
"""
WINDOW, CHECKED = 1000, 100
"""Latest images that accuracies are of; images that are checked in a look."""
TEST_WINDOW, PREDICTED, MOST_PREDICTIONS = 200, 4, 40
MOST_EDITS = 1000
EDITABLE = ("lr", "momentum", "batch_size", "weight_decay")
TEST_VIEWS = Views(shift=1)
CURVES = ("loss", "train_accuracy", "validation_loss", "validation_accuracy")


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
    ) -> None:
        self.name, self.network, self.data, self.asked_engine = name, network, data, engine
        self.first, self.settings = settings, settings
        self.status, self.message = "preparing", ""
        self.step, self.epoch, self.done, self.seen = 0, 1, 0, 0
        self.events: list[dict[str, Any]] = []
        self.curves = {curve: Curve() for curve in CURVES}
        self.train, self.validation, self.test = Share(WINDOW), Share(WINDOW), Share(TEST_WINDOW)
        self.figures: dict[str, float | None] = {}
        self.ratios: dict[str, float] = {}
        self.answers: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self.predictions: deque[dict[str, Any]] = deque(maxlen=MOST_PREDICTIONS)
        self.looks, self._looked_at = 0, -1
        self.until, self.paused, self.ready = until, paused, Event()
        self._script = sorted((dict(one) for one in script if "changes" in one), key=lambda one: int(one["step"]))
        self._start, self._given, self._weights = start, weights, weights
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._closed = False
        self._allowance, self._pace = Allowance(LOOKING, LOOK_SECONDS), Pace()
        self._speed: deque[tuple[int, float]] = deque(maxlen=20)
        self._session: Session | None = None
        self._thread = Thread(target=self._work, name=f"run {name}", daemon=True)
        self._thread.start()

    # what others may do

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Have something done between two steps by the thread that owns the engine."""
        answer: Future[T] = Future()

        def answered() -> None:
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

        if self._closed or self.status == "failed":
            answer.set_exception(RunError("this run has ended", received=self.message))
        else:
            self._orders.put(answered)
        return answer

    def edit(self, changes: Mapping[str, float]) -> Future[None]:
        """Change settings from the next step on. Raises NeocogError for values that are none."""
        if unknown := [key for key in changes if key not in EDITABLE]:
            raise NeocogError(f"what can be changed is {', '.join(EDITABLE)}", received=unknown[0][:40])
        if len(self.events) >= MOST_EDITS:
            raise NeocogError(
                f"a run has at most {MOST_EDITS:,} events", hint="a new run with the settings of this one"
            )
        plain: dict[str, Any] = {
            key: int(value) if key == "batch_size" else float(value) for key, value in changes.items()
        }
        replace(self.settings, **plain)  # whether they are possible
        return self.ask(lambda: self._apply(plain))

    def pause(self, paused: bool) -> None:
        """Rest after the step that is being made, or go on."""
        self.paused = paused
        if not paused:
            self.until = None
        self._orders.put(lambda: None)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._orders.put(lambda: None)
        self._thread.join(timeout=10)

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

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on from here to the same bits; asked of the run between two steps."""
        return self.ask(self._checkpoint).result()

    # what its thread does

    def _work(self) -> None:
        try:
            self._prepare()
            self.ready.set()
            while not self._closed:
                self._obey(wait=self.paused)
                if not self.paused and not self._closed:
                    self._learn()
        except NeocogError as error:
            self.status, self.message = "failed", error.text()
        except BaseException:
            self.status, self.message = "failed", "the studio itself made a mistake; the terminal shows which"
            raise
        finally:
            self.ready.set()
            self._obey_last()

    def _prepare(self) -> None:
        session = Session(self.network, self.data, self.settings, self.asked_engine, "auto")
        if self._given:
            session.engine.restore(session.engine.state() | {f"weights/{n}": w for n, w in self._given.items()})
        self.engine: Engine = session.engine
        self._batches = session.batches
        if at := self._start:
            self.engine.restore(at.state)
            place, kept = at.place, at.config.get("studio", {})
            self.step, self.epoch, self.done = place.step, place.epoch, place.done
            self.seen, self.events = int(kept.get("seen", 0)), [dict(one) for one in kept.get("events", [])]
            self._start = None
        self._session = session
        self._pass: Pass = self._batches.epoch(self.epoch)
        self._look()
        self.status = "paused" if self.paused else "running"

    def _obey(self, *, wait: bool) -> None:
        """Do what others asked for; with `wait`, sleep until there is something."""
        if wait:
            if self._looked_at != self.step and self.status != "diverged":
                self._look()
            self.status = self.status if self.status == "diverged" else "paused"
            self._orders.get()()
        while True:
            try:
                self._orders.get_nowait()()
            except Empty:
                break
        if not self.paused:
            self.status = "running"

    def _obey_last(self) -> None:
        """Nobody is left without an answer."""
        self._closed = True
        while True:
            try:
                self._orders.get_nowait()()
            except Empty:
                return

    def _apply(self, changes: dict[str, Any]) -> None:
        """Change settings between two steps. Another batch size begins the next pass over the images."""
        before, self.settings = self.settings, replace(self.settings, **changes)
        self.events.append({"step": self.step, "changes": changes})
        if any(getattr(before, key) != getattr(self.settings, key) for key in EDITABLE if key != "lr"):
            self._rebuild()
        if before.batch_size != self.settings.batch_size:
            self._batches = replace(self._batches, batch_size=self.settings.batch_size)
            if self.done:
                self.epoch, self.done = self.epoch + 1, 0
            self._pass = self._batches.epoch(self.epoch)

    def _rebuild(self) -> None:
        """The engine with the new settings and the state of the old one: weights, moments, steps."""
        state, settings = self.engine.state(), self.settings
        self.engine = type(self.engine)(  # type: ignore[call-arg]  # every engine is made so
            self.network,
            self.engine.weights(),
            loss=settings.loss,
            optimizer=settings.optimizer,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            batch_size=settings.batch_size,
            device=self.engine.device,
            seed=settings.seed,
            dtype=settings.dtype if settings.dtype != "auto" else "float32",
        )
        self.engine.restore(state)

    def _learn(self) -> None:
        """Some steps, or the next edit of the script, or rest where the run is to end."""
        while self._script and int(self._script[0]["step"]) <= self.step:
            self._apply(dict(self._script.pop(0)["changes"]))
        if self.until is not None and self.step >= self.until:
            self.paused = True
            return
        if self._allowance.due:
            with self._allowance.spent():
                self._look(moving=True)
        else:
            self._take(self._steps())

    def _steps(self) -> int:
        """How many steps at once: within the pass, and not beyond the next edit or the end."""
        ends = [int(one["step"]) for one in self._script[:1]] + [self.until or self.step + self._pace.steps]
        return max(1, min(self._pace.steps, len(self._pass.sizes) - self.done, *(end - self.step for end in ends)))

    def _take(self, steps: int) -> None:
        course = self._pass.course(self.done, [self.settings.lr] * steps)
        began = perf_counter()
        with self._pace.timed(steps):
            taken = self.engine.learn(course)
        self._speed.append((int(course.sizes.sum()), perf_counter() - began))
        for loss, right, size in zip(taken.losses.tolist(), taken.right.tolist(), course.sizes.tolist(), strict=False):
            if not math.isfinite(loss):
                self._diverge()
                return
            self._count(loss, right, size)

    def _count(self, loss: float, right: int, size: int) -> None:
        self.step, self.done, self.seen = self.step + 1, self.done + 1, self.seen + size
        self.train.add(right, size)
        self.curves["loss"].add(self.step, loss)
        self.curves["train_accuracy"].add(self.step, right / size)
        self.figures["loss"] = 0.98 * (self.figures.get("loss") or loss) + 0.02 * loss
        if self.done == len(self._pass.sizes):
            self.epoch, self.done = self.epoch + 1, 0
            self._pass = self._batches.epoch(self.epoch)

    def _diverge(self) -> None:
        self.paused, self.status = True, "diverged"
        self.message = (
            f"the loss is not finite after step {self.step}; try a learning rate of {self.settings.lr / 10:.2g}"
        )

    # looking

    def _look(self, *, moving: bool = False) -> None:
        """See how good the network is on images it has not learned from, and, moving, how far a step moves weights."""
        if moving:
            before = self.engine.weights()
            self._take(1)
        self._weights, self._looked_at = self.engine.weights(), self.step
        if moving:
            self.ratios = moved(before, self._weights)
        self._check()
        self._predict()
        self._note_figures()
        self.looks += 1

    def _check(self) -> None:
        """The next held-out images."""
        session = self._begun()
        held, began = session.measured_on, self.looks * CHECKED
        rows = np.arange(began, began + min(CHECKED, len(held))) % len(held)
        images, labels = np.asarray(held.images[rows]), held.labels[rows]
        started = perf_counter()
        scores = self.engine.answers(session.preprocessing.pixels(images)).astype(np.float64)
        if not np.isfinite(scores).all():
            self._diverge()
            return
        self.figures["forward_ms"] = 1e3 * (perf_counter() - started) / len(rows)
        loss = LOSSES[self.settings.loss]
        found = loss.posterior(scores).argmax(axis=1)
        right = int((found == labels).sum())
        if self.step:  # what it guessed before it learned anything is no part of how good it is
            self.validation.add(right, len(rows))
            self.answers.extend(zip(labels.tolist(), found.tolist(), strict=True))
        value = float(loss.value(scores, labels))
        if math.isfinite(value):
            self.curves["validation_loss"].add(self.step, value)
        self.curves["validation_accuracy"].add(self.step, right / len(rows))

    def _predict(self) -> None:
        """A few test images, each seen in several views."""
        session, test = self._begun(), self.data.test
        rng = np.random.default_rng((self.settings.seed, self.looks))
        rows = np.sort(rng.choice(len(test), min(PREDICTED, len(test)), replace=False))
        pixels = session.preprocessing.pixels(np.asarray(test.images[rows]))
        scores = TEST_VIEWS.scores(pixels, self.engine.answers).astype(np.float64)
        if not np.isfinite(scores).all() or not self.step:
            return
        shares = LOSSES[self.settings.loss].posterior(scores)
        for row, share in zip(rows.tolist(), shares, strict=True):
            label, order = int(test.labels[row]), np.argsort(-share, kind="stable")[:3]
            self.test.add(int(order[0] == label), 1)
            top = [[test.classes[k], round(float(share[k]), 4), bool(k == label)] for k in order]
            self.predictions.appendleft({"number": row, "label": test.classes[label], "top": top, "step": self.step})

    def _note_figures(self) -> None:
        weights = self._weights or {}
        squares = sum(float(np.square(w, dtype=np.float64).sum()) for w in weights.values() if w.ndim > 1)
        images, seconds = (sum(part) for part in zip(*self._speed, strict=True)) if self._speed else (0, 0.0)
        self.figures["decay_loss"] = 0.5 * self.settings.weight_decay * squares
        self.figures["images_per_second"] = images / seconds if seconds else None
        step_ms = 1e3 * seconds / images if images else None
        forward = self.figures.get("forward_ms") or 0.0
        self.figures["backward_ms"] = max(0.0, step_ms - forward) if step_ms is not None else None

    def _checkpoint(self) -> Checkpoint:
        session, empty = self.session(), Meter().as_dict()
        place = Place(self.step, self.epoch, self.done, empty, empty, {}, 0.0)
        kept = {"events": self.events, "seen": self.seen, "engine": self.engine.name}
        config = {**session.config, "settings": self.settings.as_dict(), "studio": kept}
        return Checkpoint(place, config, (), self.engine.state())

    def clear(self) -> None:
        """Empty the curves; others ask for it."""
        for curve in self.curves.values():
            curve.clear()

    # what the page is told

    def state(self, *, curves: bool = False) -> dict[str, Any]:
        """The run as plain values."""
        told: dict[str, Any] = {
            "name": self.name,
            "kind": "live",
            "network": str(self.network),
            "data": self.data.train.name,
            "status": self.status,
            "message": self.message,
            "engine": self._session.reason if self._session else "",
            "step": self.step,
            "epoch": self.epoch,
            "seen": self.seen,
            "optimizer": self.settings.optimizer,
            **{key: getattr(self.settings, key) for key in EDITABLE},
            **{key: short(value) for key, value in self.figures.items()},
            "train_accuracy": short(self.train.value),
            "validation_accuracy": short(self.validation.value),
            "test_accuracy": short(self.test.value),
            "windows": {"train": self.train.count, "validation": self.validation.count, "test": self.test.count},
            "events": self.events[-50:],
            "looks": self.looks,
        }
        if curves:
            told["curves"] = {name: curve.shown() for name, curve in self.curves.items()}
        return told
