"""`train`: everything around the loop, from checking what was asked to the written model and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Preprocessing, Splits, load_data
from ..data.dataset import Told, silence
from ..errors import DataError, NeocogError
from ..initialise import initialise, whitened
from ..model import Model, Weights
from ..network import Network
from ..report import write_report
from ..torch_engine.device import pick_device
from ..torch_engine.trainer import TorchTrainer
from ..views import Views
from ..wording import count_of
from .augment import NONE, Augment
from .balance import class_weights as weights_of_classes
from .batches import Batches, hold_out
from .checkpoint import Checkpoint
from .doctor import Doctor
from .engine import Engine, choose_engine, native_lacks
from .fits import check_batches, check_fits
from .keeper import Keeper, Keeping
from .loop import Left, Loop
from .metrics import Epoch, Measured, measure
from .progress import Progress, choose_progress
from .rates import rate_factors
from .record import configuration
from .room import check_native_room, room_for, said_where_short
from .run import INTERRUPTED, MODEL, REPORT, RunFolder, read_metrics
from .settings import Settings, decided
from .start import start_from


def train(
    network: Network,
    data: Splits | str | Path,
    *,
    epochs: int | None = None,
    batch_size: int = 64,
    lr: float | None = None,
    optimizer: str = "nesterov",
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    schedule: str = "one-cycle",
    warmup: float | None = None,
    rates: str = NONE,
    clip: float = 0.0,
    accumulate: int = 1,
    augment: str = NONE,
    sampling: str = "shuffled",
    ema: float = 0.0,
    seed: int = 0,
    init: str = "auto",
    start: str | Path | None = None,
    whiten: bool = False,
    loss: str | None = None,
    label_smoothing: float = 0.0,
    class_weights: str = NONE,
    engine: str = "auto",
    device: str = "auto",
    dtype: str = "float32",
    validation: int = 0,
    measure_every: int = 1,
    target_accuracy: float | None = None,
    patience: int = 0,
    tta: str = NONE,
    out: str | Path | None = None,
    name: str | None = None,
    keep_checkpoints: int = 2,
    checkpoint_minutes: float = 5.0,
    progress: str | Progress = "auto",
    told: Told = silence,
) -> Model:
    """Train a network as a classifier and write a run folder: model, metrics, settings and report.

    `data` is what `load_data` gives, or a name or folder for it. `lr` is the schedule's highest; None is a good one
    for the optimizer and small networks. `loss` None is the one for the network's last layer. `augment` says how each
    training image is changed, anew in each epoch: `"shift=2, flip, rotate=10"`, see training/augment.py. With `ema` the
    moving average of the weights with that decay is what is measured and saved; 0 is none. With `whiten` the first
    convolution starts as the whitening of the training images' patches. `validation` holds that many training images
    out, and the accuracy after each epoch (or after each `measure_every`, and the last), at which `target_accuracy` (a
    fraction) may end the run, is measured on them; with 0 it is measured on the data's own validation images, or else
    on the test images. With `dtype` bfloat16, products round what they multiply; weights stay float32; auto is the
    faster of the two where this machine has been calibrated, else float32. `epochs` None is 6, or for a small set as
    many as make 200 steps. docs/training.md has the other settings, with formulas and sources.

    `out` None makes `runs/<name>-N`, `name` being that of the data. `progress` is auto, bar, lines, none, or an object
    of one's own; `told` hears of image files that are read before the first step.

    A checkpoint is written after each epoch, and within one every so many minutes; so many are kept. From the newest
    `neocog.resume(folder)` continues the run. See docs/resume.md.

    Raises DataError, NeocogError or ShapeError before anything is written when something does not fit,
    RunError when the loss is not finite or the folder cannot be written, and KeyboardInterrupt after Ctrl-C,
    with a checkpoint, and the weights so far in the folder's `interrupted.safetensors`.
    """
    data = load_data(str(data), network.input_shape, told) if isinstance(data, str | Path) else data
    settings = decided(
        network,
        len(data.train) - validation,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup=warmup,
        rates=rates,
        clip=clip,
        accumulate=accumulate,
        augment=augment,
        sampling=sampling,
        ema=ema,
        init=init,
        start=start,
        whiten=whiten,
        loss=loss,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        validation=validation,
        measure_every=measure_every,
        target_accuracy=target_accuracy,
        patience=patience,
        tta=tta,
        seed=seed,
        dtype=dtype,
    )
    watcher = choose_progress(progress)
    keeping = Keeping(keep_checkpoints, checkpoint_minutes)
    session = Session(network, data, settings, engine, device, keeping=keeping, told=told)
    with RunFolder.create(out, name or data.train.name) as folder:
        return session.run(folder, watcher)


WHITENED = 5000
"""Training images whose patches the first convolution is made from."""


class Session:
    """One training run, ready to start: data split, preprocessing learned, weights on their engine.

    `told` hears of images that are read for that. Raises DataError or NeocogError where data, network and settings do
    not belong together, RunError where memory is not enough.
    """

    def __init__(
        self,
        network: Network,
        data: Splits,
        settings: Settings,
        engine: str,
        device: str,
        *,
        keeping: Keeping | None = None,
        threads: int | None = None,
        told: Told = silence,
    ) -> None:
        self.started = perf_counter()
        check_fits(network, data.train, settings.loss)
        check_batches(network, len(data.train) - settings.validation, settings.batch_size, settings.accumulate)
        self.network, self.data, self.settings = network, data, settings
        self.keeping = keeping or Keeping()
        self.learned_from, self.measured_on = _split(data, settings)
        self.preprocessing = Preprocessing.learn(self.learned_from, network.input_shape, told)
        self.start = start_from(settings.start, network) if settings.start else None
        if self.start:
            self.preprocessing = self.start.normalised(self.preprocessing)
        self.engine = self._engine(engine, device, threads, told)
        self.resumed: tuple[Mapping[str, Any], ...] = ()
        self.batches = Batches(
            *(self.learned_from, self.preprocessing, settings.batch_size),
            *(Augment.parse(settings.augment), settings.seed),
            sampling=settings.sampling,
            class_weights=weights_of_classes(settings.class_weights, self.learned_from),
        )
        self.config = configuration(
            network, data, self.preprocessing, self.settings, self.engine, self.reason, self.keeping
        )

    def _engine(self, name: str, device: str, threads: int | None, told: Told) -> Engine:
        """The engine that is chosen, with the first weights; `settings` get its dtype, `reason` says why it is this."""
        settings, network = self.settings, self.network
        factors = rate_factors(settings.rates, network)
        choice = choose_engine(
            *(name, network, device, settings.loss, settings.optimizer, settings.batch_size, settings.dtype),
            beyond=native_lacks(settings, network, factors),
            steps=settings.epochs * -(-len(self.learned_from.labels) // settings.batch_size),
            told=told,
        )
        self.settings = replace(settings, dtype=choice.dtype)
        self._choice, self._device, self._threads = choice, device, threads
        return self._made(self.settings, self._start)

    def _made(self, settings: Settings, weights: Callable[[], Weights]) -> Engine:
        """An engine of the kind that was chosen; `reason` says it where its memory is short.

        Weights are made once it is known that there is room for a step.
        """
        torchs: dict[str, Any] = {}
        said = ""
        if self._choice.make is TorchTrainer:
            largest = min(settings.batch_size, len(self.learned_from.labels))
            room = room_for(self.network, replace(settings, batch_size=largest), str(pick_device(self._device)))
            said = room.said
            torchs = {"clip": settings.clip, "accumulate": settings.accumulate, "cuts": room.cuts}
        else:
            check_native_room(self.network, settings)
        self.reason = self._choice.reason + said
        return self._choice.make(
            self.network,
            weights(),
            loss=settings.loss,
            optimizer=settings.optimizer,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            batch_size=settings.batch_size,
            seed=settings.seed,
            dtype=settings.dtype,
            ema=settings.ema,
            label_smoothing=settings.label_smoothing,
            factors=rate_factors(settings.rates, self.network),
            device=self._device,
            threads=self._threads,
            **torchs,
        )

    def change(self, settings: Settings) -> None:
        """Go on between two steps with other settings of the same kind: momentum, batch size, weight decay.

        The engine is made anew, for its memory and its threads depend on them, and gets the state of the one before.
        Raises RunError, and leaves everything as it is, where a step would not fit into memory.
        """
        made = self._made(settings, self.engine.weights)
        made.restore(self.engine.state())
        self.settings, self.engine = settings, made
        self.batches = replace(self.batches, batch_size=settings.batch_size)

    def _start(self) -> dict[str, NDArray[np.float32]]:
        """The weights before the first step."""
        began = perf_counter()
        weights = initialise(self.network, self.settings.seed, self.settings.init)
        if self.settings.whiten:
            weights |= whitened(self.network, self.preprocessing(self.learned_from.images[:WHITENED]))
        self.starting_seconds = perf_counter() - began
        return weights | dict(self.start.weights) if self.start else weights

    def run(
        self, folder: RunFolder, progress: Progress, at: Checkpoint | None = None, notes: Sequence[str] = ()
    ) -> Model:
        """Train, from a checkpoint on if there is one, measure on the test images, and fill the folder.

        The notes, on how the run was taken up, are shown with the headline and kept in the model's record.
        """
        settings = self.settings
        made = at.place.step if at else 0
        if notes:
            self.resumed = (*(at.resumed if at else ()), {"step": made, "notes": list(notes)})
        watcher = Doctor(self.network, self.data, self.batches, settings, self.engine, folder, progress)
        loop = self.loop(folder, watcher, at)
        loop.keeper.check_room()
        folder.write_config(self.config)
        if at:
            watcher.take_up(made, at.place.done)
        headline = "\n".join([self._headline(), *notes])
        watcher.started(headline, settings.epochs, settings.epochs * len(self.batches) - made)
        try:
            with said_where_short(self.network, settings, self.engine, loop.keeper):
                epochs, last = loop.run()
        except Left:
            saved = self._model(folder, {"interrupted": True}).save(folder.path / INTERRUPTED)
            raise KeyboardInterrupt(
                f"the weights so far are in {saved}; neocog train --resume {quote(str(folder.path))} goes on from there"
            ) from None
        finally:
            progress.finished()
        if self.measured_on is not self.data.test:
            last = measure(self.engine, self.data.test, self.preprocessing, settings.loss)
        model = self._model(folder, self._results(epochs, last) | self._by_views()).with_golden(self.learned_from)
        folder.write_answers(self.data.test.labels, last.probabilities.argmax(axis=1))
        write_report(folder.path / REPORT, model, read_metrics(folder.path), self.data.test, last.probabilities)
        (folder.path / INTERRUPTED).unlink(missing_ok=True)
        model.save(folder.path / MODEL)  # last, for it is what says that a run is finished
        return model

    def loop(
        self, folder: RunFolder, progress: Progress, at: Checkpoint | None = None, until: int | None = None
    ) -> Loop:
        """The loop over all steps, or over those from a checkpoint on, which the engine is then at."""
        if at:
            self.engine.restore(at.state)
            self.started -= at.place.seconds
        keeper = Keeper(
            folder, self.engine, self.config, partial(self._model, folder), self.keeping, self.started, self.resumed
        )
        return Loop(
            *(self.engine, self.batches, self.measured_on, self.settings, folder, progress, keeper),
            source=self.data.source,
            start=at.place if at else None,
            until=until,
        )

    def _headline(self) -> str:
        parameters = count_of(self.network.plan().totals["parameters"], "parameter")
        images = count_of(len(self.learned_from.labels), "image")
        return (
            f"{parameters}, {images} of {self.data.train.name}, "
            f"{self.settings.loss} loss, " + (f"{self.start}, " if self.start else "") + self.reason
        )

    def _results(self, epochs: list[Epoch], test: Measured) -> dict[str, Any]:
        """What the run came to, for the model's record."""
        images = len(self.learned_from.labels) * epochs[-1].epoch
        learning = sum(epoch.seconds for epoch in epochs)
        return {
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "test_images": len(self.data.test.labels),
            "epochs": epochs[-1].epoch,
            "seconds": round(perf_counter() - self.started, 3),
            "starting_seconds": round(self.starting_seconds, 3),
            "training_seconds": round(learning, 3),
            "images_per_second": round(images / learning, 1),
        }

    def _by_views(self) -> dict[str, Any]:
        """The same by several views of each test image, where they were asked for."""
        if self.settings.tta == NONE:
            return {}
        views, began = Views.parse(self.settings.tta), perf_counter()
        seen = measure(self.engine, self.data.test, self.preprocessing, self.settings.loss, views)
        seconds = round(perf_counter() - began, 3)
        return {"tta_accuracy": seen.accuracy, "tta_loss": seen.loss, "tta_seconds": seconds}

    def _model(self, folder: RunFolder, results: dict[str, Any]) -> Model:
        record = {**self.config, **results, "resumed": list(self.resumed), "folder": str(folder.path)}
        return Model(
            self.network, self.engine.weights(), self.preprocessing, self.data.train.classes, self.settings.loss, record
        )


def _split(data: Splits, settings: Settings) -> tuple[Dataset, Dataset]:
    """What is learned from, and what the accuracy after each epoch is measured on."""
    total, validation = len(data.train.labels), settings.validation
    if not validation:
        measured_on = data.validation or data.test
        if settings.patience and measured_on is data.test:
            raise NeocogError(
                "patience is for measurements on held-out images: test images have no part in training",
                received=f"patience={settings.patience}",
                hint=f"validation={max(1, total // 6)} beside it",
            )
        return data.train, measured_on
    if validation >= total:
        raise DataError(
            "some training images must be left to learn from",
            received=f"validation={validation} of {count_of(total, 'image')}",
            hint=f"validation={total // 6}",
        )
    learned_from, held = hold_out(data.train, validation)
    return learned_from, replace(held, split="validation")
