"""What a step calls, in order, as lists: all that the printed driver needs of a program, and of `steps.py`.

Beside the kernels that a program has from the start, a step needs a few that are added to it here, as `steps.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..layers import BY_OP
from . import passes
from .expressions import Access, Index
from .kernel import Function
from .optimizers import OPTIMIZERS
from .program import Call, Meeting, Program, Region
from .runtime import DECAYING, LOSS, NOT_DECAYING
from .steps import Sizes

PURPOSES = {
    "load": "Images, one after the other, into a volume where they stand side by side in the lanes",
    "sums": "A layer's weighted sums, with what follows them in the same pass",
    "blend": "The sum of what other layers gave, normalised or not, through an activation function",
    "moments": "Mean and squared deviations of each channel in a block, for its normalization",
    "meet": "Normalization: what all blocks know of each channel, put together",
    "running": "Normalization of what prediction reads, by the running statistics",
    "pool": "What a pooling layer makes of its windows",
    "halve": "Numbers rounded to bfloat16, in pairs",
    "loss": "The loss, how many scores are right, and the gradient for the scores",
    "put": "A gradient for a volume, back through what follows where its values are made",
    "weights": "Adds to the gradient for weights",
    "inputs": "The gradient for what a layer reads, back through what made it",
    "hand": "A gradient for a blend, handed on to one of the layers that it read",
    "spread": "A gradient for what was normalised, handed on to the layer before",
    "unpool": "A gradient for pooled values, shared out to the windows",
    "draw": "Stochastic pooling in training: one value of each window, drawn by its size",
    "expect": "Stochastic pooling in prediction: the mean of each window, weighted by size",
    "pack": "Weights in the order in which a kernel reads them",
    "clear": "Zeros",
    "margins": "Zeros around a volume",
    "lanes": "Sums of lanes and groups, added up into gradients",
    "mask": "No gradient for weights that are not there",
    "losses": "Losses and hits of all groups, added up",
    "update": "Parameters moved against their gradients, unless the loss is not a number",
    "scores": "A block's scores without gaps",
}
"""What functions are for, by their kind."""


def purpose(function: Function) -> str:
    """What a function is for; layers that run by themselves have kernels that are called after them."""
    kind = function.name.rpartition("_")[0]
    word = kind.removesuffix("_back")
    if kind not in PURPOSES and word.upper() in BY_OP:
        return f"{word.upper()}{', back from the gradient for what it gives' if word != kind else ''}"
    return PURPOSES.get(kind, "")


class Shared(NamedTuple):
    """A call for all of so many rows or vectors; its numbers are the first, the one after the last, and how many
    blocks or groups there are: `of` is their name in the driver.
    """

    call: Call
    rows: int
    of: str


class Segment(NamedTuple):
    """Calls for each block of images, then those that need all blocks."""

    calls: Sequence[Call]
    meetings: Sequence[Shared]


class StepCalls(NamedTuple):
    """The calls of a step of training and of prediction, part after part."""

    pack: Sequence[Call]
    segments: Sequence[Segment]
    clear: Call
    sums: Sequence[Shared]
    losses: Call
    updates: Sequence[Shared]
    prepare: Sequence[Call]
    predict: Sequence[Call]


def step_calls(program: Program, optimizer: str) -> StepCalls:
    """Those of a program with one of training's optimizers."""
    maker = _Maker(program, optimizer)
    return StepCalls(
        pack=program.packs,
        segments=[
            Segment(calls, [maker.meeting(meeting) for meeting in meetings]) for calls, meetings in program.segments
        ],
        clear=maker.clear(),
        sums=[maker.sum(region, region.sums) for region in program.regions if region.sums is not None],
        losses=maker.losses(),
        updates=[call for region in program.regions if region.trainable for call in maker.update(region)],
        prepare=program.prepared,
        predict=program.predictions,
    )


class _Maker:
    """Calls of kernels that are not the program's own."""

    def __init__(self, program: Program, optimizer: str) -> None:
        self.program, self.machine, self.optimizer = program, program.machine, OPTIMIZERS[optimizer]
        self.lanes = program.machine.lanes
        self.group = Sizes.of(program).group // (4 * self.lanes)

    def _call(self, kind: str, build: Callable[[str], Function], **places: Access) -> Call:
        return Call(self.program.add(kind, build), places)

    def meeting(self, meeting: Meeting) -> Shared:
        function = self.program.add("meet", lambda name: meeting.build(name, self.program.training_layout.kept))
        return Shared(Call(function, meeting.buffers), meeting.rows, "blocks")

    def clear(self) -> Call:
        return self._call("clear", lambda name: passes.clear(name, self.machine, self.group), y=_at("result"))

    def sum(self, region: Region, sums: int) -> Shared:
        call = self._call(
            "lanes",
            lambda name: passes.sum_lanes(name, self.machine, region.count, region.padded, self.group),
            sums=_at("sums", sums * self.lanes),
            dw=_at("gradients", region.start),
        )
        return Shared(call, region.rows, "groups")

    def losses(self) -> Call:
        places = {"result": _at("result"), "out": _at("settings", LOSS)}
        return self._call("losses", lambda name: passes.sum_losses(name, self.machine, self.group), **places)

    def update(self, region: Region) -> list[Shared]:
        """Of weights some of which may not be there, the mask comes first."""
        places = {
            word: _at(buffer, region.start)
            for word, buffer in (("w", "weights"), ("v", "velocity"), ("s", "squares"), ("dw", "gradients"))
        }
        places["settings"] = _at("settings", DECAYING if region.decays else NOT_DECAYING)
        places["loss"] = _at("settings", LOSS)
        summed = region.sums is not None or region.met
        kernel = self.optimizer.kernel
        calls = [self._call("update", lambda name: kernel(name, self.machine, self.group, summed, 1.0), **places)]
        if region.masked:
            there = {"dw": places["dw"], "there": _at("there", region.start)}
            calls.insert(0, self._call("mask", lambda name: passes.mask(name, self.machine, self.group), **there))
        return [Shared(call, region.size // self.lanes, "groups") for call in calls]


def _at(buffer: str, start: int = 0) -> Access:
    return Access(buffer, Index(start))
