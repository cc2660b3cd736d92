"""The text of a step: what each thread does, and where threads wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..network import Network
from . import passes
from .kernel import Access, Function, Index
from .optimizers import OPTIMIZERS
from .program import Call, Meeting, Program
from .runtime import Body

DECAYING, NOT_DECAYING, LOSS = 0, 4, 8
"""Places in the settings that threads share: rates for weights, for biases, and the sums of losses and hits."""
HERE = Index()


class Sizes(NamedTuple):
    """Bytes of what each thread or group has for itself, and of a block's images, labels and scores."""

    arena: int
    scratch: int
    halved: int
    group: int
    images: int
    labels: int
    scores: int

    @classmethod
    def of(cls, program: Program, network: Network) -> Sizes:
        """Those of a program."""
        block = program.machine.lanes * 4
        return cls(
            arena=program.arena.size * block,
            scratch=program.scratch * block,
            halved=program.halved * 4,
            group=program.group_numbers * 4,
            images=network.input_shape.elements * block,
            labels=block,
            scores=network.shapes[-1].channels * block,
        )


class Steps:
    """`train` and `score` of a program as LLVM IR. Kernels that they need are added to the program."""

    def __init__(self, program: Program, network: Network, optimizer: str) -> None:
        self.program, self.sizes = program, Sizes.of(program, network)
        self.lanes, self.optimizer = program.machine.lanes, optimizer
        self.group_vectors = self.sizes.group // (4 * self.lanes)

    def train(self) -> str:
        """Forwards and backwards through all blocks, and one update of the weights."""
        body = Body()
        self._calls_in_turn(body, self.program.packs)
        body.barrier()
        shared, threads, groups = self._pointers(body), body.shared("threads"), body.shared("groups")
        first = shared | self._group(body, shared["group"])
        for k, (calls, meetings) in enumerate(segments(self.program)):
            self._blocks(body, calls, shared, (threads, groups), begins=k == 0)
            body.barrier()
            self._meet(body, meetings, first, threads)
        self._sums(body, first, threads, groups)
        body.barrier()
        self._updates(body, first, threads, groups)
        body.barrier()
        return body.function("train")

    def score(self) -> str:
        """Forwards only, blocks shared out in turn."""
        body = Body()
        self._calls_in_turn(body, [*self.program.packs, *self.program.prepared])
        body.barrier()
        shared, threads, blocks = self._pointers(body), body.shared("threads"), body.shared("blocks")
        places = shared | {
            name: body.step(shared[name], "%thread", getattr(self.sizes, name))
            for name in ("arena", "scratch", "halved")
        }
        b, done = body.loop("%thread", blocks, threads)
        places["images"] = body.step(shared["images"], b, self.sizes.images)
        places["scores"] = body.step(shared["scores"], b, self.sizes.scores)
        for call in self.program.forward:
            if isinstance(call, Call) and not call.training:
                body.call(call, places)
        last, machine = self.program.last.y, self.program.machine
        store = self.program.add("scores", lambda name: passes.store_scores(name, machine, last))
        at = Access("arena", Index(last.offset * self.lanes))
        body.call(Call(store, {"y": at, "scores": Access("scores", HERE)}), places)
        body.end(done)
        body.barrier()
        return body.function("score")

    def _calls_in_turn(self, body: Body, calls: Sequence[Call]) -> None:
        """Each call by the thread of its number, counted round."""
        threads = body.shared("threads")
        shared = {name: body.pointer(name) for name in ("weights", "packed", "coefficients")}
        for k, call in enumerate(calls):
            owner = body.line(f"urem i64 {k}, {threads}")
            with body.when(body.line(f"icmp eq i64 {owner}, %thread")):
                body.call(call, shared)

    def _blocks(
        self, body: Body, calls: Sequence[Call], shared: dict[str, str], counts: tuple[str, str], *, begins: bool
    ) -> None:
        """Each thread's groups, and in each the blocks that belong to it. `begins` clears what groups add up."""
        (threads, groups), places = counts, dict(shared)
        for name in ("scratch", "halved"):
            places[name] = body.step(shared[name], "%thread", getattr(self.sizes, name))
        if not self.program.couples:
            places["arena"] = body.step(shared["arena"], "%thread", self.sizes.arena)
        g, done_groups = body.loop("%thread", groups, threads)
        places |= self._group(body, body.step(shared["group"], g, self.sizes.group))
        if begins:
            machine, vectors = self.program.machine, self.group_vectors
            clear = self.program.add("clear", lambda name: passes.clear(name, machine, vectors))
            body.call(Call(clear, {"y": Access("result", HERE)}), places)
        at = body.line(f"getelementptr i64, ptr {shared['starts']}, i64 {g}")
        first = body.line(f"load i64, ptr {at}, align 8")
        after = body.line(f"getelementptr i64, ptr {at}, i64 1")
        b, done_blocks = body.loop(first, body.line(f"load i64, ptr {after}, align 8"), "1")
        places["images"] = body.step(shared["images"], b, self.sizes.images)
        for name in ("labels", "numbers"):
            places[name] = body.step(shared[name], b, self.sizes.labels)
        if self.program.couples:
            places["arena"] = body.step(shared["arena"], b, self.sizes.arena)
        for call in calls:
            body.call(call, places)
        body.end(done_blocks)
        body.end(done_groups)

    def _meet(self, body: Body, meetings: Sequence[Meeting], places: dict[str, str], threads: str) -> None:
        """What needs all blocks, rows shared out among threads; then blocks may go on."""
        blocks = body.shared("blocks")
        for meeting in meetings:
            function = self.program.add("meet", _met(meeting, self.program.arena.size))
            body.call(Call(function, meeting.buffers), places, (*self._share(body, meeting.rows, threads), blocks))
        if meetings:
            body.barrier()

    def _sums(self, body: Body, places: dict[str, str], threads: str, groups: str) -> None:
        """What groups and lanes hold apart, added up: each thread some rows, the first one the losses too."""
        machine, vectors = self.program.machine, self.group_vectors
        for region in self.program.regions:
            if region.sums is None:
                continue
            count, padded = region.count, region.padded
            function = self.program.add("lanes", _lanes(self.program, count, padded, vectors))
            buffers = {"sums": Access("sums", Index(region.sums * self.lanes))}
            buffers["dw"] = Access("gradients", Index(region.start))
            body.call(Call(function, buffers), places, (*self._share(body, region.rows, threads), groups))
        losses = self.program.add("losses", lambda name: passes.sum_losses(name, machine, vectors))
        with body.when(body.line("icmp eq i64 %thread, 0")):
            buffers = {"result": Access("result", HERE), "out": Access("settings", Index(LOSS))}
            body.call(Call(losses, buffers), places, (groups,))

    def _updates(self, body: Body, places: dict[str, str], threads: str, groups: str) -> None:
        for region in self.program.regions:
            if not region.trainable:
                continue
            summed = region.sums is not None or region.met
            function = self.program.add("update", _update(self.program, self.group_vectors, summed, self.optimizer))
            start = Index(region.start)
            buffers = {
                "w": Access("weights", start),
                "v": Access("velocity", start),
                "s": Access("squares", start),
                "dw": Access("gradients", start),
                "settings": Access("settings", Index(DECAYING if region.decays else NOT_DECAYING)),
                "loss": Access("settings", Index(LOSS)),
            }
            share = self._share(body, region.size // self.lanes, threads)
            if region.masked:
                mask = self.program.add("mask", _mask(self.program, self.group_vectors))
                there = {"dw": buffers["dw"], "there": Access("there", start)}
                body.call(Call(mask, there), places, (*share, groups))
            body.call(Call(function, buffers), places, (*share, groups))

    def _share(self, body: Body, total: int, threads: str) -> tuple[str, str]:
        """The part of `total` things that is this thread's: the first, and the one after the last."""
        first, after = (
            body.line(f"udiv i64 {body.line(f'mul i64 {k}, {total}')}, {threads}")
            for k in ("%thread", body.line("add i64 %thread, 1"))
        )
        return first, after

    def _pointers(self, body: Body) -> dict[str, str]:
        names = (
            "arena",
            "weights",
            "velocity",
            "squares",
            "packed",
            "group",
            "scratch",
            "halved",
            "images",
            "labels",
            "coefficients",
            "there",
            "words",
            "numbers",
        )
        return {name: body.pointer(name) for name in (*names, "settings", "scale", "scores", "starts")}

    def _group(self, body: Body, start: str) -> dict[str, str]:
        """A group's memory: results, gradients, sums."""
        gradients = body.line(f"getelementptr float, ptr {start}, i64 {2 * self.lanes}")
        sums = body.line(f"getelementptr float, ptr {gradients}, i64 {self.program.parameters}")
        return {"result": start, "gradients": gradients, "sums": sums}


def segments(program: Program) -> list[tuple[list[Call], list[Meeting]]]:
    """A training step's calls up to each place where threads meet, and what they do there."""
    found: list[tuple[list[Call], list[Meeting]]] = [([], [])]
    for step in (*program.forward, *program.backward):
        if isinstance(step, Meeting):
            found[-1][1].append(step)
        elif not step.predicting:
            if found[-1][1]:
                found.append(([], []))
            found[-1][0].append(step)
    return found


def _met(meeting: Meeting, stride: int) -> Callable[[str], Function]:
    return lambda name: meeting.build(name, stride)


def _mask(program: Program, group: int) -> Callable[[str], Function]:
    return lambda name: passes.mask(name, program.machine, group)


def _lanes(program: Program, count: int, padded: int, group: int) -> Callable[[str], Function]:
    return lambda name: passes.sum_lanes(name, program.machine, count, padded, group)


def _update(program: Program, group: int, summed: bool, optimizer: str) -> Callable[[str], Function]:
    return lambda name: OPTIMIZERS[optimizer].kernel(name, program.machine, group, summed)
