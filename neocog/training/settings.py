"""Everything that decides how a network is trained, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import NeocogError
from ..losses import LOSSES, default_loss
from ..network import Network
from ..torch_engine.device import DTYPES
from ..torch_engine.optimizers import OPTIMIZERS
from ..views import Views
from .augment import Augment
from .balance import parse_class_weights
from .batches import SAMPLINGS
from .rates import parse_rates
from .schedule import SCHEDULES

LEARNING_RATES = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adamw": 0.004, "muon": 0.1}
"""Good starting points for small networks as `init` makes them by itself, and mini-batches of 64."""
STEEP = {"map": 0.1}
"""By loss, what a rate is multiplied with: squared distances to RBF's codes begin near 100, scores near 1."""

EPOCHS, STEPS = 6, 200
"""Enough for a few tens of thousands of images; fewer images need more passes to come to a solution at all."""


def usual_rate(optimizer: str, loss: str) -> float:
    """The learning rate of a run that names none; 0 for an optimizer that there is not."""
    return LEARNING_RATES.get(optimizer, 0.0) * STEEP.get(loss, 1.0)


def enough_epochs(images: int, batch_size: int) -> int:
    """How many epochs a run has by default: `EPOCHS`, or as many as make `STEPS` steps where that is more."""
    batches = -(-max(1, images) // max(1, batch_size))
    return max(EPOCHS, -(-STEPS // batches))


@dataclass(frozen=True)
class Settings:
    """The settings of a run: none but `dtype` auto is left to be decided. Raises NeocogError for an impossible one."""

    epochs: int
    batch_size: int
    lr: float
    optimizer: str
    momentum: float
    weight_decay: float
    schedule: str
    warmup: float | None
    rates: str
    clip: float
    accumulate: int
    augment: str
    sampling: str
    ema: float
    init: str
    start: str | None
    whiten: bool
    loss: str
    label_smoothing: float
    class_weights: str
    validation: int
    measure_every: int
    target_accuracy: float | None
    patience: int
    tta: str
    seed: int
    dtype: str

    def __post_init__(self) -> None:
        known: dict[str, Iterable[str]] = {
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "loss": LOSSES,
            "sampling": SAMPLINGS,
            "dtype": (*DTYPES, "auto"),
        }
        for name, words in known.items():
            near = get_close_matches(str(getattr(self, name)), words, n=1)
            self._require(name, getattr(self, name) in words, f"one of {', '.join(words)}", "".join(near))
        for name in ("epochs", "batch_size", "accumulate", "measure_every"):
            self._require(name, getattr(self, name) >= 1, "a whole number from 1")
        for name in ("validation", "seed", "weight_decay", "patience"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("lr", 0 < self.lr < float("inf"), "a number above 0")
        self._require("clip", 0 <= self.clip < float("inf"), "the largest norm of a gradient, or 0 for any")
        for name in ("momentum", "ema", "label_smoothing"):
            self._require(name, 0 <= getattr(self, name) < 1, "from 0 up to, not including, 1")
        smoothed = self.label_smoothing > 0
        self._require("label_smoothing", not smoothed or self.loss == "cross-entropy", "for the loss cross-entropy")
        self._require(
            "warmup",
            self.warmup is None or 0 <= self.warmup < (1 if self.warmup < 1 else self.epochs),
            "a share of the run below 1, or a number of epochs below all of them",
        )
        self._require("accumulate", self.accumulate <= self.batch_size, "at most the images of a mini-batch")
        Augment.parse(self.augment)
        self._require("whiten", not (self.whiten and self.start), "for a run that starts afresh, not from a file")
        Views.parse(self.tta)
        parse_rates(self.rates)
        parse_class_weights(self.class_weights)
        self._require(
            "target_accuracy",
            self.target_accuracy is None or 0 < self.target_accuracy <= 1,
            "a fraction above 0 and at most 1",
            "target_accuracy=0.99 for 99 %",
        )

    def _require(self, name: str, holds: bool, rule: str, hint: str = "") -> None:
        if not holds:
            raise NeocogError(f"{name} is {rule}", received=f"{name}={getattr(self, name)}", hint=hint)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, in order."""
        return asdict(self)


def decided(network: Network, images: int, **given: Any) -> Settings:
    """The settings of a run on so many images, under the names of `train`, where some may be None: those are chosen."""
    loss = given["loss"] or default_loss(network).name
    chosen: dict[str, Any] = {
        "epochs": enough_epochs(images, given["batch_size"]),
        "lr": usual_rate(given["optimizer"], loss),
        "loss": loss,
    }
    found: dict[str, Any] = {name: chosen.get(name) if value is None else value for name, value in given.items()}
    start = found["start"]
    return Settings(**found | {"start": None if start is None else str(Path(start).absolute())})
