"""What a run of the studio may be: data that is there, settings that make sense, memory that is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.published import PUBLISHED
from ..data.sources import datasets_folder
from ..errors import NeocogError
from ..losses import default_loss
from ..network import Network
from ..plan.recomputing import recomputing
from ..plan.tables import size
from ..resources import available_memory
from ..training.fits import check_batches
from ..training.settings import Settings, usual_rate

FOR_EVER = 10**9
"""Epochs: a run goes on until somebody ends it."""


def available() -> list[str]:
    """The published data sets that are on this machine; the digits come with neocog."""
    folder = datasets_folder()
    return [name for name, one in PUBLISHED.items() if name == "mnist" or not one.missing(folder / name)]


def check_settings(network: Network, settings: Settings, images: int) -> None:
    """Raise NeocogError where so many images are too few for mini-batches, or training takes more memory than is left.

    Memory is by the plan, against what this machine has available now, also with volumes computed twice.
    """
    check_batches(network, images, settings.batch_size)
    made = network.plan(batch=settings.batch_size, optimizer=settings.optimizer)
    needed, free = made.memory["training_bytes"], available_memory()
    if free is not None and needed > free:
        needed = recomputing(network, settings.batch_size, settings.dtype, settings.optimizer).training.peak.bytes
    if free is not None and needed > free:
        raise NeocogError(
            "training this network takes more memory than there is",
            received=f"{size(needed)} by the plan, {size(free)} available",
            hint="a smaller batch, or fewer weights",
        )


def chosen_settings(network: Network, asked: Mapping[str, Any], held: int) -> Settings:
    """Settings of a run, where only those that the page offers were asked for. Raises NeocogError."""
    try:
        return _settings(network, asked, held)
    except NeocogError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise NeocogError("a setting is no number", received=str(error)[:80]) from None


def _settings(network: Network, asked: Mapping[str, Any], held: int) -> Settings:
    optimizer = str(asked.get("optimizer", "nesterov"))
    loss = asked.get("loss") or default_loss(network).name
    lr = asked.get("lr")
    return Settings(
        epochs=FOR_EVER,
        batch_size=int(asked.get("batch_size", 64)),
        lr=usual_rate(optimizer, str(loss)) if lr is None else float(lr),
        optimizer=optimizer,
        momentum=float(asked.get("momentum", 0.9)),
        weight_decay=float(asked.get("weight_decay", 5e-4)),
        schedule="constant",
        warmup=None,
        rates="none",
        clip=0.0,
        accumulate=1,
        augment=str(asked.get("augment", "none")),
        sampling="shuffled",
        ema=0.0,
        init=str(asked.get("init", "auto")),
        start=None,
        whiten=False,
        loss=str(loss),
        label_smoothing=0.0,
        class_weights="none",
        validation=held,
        measure_every=1,
        target_accuracy=None,
        patience=0,
        tta="none",
        seed=int(asked.get("seed", 0)),
        dtype="float32",
    )
