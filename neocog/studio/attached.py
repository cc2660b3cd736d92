"""A run's folder, finished or still running elsewhere, or a model file: looked at, never written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Preprocessing, Splits, load_data
from ..errors import ModelFileError, NeocogError
from ..losses import LOSSES, default_loss
from ..model import Model, load
from ..network import Network
from ..training.checkpoint import newest
from ..training.run import CHECKPOINTS, INTERRUPTED, METRICS, MODEL, read_config
from .progress import CURVES
from .records import Curve, legible
from .running import EDITABLE

MODELS = (MODEL, f"{CHECKPOINTS}/best.safetensors", INTERRUPTED)
"""Where a run's folder may hold a model, the most final first."""
FIGURES = {
    "train_accuracy": "train_accuracy",
    "validation_accuracy": "accuracy",
    "images_per_second": "images_per_second",
}
"""What is shown of an epoch, and what it is called in a run's log."""
BLOCK = 4 * 2**20
"""Bytes of a log that are read at once."""


class Attached:
    """One run's folder or model file, read again as it grows."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.curves = {curve: Curve() for curve in CURVES}
        self.last: dict[str, Any] = {}
        self._read, self._lock = 0, Lock()
        self.config = read_config(path) if path.is_dir() else {}
        self._kept: tuple[Path, int, Model] | None = None
        self.text = str(self.config.get("network", "") if path.is_dir() else self.model().network)

    def _part(self, name: str) -> Mapping[str, Any]:
        """One part of what the folder says of its run, whoever wrote it."""
        return _mapping(self.config.get(name))

    def model(self) -> Model:
        """The run's model, its best so far, or what its newest checkpoint holds. Raises NeocogErrors."""
        for path in (self.path, *(self.path / place for place in MODELS)):
            if path.is_file():
                return self._loaded(path)
        return self._from_checkpoint()

    def _loaded(self, path: Path) -> Model:
        with self._lock:
            try:
                stamp = path.stat().st_mtime_ns
                if self._kept is None or self._kept[:2] != (path, stamp):
                    self._kept = (path, stamp, load(path))
            except OSError as error:
                raise ModelFileError("this file cannot be read", received=error.strerror or "") from None
            return self._kept[2]

    def _from_checkpoint(self) -> Model:
        network = Network.parse(self.text)
        found, _ = newest(self.path / CHECKPOINTS, network)
        if found is None:
            raise NeocogError("this run has no weights to show yet", received=self.name)
        kind = "average" if any(name.startswith("average/") for name in found.state) else "weights"
        weights = {
            name.partition("/")[2]: np.asarray(array, np.float32)
            for name, array in found.state.items()
            if name.startswith(f"{kind}/")
        }
        classes = tuple(map(str, range(network.shapes[-1].channels)))
        loss = str(self._part("settings").get("loss"))
        known = loss if loss in LOSSES else default_loss(network).name
        preprocessing = Preprocessing.from_json(self.config.get("preprocessing"))
        return Model(network, weights, preprocessing, classes, known, {})

    @cached_property
    def data(self) -> Splits | None:
        """The data that the run learned from; None where it is not there."""
        told = self._part("data") or _mapping(self.model().record.get("data"))
        source = told.get("source") or told.get("name")
        try:
            return load_data(str(source), self.model().network.input_shape)
        except NeocogError:
            return None

    @property
    def test(self) -> Dataset:
        """Images to look at: those of the data, or the few that the model keeps. Raises NeocogError."""
        if self.data is not None:
            return self.data.test
        model = self.model()
        if model.golden is None:
            raise NeocogError("the data of this run is not there", hint="an image of your own")
        images, output = model.golden
        classes: NDArray[np.int64] = output.reshape(len(images), -1).argmax(axis=1).astype(np.int64)
        return Dataset("kept in the model", "test", images, classes % len(model.classes), model.classes)

    def _follow(self) -> None:
        """Read what the log has gained, whole lines only."""
        try:
            file = (self.path / METRICS).open("rb")
        except OSError:  # there is no log yet, or the folder was taken away
            return
        with file:
            if file.seek(0, 2) < self._read:  # it was cut back: the run was resumed from a checkpoint
                self._read = 0
                for curve in self.curves.values():
                    curve.clear()
            file.seek(self._read)
            block = file.read(BLOCK)
        whole = block[: block.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                self._note(_mapping(json.loads(line)))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                continue  # another process writes this log, and not every line need be of ours

    def _note(self, values: Mapping[str, Any]) -> None:
        if values.get("kind") == "steps":
            self.curves["loss"].add(int(values["step"]), float(values["loss"]))
            self.last |= {"step": int(values["step"]), "lr": float(values["lr"]), "loss": float(values["loss"])}
        elif values.get("kind") == "epoch":
            step = int(values["steps"])
            self.curves["train_accuracy"].add(step, float(values["train_accuracy"]))
            self.curves["validation_accuracy"].add(step, float(values["accuracy"]))
            self.curves["validation_loss"].add(step, float(values["loss"]))
            self.last |= {own: float(values[theirs]) for own, theirs in FIGURES.items()}
            self.last["epoch"] = int(values["epoch"])

    def state(self, *, curves: bool = False) -> dict[str, Any]:
        """The run as plain values, as `Live.state` has them."""
        with self._lock:
            self._follow()
        settings = self._part("settings")
        finished = self.path.is_file() or (self.path / MODEL).is_file()
        told: dict[str, Any] = {
            "name": self.name,
            "kind": "attached",
            "network": self.text,
            "data": str(self._part("data").get("name", "")),
            "status": "finished" if finished else "elsewhere",
            "message": "",
            "engine": str(self.config.get("reason", "")),
            "optimizer": str(settings.get("optimizer", "")),
            **{key: value for key in EDITABLE if isinstance(value := settings.get(key), int | float)},
            **{key: legible(value) if isinstance(value, float) else value for key, value in self.last.items()},
            "events": [],
            "looks": self._read,
        }
        if curves:
            told["curves"] = {name: curve.shown() for name, curve in self.curves.items()}
        return told

    def close(self) -> None:
        """Nothing is held."""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
