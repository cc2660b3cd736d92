"""Which part runs which kind of stage."""

from __future__ import annotations

from . import passes
from .blending import BlendPart
from .contrast import ContrastPart
from .deconv import DeconvPart
from .dropout import DropoutPart
from .expressions import Access, Index
from .group_norm import GroupNormPart
from .layout import SMALL, Margins, Volume
from .local import LocalPart
from .part import Part
from .pointwise import CurvePart, PReLUPart, SoftmaxPart
from .pooling import PoolPart
from .program import Call, Program
from .pyramid import PyramidPart
from .radial import DistancePart
from .response import ResponsePart
from .side import SidePart
from .stages import Blend, Input, Pool, Single, Stage, Weighted
from .stochastic import StochasticPart
from .upsampling import UpsamplePart
from .weighted import WeightedPart


class InputPart(Part):
    """The images: brought into lanes, and nobody asks for their gradient.

    Large ones are brought there once more for a gradient of weights, rather than kept.
    """

    def forwards(self) -> None:
        """Load a block."""
        self.program.forward += self.loaded(self.y)
        self.light = self.stage.output.elements > SMALL

    def loaded(self, y: Volume) -> list[Call]:
        """The call that brings images into a volume."""
        function = self.program.add("load", lambda name: passes.load_images(name, self.machine, self.stage.output, y))
        return [Call(function, {"x": Access("images", Index()), "y": self.program.at(y)})]

    def remade(self, y: Volume) -> list[Call]:
        """The images once more."""
        return self.program.cleared(y) + self.loaded(y)

    def backwards(self) -> None:
        """Nothing: images are not trained."""


PARTS: dict[type, type[Part]] = {
    Input: InputPart,
    Weighted: WeightedPart,
    Blend: BlendPart,
}

SINGLES: dict[str, type[Part]] = {
    "RBF": DistancePart,
    "DROPOUT": DropoutPart,
    "GELU": CurvePart,
    "SILU": CurvePart,
    "PRELU": PReLUPart,
    "SOFTMAX": SoftmaxPart,
    "LRN": ResponsePart,
    "DECONV": DeconvPart,
    "LOCAL": LocalPart,
    "UPSAMPLE": UpsamplePart,
    "SPP": PyramidPart,
    "LCN": ContrastPart,
    "GROUPNORM": GroupNormPart,
    "AUX": SidePart,
}
"""Those of stages that are a layer by itself, by its word."""
POOLINGS = {"STOPOOL": StochasticPart}
"""Those of pooling that is not like the rest."""


def part_of(program: Program, stage: Stage, margins: Margins, readers: int) -> Part:
    """The part for a stage."""
    if isinstance(stage, Single):
        kind = SINGLES[stage.node.layer.op]
    elif isinstance(stage, Pool):
        kind = POOLINGS.get(stage.node.layer.op, PoolPart)
    else:
        kind = PARTS[type(stage)]
    return kind(program, stage, margins, readers)
