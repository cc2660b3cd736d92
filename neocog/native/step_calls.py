"""What a step calls, part after part, as lists: `steps.py` prints them as LLVM IR for threads, `c_network.py` as C.

Beside the kernels that a program has from the start, a step needs a few that go through all blocks, groups or
parameters. They are added to the program here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from . import passes
from .expressions import Access, Index
from .kernel import Function
from .optimizers import OPTIMIZERS, average
from .program import Call, Meeting, Program, Region
from .runtime import DECAYING, LOSS, NOT_DECAYING, SHARE
from .sizes import Sizes


class Shared(NamedTuple):
    """A call for all of so many rows or vectors, of which threads take a part each.

    The function's numbers are the first, the one after the last, and how many there are of what it adds up: `of` is
    blocks or groups, or empty where it adds up nothing.
    """

    call: Call
    rows: int
    of: str


class Stretch(NamedTuple):
    """A segment of the program: calls for each block of images, then for all blocks; and weights that are packed."""

    calls: Sequence[Call]
    meetings: Sequence[Shared]
    packs: Sequence[Call]


class StepCalls(NamedTuple):
    """The calls of a step of training, then of prediction, part after part. `updates` are those of each parameter."""

    pack: Sequence[Call]
    segments: Sequence[Stretch]
    clear: Call
    sums: Sequence[Shared]
    losses: Call
    updates: Sequence[Sequence[Shared]]
    prepare: Sequence[Call]
    predict: Sequence[Call]


def step_calls(
    program: Program, optimizer: str, factors: Mapping[str, float] | None = None, *, averages: bool = False
) -> StepCalls:
    """Those of a program with one of training's optimizers.

    `factors` are on the learning rates of arrays by name; one of 0 leaves an array as it is. With `averages` each
    update moves the average of the weights too.
    """
    predicting = program.predictions
    read = {place.at for call in predicting for place in call.places if place.buffer == "packed"}
    maker = _Maker(program, optimizer, factors or {}, averages)
    return StepCalls(
        pack=program.packs,
        segments=[
            Stretch(calls, [maker.meeting(meeting) for meeting in meetings], packs)
            for calls, meetings, packs in program.segments
        ],
        clear=maker.clear(),
        sums=[maker.sum(region) for region in program.regions if region.sums is not None],
        losses=maker.losses(),
        updates=[maker.update(region) for region in program.regions],
        prepare=[*(call for call in program.packs if call.buffers["packed"].at in read), *program.prepared],
        predict=predicting,
    )


class _Maker:
    """Calls of kernels that are not the program's own."""

    def __init__(self, program: Program, optimizer: str, factors: Mapping[str, float], averages: bool) -> None:
        self.program, self.machine, self.optimizer = program, program.machine, OPTIMIZERS[optimizer]
        self.factors, self.averages = factors, averages
        self.lanes = program.machine.lanes
        self.group = Sizes.of(program).group // (4 * self.lanes)

    def _call(self, kind: str, build: Callable[[str], Function], **places: Access) -> Call:
        return Call(self.program.add(kind, build), places)

    def meeting(self, meeting: Meeting) -> Shared:
        """What blocks know, put together."""
        stride = self.program.training_layout.kept
        function = self.program.add("meet", lambda name: meeting.build(name, stride))
        return Shared(Call(function, meeting.buffers), meeting.rows, "blocks")

    def clear(self) -> Call:
        """A group's results, gradients and sums become zero."""
        return self._call("clear", lambda name: passes.clear(name, self.machine, self.group), y=_at("result"))

    def sum(self, region: Region) -> Shared:
        """Gradients that groups and lanes hold apart, added up."""
        call = self._call(
            "lanes",
            lambda name: passes.sum_lanes(name, self.machine, region.count, region.padded, self.group),
            sums=region.lane_sums(self.lanes),
            dw=region.at("gradients"),
        )
        return Shared(call, region.rows, "groups")

    def losses(self) -> Call:
        """What groups and lanes hold of losses and hits, added up."""
        places = {"result": _at("result"), "out": _at("settings", LOSS)}
        return self._call("losses", lambda name: passes.sum_losses(name, self.machine, self.group), **places)

    def update(self, region: Region) -> list[Shared]:
        """All that happens to a parameter once its gradient is there."""
        factor = self.factors.get(region.name, 1.0)
        calls = self._step(region, factor) if region.trainable and factor else []
        vectors = region.size // self.lanes
        made = [Shared(call, vectors, "groups") for call in calls]
        return [*made, Shared(self._average(region), vectors, "")] if self.averages else made

    def _step(self, region: Region, factor: float) -> list[Call]:
        """The optimizer's kernel. Of weights some of which may not be there, a mask comes first."""
        words = {"w": "weights", "v": "velocity", "s": "squares", "dw": "gradients"}
        places = {word: region.at(buffer) for word, buffer in words.items()}
        places["settings"] = _at("settings", DECAYING if region.decays else NOT_DECAYING)
        places["loss"] = _at("settings", LOSS)
        summed = region.sums is not None or region.met
        kernel = self.optimizer.kernel
        calls = [self._call("update", lambda name: kernel(name, self.machine, self.group, summed, factor), **places)]
        if region.masked:
            there = {"dw": places["dw"], "there": region.at("there")}
            calls.insert(0, self._call("mask", lambda name: passes.mask(name, self.machine, self.group), **there))
        return calls

    def _average(self, region: Region) -> Call:
        places = {"a": region.at("average"), "w": region.at("weights")}
        places |= {"share": _at("settings", SHARE), "loss": _at("settings", LOSS)}
        return self._call("average", lambda name: average(name, self.machine), **places)


def _at(buffer: str, start: int = 0) -> Access:
    return Access(buffer, Index(start))
