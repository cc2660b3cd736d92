"""Side outputs: the same loss of other scores, by a weight; prediction does not run what leads to them."""

from __future__ import annotations

from ..layers.auxiliary import Auxiliary
from .lone import LonePart


class SidePart(LonePart):
    """The end of a side branch in a program."""

    def forwards(self) -> None:
        """Nothing."""

    def backwards(self) -> None:
        """What the loss says of the branch's scores."""
        assert isinstance(self.node.layer, Auxiliary)  # noqa: S101
        self.program.learn_from(self.source, self.node.layer.weight)
