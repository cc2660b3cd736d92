"""The training loop: the same few lines for every engine, network and data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import RunError
from ..feed import Course, Taken
from .ahead import Ahead, Passes, advice
from .batches import Batches, Pass, held_out
from .checkpoint import Place
from .engine import Engine
from .keeper import Keeper, Standing
from .metrics import Epoch, Measured, Meter, measure, since_best
from .progress import Progress
from .run import NON_FINITE, RunFolder
from .schedule import SCHEDULES, warmup_share
from .settings import Settings
from .signals import Asked, listening

POINTS_PER_EPOCH = 25
"""How often an epoch's loss and learning rate are logged, for the curves."""
CALL_SECONDS = 0.1
"""About how long an engine is left alone with some steps; then progress is shown, and Ctrl-C is obeyed."""
FASTER = 16
"""The most times as many steps as before that it then gets: the first ones take longer."""


class Pace:
    """How many steps an engine is given at once."""

    def __init__(self) -> None:
        self.steps = 1

    @contextmanager
    def timed(self, steps: int) -> Iterator[None]:
        """Learn from how long so many steps take."""
        started = perf_counter()
        yield
        fitting = round(steps * CALL_SECONDS / max(1e-9, perf_counter() - started))
        self.steps = max(1, min(fitting, max(self.steps, FASTER * steps)))


class Left(KeyboardInterrupt):
    """The loop was left after a step, as was asked for, with a checkpoint of it."""


