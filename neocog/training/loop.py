"""The training loop: the same few lines for every engine, network and data set."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..errors import RunError
from .ahead import Ahead, advice
from .batches import Batches
from .engine import Engine
from .metrics import Epoch, Measured, Meter, measure, since_best
from .progress import Progress
from .run import RunFolder
from .schedule import SCHEDULES, warmup_share
from .settings import Settings

POINTS_PER_EPOCH = 25
"""How often an epoch's loss and learning rate are logged, for the curves."""


CALL_SECONDS = 0.1
"""About how long an engine is left alone with some steps; then progress is shown, and Ctrl-C is obeyed."""
FASTER = 16
"""The most times as many steps as before that it then gets: the first ones take longer."""


class Pace:
    """How many steps an engine is given at once."""

    def __init__(self) -> None:
        self.steps, self.most = 1, sys.maxsize

    @contextmanager
    def timed(self, steps: int) -> Iterator[None]:
        """Learn from how long so many steps take."""
        started = perf_counter()
        yield
        fitting = round(steps * CALL_SECONDS / max(1e-9, perf_counter() - started))
        self.steps = max(1, min(fitting, FASTER * steps, self.most))


class Interrupt:
    """Whether Ctrl-C was pressed."""

    asked = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Ctrl-C is noted and left to the loop, so that no step is cut in half; pressed again it acts at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield interrupt
        return

    def note(signum: int, frame: FrameType | None) -> None:
        interrupt.asked = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, previous)


@dataclass(frozen=True)
class Loop:
    """Everything that takes part in training; `run` is the loop itself."""

    engine: Engine
    batches: Batches
    measured_on: Dataset
    settings: Settings
    folder: RunFolder
    progress: Progress

    def run(self) -> tuple[list[Epoch], Measured]:
        """Train for the given epochs, or until the target accuracy. Returns their numbers and the last measurement.

        Raises RunError when the loss is not finite, KeyboardInterrupt after the steps in which Ctrl-C was pressed.
        """
        epochs: list[Epoch] = []
        pace, learned = Pace(), Meter()
        with interruptible() as interrupt:
            for number in range(1, self.settings.epochs + 1):
                self._learn(number, learned, pace, interrupt)
                if number % self.settings.measure_every and number < self.settings.epochs:
                    continue
                learned.stop()
                result = measure(self.engine, self.measured_on, self.batches.preprocessing, self.settings.loss)
                epochs.append(self._note(number, learned, result))
                learned = Meter()
                if self.settings.target_accuracy is not None and result.accuracy >= self.settings.target_accuracy:
                    break
                if self.settings.patience and since_best(epochs) >= self.settings.patience:
                    break
        return epochs, result

    def _learn(self, epoch: int, whole: Meter, pace: Pace, interrupt: Interrupt) -> None:
        """Every mini-batch once."""
        with Ahead(self.batches.epoch(epoch)) as images:
            pace.most = images.most
            self._learn_from(images, epoch, whole, pace, interrupt)
        whole.waited += images.waited

    def _learn_from(self, images: Ahead, epoch: int, whole: Meter, pace: Pace, interrupt: Interrupt) -> None:
        recent = Meter()
        before = (epoch - 1) * len(self.batches)
        pace.steps = 1  # the first alone, as a doctor wants to see it
        done = 0
        while done < len(self.batches):
            rates = [self._rate(before + k) for k in range(done, min(done + pace.steps, len(self.batches)))]
            course = images.course(done, rates)
            with pace.timed(len(rates)):
                taken = self.engine.learn(course)
            for k, (loss, right) in enumerate(zip(taken.losses.tolist(), taken.right.tolist(), strict=True)):
                step = before + done + k
                if not math.isfinite(loss):
                    raise self._not_finite(course.batch(k)[0], epoch, step)
                for meter in (whole, recent):
                    meter.add(loss, right, int(course.sizes[k]))
                if (step + 1) % max(1, len(self.batches) // POINTS_PER_EPOCH) == 0:
                    self.folder.log("steps", {"step": step + 1, "lr": rates[k], "loss": recent.loss})
                    recent = Meter()
            done += len(rates)
            self.progress.stepped(epoch, whole, len(rates))
            if interrupt.asked:
                raise KeyboardInterrupt

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
            advice=advice(learned.waiting, self.batches.dataset),
        )
        if not math.isfinite(result.loss):
            x, _ = self.batches.epoch(number).course(0, [epoch.lr]).batch(0)
            raise self._not_finite(x, number, steps - 1)
        self.folder.log("epoch", asdict(epoch))
        self.progress.epoch_done(epoch, self.settings.epochs)
        return epoch

    def _not_finite(self, x: NDArray[np.float32], epoch: int, step: int) -> RunError:
        """The error that says where numbers stopped being numbers, and what usually helps."""
        layer = self.engine.first_non_finite(x)
        place = f"the output of {layer} is the first that is not finite" if layer else "every layer's output is finite"
        slower = f"a smaller learning rate, lr={self.settings.lr / 10:.2g}"
        return RunError(
            "the loss is not finite any more; no model was written",
            where=f"epoch {epoch}, step {step + 1}",
            received=place,
            hint=f"{slower}, or the warm-up of schedule=one-cycle, or another init",
        )
