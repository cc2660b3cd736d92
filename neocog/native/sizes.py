"""How much memory a program takes, in bytes, for each thread, block and group."""

from __future__ import annotations

from typing import NamedTuple

from .feeding import MOVE, behind
from .program import Program


class Sizes(NamedTuple):
    """Bytes of what each thread, block or group has for itself, and of a block's images, labels, scores and moves.

    `image` is of one image of bytes, and `staged` of a block of them.
    """

    arena: int
    predicting: int
    kept: int
    scratch: int
    halved: int
    group: int
    images: int
    labels: int
    scores: int
    moves: int
    image: int
    staged: int

    @classmethod
    def of(cls, program: Program) -> Sizes:
        """Those of a program."""
        block, network = program.machine.lanes * 4, program.network
        return cls(
            arena=program.training_layout.arena * block,
            predicting=program.predicting_layout.arena * block,
            kept=program.training_layout.kept * block,
            scratch=program.scratch * block,
            halved=program.halved * 4,
            group=program.group_numbers * 4,
            images=network.input_shape.elements * block,
            labels=block,
            scores=network.shapes[-1].channels * block,
            moves=MOVE * block,
            image=network.input_shape.elements,
            staged=network.input_shape.elements * program.machine.lanes + behind(network.input_shape),
        )