@dataclass(frozen=True)
class Loop:
    """Everything that takes part in training; `run` is the loop itself."""

    engine: Engine
    batches: Batches
    measured_on: Dataset
    settings: Settings
    folder: RunFolder
    progress: Progress
    keeper: Keeper
    source: str | None = None
    """What the images are from, as it is written on the command line."""
    start: Place | None = None
    """Where an earlier process left the run, if one did."""
    until: int | None = None
    """The step after which the run is left, as by Ctrl-C; None for its end."""

    def run(self) -> tuple[list[Epoch], Measured]:
        """Train for the given epochs, or until the target accuracy. Returns their numbers and the last measurement.

        Raises RunError when the loss is not finite, Left after the steps in which Ctrl-C was pressed.
        """
        epochs, result = self.folder.epochs(), None
        at = Standing.of(self.start) if self.start else Standing()
        pace = Pace()
        with listening() as asked, self.keeper, Passes(self.batches, at.epoch, self.settings.epochs) as passes:
            while at.epoch <= self.settings.epochs and not self._reached(epochs):
                self._learn(passes.next(), at, pace, asked)
                if at.epoch % self.settings.measure_every == 0 or at.epoch == self.settings.epochs:
                    at.whole.stop()
                    result = self._measure()
                    epochs.append(self._note(at.epoch, at.whole, result))
                    self.keeper.note_best(epochs)
                    at.whole = Meter()
                at.epoch, at.done, at.recent = at.epoch + 1, 0, Meter()
                self._keep(at, asked)
        return epochs, result or self._measure()

    def _measure(self) -> Measured:
        return measure(self.engine, self.measured_on, self.batches.preprocessing, self.settings.loss)

    def _reached(self, epochs: list[Epoch]) -> bool:
        """Whether the last epoch came to the target, or the best one is too long ago."""
        target, patience = self.settings.target_accuracy, self.settings.patience
        if not epochs:
            return False
        return (target is not None and epochs[-1].accuracy >= target) or 0 < patience <= since_best(epochs)

    def _learn(self, once: Pass, at: Standing, pace: Pace, asked: Asked) -> None:
        """Every mini-batch of the epoch once, but for those that were done."""
        with Ahead(once) as images:
            while at.done < len(self.batches):
                step = self._step(at)
                rates = [self._rate(step + k) for k in range(self._together(at, pace, images.most))]
                course = images.course(at.done, rates)
                with pace.timed(len(rates)):
                    taken = self.engine.learn(course)
                self._count(at, course, taken)
                self.progress.stepped(at.epoch, at.whole, len(rates))
                self._keep(at, asked)
        at.whole.waited += images.waited

    def _step(self, at: Standing) -> int:
        """How many steps were made so far."""
        return (at.epoch - 1) * len(self.batches) + at.done

    def _together(self, at: Standing, pace: Pace, most: int) -> int:
        """For how many steps the engine is left alone: up to the end of the epoch at most, or of what is asked for.

        The first of an epoch is made alone, as a doctor wants to see it.
        """
        left = len(self.batches) - at.done
        if self.until is not None:
            left = min(left, self.until - self._step(at))
        return min(pace.steps if at.done else 1, most, left)

    def _count(self, at: Standing, course: Course, taken: Taken) -> None:
        """Take in what steps came to, and log some of it. Raises RunError where a loss is not finite."""
        every, before = max(1, len(self.batches) // POINTS_PER_EPOCH), self._step(at)
        for k, (loss, right) in enumerate(zip(taken.losses.tolist(), taken.right.tolist(), strict=True)):
            if not math.isfinite(loss):
                raise self._not_finite(course.batch(k)[0], at.epoch, before + k)
            for meter in (at.whole, at.recent):
                meter.add(loss, right, int(course.sizes[k]))
            if (before + k + 1) % every == 0:
                lr = float(course.rates[k])
                self.folder.log("steps", {"step": before + k + 1, "lr": lr, "loss": at.recent.loss})
                at.recent = Meter()
        at.done += len(course.sizes)

    def _keep(self, at: Standing, asked: Asked) -> None:
        """Write a checkpoint where one is due or asked for, and leave where that was asked for.

        That of an epoch's end is not waited for.
        """
        step = self._step(at)
        leave = asked.end or step == self.until
        now = leave or asked.snapshot or self.keeper.due
        if now or at.done == 0:
            asked.snapshot = False
            self.keeper.write(step, at)
        if now:
            self.keeper.finish()
        if leave:
            raise Left

    def _rate(self, step: int) -> float:
        settings = self.settings
        progress = step / (settings.epochs * len(self.batches))
        warmup = None if settings.warmup is None else warmup_share(settings.warmup, settings.epochs)
        return settings.lr * SCHEDULES[settings.schedule].factor(progress, warmup)

    def _note(self, number: int, learned: Meter, result: Measured) -> Epoch:
        """Log and show what an epoch came to."""
        steps = number * len(self.batches)
        epoch = Epoch(
            epoch=number,
            steps=steps,
            lr=self._rate(steps - 1),
            train_loss=learned.loss,
            train_accuracy=learned.accuracy,
            loss=result.loss,
            accuracy=result.accuracy,
            measured_on=self.measured_on.split,
            seconds=learned.seconds,
            images_per_second=learned.images_per_second,
            waiting=learned.waiting,
            advice=advice(learned.waiting, self.batches.dataset, self.source),
        )
        if not math.isfinite(result.loss):
            x, _ = self.batches.epoch(number).course(len(self.batches) - 1, [epoch.lr]).batch(0)
            raise self._not_finite(x, number, steps - 1)
        self.folder.log("epoch", asdict(epoch))
        self.progress.epoch_done(epoch, self.settings.epochs)
        return epoch

    def _not_finite(self, x: NDArray[np.float32], epoch: int, step: int) -> RunError:
        """The error that says where numbers stopped being numbers, and what usually helps; the batch is in a file."""
        layer = self.engine.first_non_finite(x)
        place = f"the output of {layer} is the first that is not finite" if layer else "every layer's output is finite"
        slower = f"a smaller learning rate, lr={self.settings.lr / 10:.2g}"
        last = self.keeper.last
        self.folder.note_non_finite(
            {"epoch": epoch, "step": step + 1, "layer": layer, "images": self._images(epoch, step)}
        )
        return RunError(
            "the loss is not finite any more; no model was written",
            where=f"epoch {epoch}, step {step + 1}",
            excerpt=f"  the images of this step: {self.folder.path / NON_FINITE}\n"
            f"  the last good checkpoint: {last or 'none yet'}",
            received=place,
            hint=f"{slower}, or the warm-up of schedule=one-cycle, or another init",
        )

    def _images(self, epoch: int, step: int) -> list[int]:
        """The numbers in the whole training set of the images of a step."""
        ids = self.batches.epoch(epoch).ids(step - (epoch - 1) * len(self.batches))
        if held := self.settings.validation:
            ids = held_out(len(self.batches.dataset.labels) + held, held)[0][ids]
        found: list[int] = ids.tolist()
        return found
