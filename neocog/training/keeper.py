"""What a run leaves behind while it goes on: checkpoints, and the model of its best epoch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ..errors import ModelFileError, NeocogError, RunError
from ..files import check_finite
from ..model import Model
from ..plan.memory import copies_of
from .checkpoint import Checkpoint, Place, checkpoint_files
from .engine import Engine
from .metrics import Epoch, Meter, since_best
from .run import RunFolder

BEST = "best.safetensors"
METRIC = "accuracy"
"""By which an epoch is the best; of equal ones it is that of the smaller loss."""
MEANWHILE = 2**27
"""Bytes of a state up to which its checkpoint is written while training goes on; a larger one would lie beside it."""


@dataclass(frozen=True)
class Keeping:
    """How many checkpoints are kept, and after how many minutes within an epoch the next one is due."""

    checkpoints: int = 2
    minutes: float = 5.0

    def __post_init__(self) -> None:
        if self.checkpoints < 1 or not self.minutes >= 0:
            raise NeocogError("one checkpoint or more is kept, each after 0 minutes or more", received=str(self))


@dataclass
class Standing:
    """How far a run has come: the epoch, how many of its mini-batches are done, and what steps came to.

    `whole` counts since the last measurement, `recent` since steps were last logged.
    """

    epoch: int = 1
    done: int = 0
    whole: Meter = field(default_factory=Meter)
    recent: Meter = field(default_factory=Meter)

    @classmethod
    def of(cls, place: Place) -> Standing:
        """How far it was when a checkpoint was written."""
        return cls(place.epoch, place.done, Meter.of(place.whole), Meter.of(place.recent))


class Keeper:
    """Writes checkpoints of a run into its folder and removes old ones.

    Durations are those of a monotonic clock, by which the run `started`. `resumed` tells how it was taken up. A
    checkpoint's state is copied at once; then a thread of its own makes the file, which waits for the disk.
    """

    def __init__(
        self,
        folder: RunFolder,
        engine: Engine,
        config: Mapping[str, Any],
        model: Callable[[dict[str, Any]], Model],
        keeping: Keeping,
        started: float,
        resumed: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        self.folder, self.engine, self.config, self.model = folder, engine, config, model
        self.keeping, self.started, self.resumed = keeping, started, resumed
        self.written = perf_counter()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave no checkpoint half done."""
        if error is None:
            self.finish()
        self._writer.shutdown()

    def check_room(self) -> None:
        """Raise RunError where the disk has no room for the checkpoints, which are one more while one is written."""
        settings = self.config["settings"]
        weights = sum(array.nbytes for array in self.engine.weights().values())
        copies = 1 + max(1, copies_of(settings["optimizer"])) + (settings["ema"] > 0)
        needed = weights * (copies * (self.keeping.checkpoints + 1) + 2)  # and the best model, with its successor
        free = shutil.disk_usage(self.folder.path).free
        if needed > free:
            raise RunError(
                "there is not enough room for checkpoints",
                where=str(self.folder.path),
                received=f"{free:,} bytes free, about {needed:,} needed for {self.keeping.checkpoints} of them",
                hint="another disk, or fewer checkpoints: --keep-checkpoints 1",
            )

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is long enough ago."""
        return perf_counter() - self.written >= 60 * self.keeping.minutes

    @property
    def last(self) -> Path | None:
        """The newest checkpoint there is, once none is being written."""
        wait([self._writing] if self._writing else [])
        return next(reversed(checkpoint_files(self.folder.checkpoints)), None)

    def write(self, step: int, at: Standing) -> None:
        """Begin a checkpoint of this step, behind the one before. There is none of weights that are not finite.

        Raises RunError where the one before could not be written.
        """
        self.written = perf_counter()
        state = self.engine.state()
        if not _finite(state):  # neither will be the next loss, which ends the run
            return
        place = Place(
            step,
            at.epoch,
            at.done,
            whole=at.whole.as_dict(),
            recent=at.recent.as_dict(),
            logs=self.folder.log_lengths(),
            seconds=perf_counter() - self.started,
        )
        self.finish()
        self._writing = self._writer.submit(self._save, Checkpoint(place, self.config, self.resumed, state))
        if sum(array.nbytes for array in state.values()) > MEANWHILE:
            self.finish()

    def finish(self) -> None:
        """Wait for the checkpoint that is being written. Raises RunError where it cannot be: those before are there."""
        if self._writing is None:
            return
        try:
            self._writing.result()
        except RunError as error:
            kept = f"{self.last.name} is whole; " if self.last else ""
            hint = kept + self.folder.going_on
            raise RunError(error.rule, where=error.where, received=error.received, hint=hint) from None
        finally:
            self._writing = None

    def _save(self, checkpoint: Checkpoint) -> None:
        """Write it, then remove the oldest."""
        checkpoint.save(self.folder.checkpoints)
        for old in checkpoint_files(self.folder.checkpoints)[: -self.keeping.checkpoints]:
            old.unlink(missing_ok=True)

    def note_best(self, epochs: Sequence[Epoch]) -> None:
        """Keep the model as it is if the last epoch is the best so far."""
        last = epochs[-1]
        if since_best(epochs) == 0:
            best = {"metric": METRIC, "epoch": last.epoch, METRIC: last.accuracy, "measured_on": last.measured_on}
            model = self.model({"best": best})
            if _finite(model.weights):
                model.save(self.folder.checkpoints / BEST)


def _finite(arrays: Mapping[str, NDArray[Any]]) -> bool:
    try:
        check_finite(arrays)
    except ModelFileError:
        return False
    return True
