"""How much memory the native engine takes for a batch, by purpose, from a program that nothing has compiled."""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from ..losses import default_loss
from ..plan.plan import Plan
from .jit import machine
from .optimizers import OPTIMIZERS, Optimizer
from .program import Call, Meeting, Program
from .sizes import Sizes

FUNCTION, PRESENT = 170 * 2**10, 20
"""What LLVM and Python keep for a function: its machine code, and the objects that it was made from; and for how many
there is room that another network has left."""
PLACE = 2**10
"""What Python keeps for each place in memory that a call of a step is given."""


class Footprint(NamedTuple):
    """Bytes at the fullest moment, on top of a process that has run another network before.

    `arenas` and `kept` hold volumes: of the blocks in hand, one for each thread that is busy, and of all blocks that
    wait for a meeting of threads. `gradients` are of the groups of blocks, sums of lanes included. `batch` is images,
    labels and scores.
    """

    weights: int
    optimizer: int
    packed: int
    gradients: int
    arenas: int
    kept: int
    scratch: int
    batch: int
    code: int

    @classmethod
    def of(
        cls, program: Program, *, batch: int, threads: int, optimizer: Optimizer, training: bool, averages: bool = False
    ) -> Footprint:
        """Of training on a batch, with an average of the weights or without, or of predicting it."""
        sizes, lanes = Sizes.of(program), program.machine.lanes
        blocks = -(-batch // lanes)
        groups = program.groups(blocks) if training else 0
        busy = min(threads, groups if training else blocks)
        images = batch * (sizes.images // lanes) + (blocks * sizes.images if batch % lanes else 0)
        numbers = 4 * program.parameters
        places = sum(
            len(step.buffers)
            for calls, meetings, packs in program.segments
            for step in chain[Call | Meeting](calls, meetings, packs)
        )
        return cls(
            weights=numbers * (2 if averages else 1) + 4 * program.coefficients,
            optimizer=optimizer.states * numbers if training else 0,
            packed=4 * program.packed,
            gradients=groups * sizes.group,
            arenas=busy * (sizes.arena if training else sizes.predicting),
            kept=blocks * sizes.kept if training else 0,
            scratch=busy * (sizes.scratch + sizes.halved),
            batch=images + blocks * (sizes.labels if training else 2 * sizes.scores),
            code=FUNCTION * max(0, len(program.functions) - PRESENT) + PLACE * places,
        )

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)

    @property
    def present(self) -> int:
        """What is there before the first step: weights, images and code."""
        return self.weights + self.batch + self.code


def footprints(plan: Plan, threads: int) -> dict[str, Footprint]:
    """What `inference` and `training` of a plan's batch take on this machine, if the engine covers the network."""
    pairs = plan.dtype == "bfloat16"
    on = machine().for_images(plan.batch, pairs=pairs)
    program = Program(on, plan.network, default_loss(plan.network).name, pairs=pairs)
    optimizer = OPTIMIZERS[known(plan.optimizer)]
    return {
        mode: Footprint.of(program, batch=plan.batch, threads=threads, optimizer=optimizer, training=mode == "training")
        for mode in ("inference", "training")
    }


def known(optimizer: str) -> str:
    """The engines' name for it: plain Adam needs as much memory as AdamW, which is the one that they have."""
    return "adamw" if optimizer == "adam" else optimizer
