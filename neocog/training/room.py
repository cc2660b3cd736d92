"""Whether a training step fits into the memory that is free: as it is, in pieces or not at all; what to say if not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import NamedTuple

import torch

from ..errors import RunError
from ..native.footprint import footprints
from ..network import Network
from ..plan.budgets import largest_batch
from ..plan.recomputing import recomputing
from ..plan.tables import size
from ..resources import available_memory
from ..wording import count_of
from .engine import Engine
from .keeper import Keeper
from .settings import Settings


class Room(NamedTuple):
    """Where the network is cut into pieces that are computed twice (none: it fits), and that in words."""

    cuts: tuple[int, ...] = ()
    said: str = ""


def room_for(network: Network, settings: Settings, device: str) -> Room:
    """How a step with these settings fits into what is free on the device.

    Volumes are computed again only where the step would not fit otherwise: that costs a third more work and changes
    no number. Raises RunError, with the largest mini-batch that would fit, where that is not enough either.
    """
    free, images = free_bytes(device), at_once(settings)
    plan = network.plan(batch=images, dtype=settings.dtype, optimizer=settings.optimizer)
    needed = plan.memory["training_bytes"]
    if free is None or needed <= free:
        return Room()
    found = recomputing(network, images, settings.dtype, settings.optimizer)
    less = found.training.peak.bytes
    if less <= free:
        saved = f"{size(less)} instead of {size(needed)}, with {size(free)} free"
        return Room(found.cuts, f"; volumes are computed twice to save memory: {saved}")
    most = largest_batch(plan, free)
    hint = f"accumulate={-(-settings.batch_size // most)}, or batch_size={most}" if most else "a smaller network"
    raise RunError(
        "a training step needs more memory than is free",
        received=f"{size(needed)} for {count_of(images, 'image')} at once, {size(less)} with volumes computed twice; "
        f"{size(free)} are free on {device}",
        hint=hint,
    )


def check_native_room(network: Network, settings: Settings) -> None:
    """Raise RunError where what the native engine keeps for weights alone is more than is free.

    The rest depends on its program, by which it looks itself before its first step.
    """
    memory, free = network.plan(optimizer=settings.optimizer).memory, available_memory()
    needed = memory["parameters_bytes"] + memory["parameter_gradients_bytes"] + memory["optimizer_bytes"]
    if free is not None and needed > free:
        raise RunError(
            "a training step needs more memory than is free",
            received=f"{size(needed)} for weights, their gradients and {settings.optimizer}; {size(free)} are free",
            hint="a smaller network",
        )


def free_bytes(device: str) -> int | None:
    """The memory that this process may still take on a device; None where nobody says."""
    place = torch.device(device)
    return torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else available_memory()


def at_once(settings: Settings) -> int:
    """How many images go through the network together."""
    return -(-settings.batch_size // settings.accumulate)


@contextmanager
def said_where_short(network: Network, settings: Settings, engine: Engine, keeper: Keeper) -> Iterator[None]:
    """Raise RunError with the plan's numbers, the last checkpoint and what to do, where memory runs out within."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _ran_out(error):
            raise
        batch, free = at_once(settings), free_bytes(engine.device)
        plan = network.plan(batch=batch, dtype=settings.dtype, optimizer=settings.optimizer)
        of_native = footprints(plan, engine.threads)["training"].total if engine.name == "native" else 0
        raise RunError(
            "memory ran out while training",
            excerpt=f"  the last checkpoint: {keeper.last or 'none yet'}",
            received=f"a step takes {size(of_native or plan.memory['training_bytes'])} by the plan"
            + ("" if free is None else f"; {size(free)} are free now"),
            hint=f"end what else takes memory, then neocog train --resume {quote(str(keeper.folder.path))}; "
            f"or start anew with accumulate={2 * settings.accumulate}: half as many images at once",
        ) from None


def _ran_out(error: Exception) -> bool:
    """Whether an error says that memory was refused; torch has no class of its own for that on CPUs."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
