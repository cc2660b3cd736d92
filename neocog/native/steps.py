"""The text of a step: what each thread does, and where threads wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from . import passes
from .expressions import Access, Index
from .feeding import MOVE, behind, load_bytes, load_moved, takes_bytes
from .kernel import Function
from .optimizers import OPTIMIZERS, average
from .program import Call, Meeting, Program, Region
from .runtime import BYTES, DECAYING, LOSS, MOVED, NOT_DECAYING, NUMBERS, SHARE, Body

HERE = Index()
PART = 64
"""So many calls, or parameters, are in a function of the text."""
T = TypeVar("T")


def batched(things: Sequence[T], weight: Callable[[T], int] = lambda thing: 1) -> list[list[T]]:
    """The things in their order, as many together as weigh `PART`, and those that weigh more alone."""
    found: list[list[T]] = []
    filled = PART
    for thing in things:
        if filled + weight(thing) > PART:
            found.append([])
            filled = 0
        found[-1].append(thing)
        filled += weight(thing)
    return found


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


class Steps:
    """`train` and `score` of a program as LLVM IR. Kernels that they need are added to the program.

    A step is fed images as numbers one after the other, or as bytes of a data set: those of `rows`, as they are or
    moved. With `averages` each update moves the average of the weights too. `factors` are on the learning rates of
    arrays by name; one of 0 leaves an array as it is.
    """

    def __init__(
        self, program: Program, optimizer: str, averages: bool = False, factors: Mapping[str, float] | None = None
    ) -> None:
        self.program, self.sizes, self.averages = program, Sizes.of(program), averages
        self.factors = factors or {}
        self.input = program.network.input_shape
        self.lanes, self.optimizer = program.machine.lanes, optimizer
        self.group_vectors = self.sizes.group // (4 * self.lanes)
        self._parts: list[str] = []

    def texts(self) -> list[str]:
        """`train` and `score`, and the functions that they are made of."""
        whole = [self._train(), self._score()]
        return [*self._parts, *whole]

    def _train(self) -> str:
        """Forwards and backwards through all blocks, and one update of the weights."""
        body = Body()
        self._in_turn(body, self.program.packs)
        body.barrier()
        for k, segments in enumerate(batched(self.program.segments, lambda segment: len(segment[0]))):
            self._apart(body, partial(self._segments, segments=segments, begins=k == 0))
        self._apart(body, self._losses)
        for regions in batched(self.program.regions):
            self._apart(body, partial(self._sums, regions=regions))
        body.barrier()
        for regions in batched(self.program.regions):
            self._apart(body, partial(self._updates, regions=regions))
        body.barrier()
        return body.function("train")

    def _score(self) -> str:
        """Forwards only, blocks shared out in turn."""
        body = Body()
        self._in_turn(body, [*self.program.packs, *self.program.prepared])
        body.barrier()
        b, done = body.loop("%thread", body.shared("blocks"), body.shared("threads"))
        for calls in batched(self.program.predictions):
            self._apart(body, partial(self._predictions, calls=calls), block=b)
        body.end(done)
        body.barrier()
        return body.function("score")

    def _apart(self, body: Body, write: Callable[[Body], None], block: str = "0") -> None:
        """Call what is written as a function of its own: LLVM takes too long for the many calls of a deep network."""
        part, name = Body(), f"part{len(self._parts)}"
        write(part)
        self._parts.append(part.function(name, "block"))
        body.do(f"call void @{name}(ptr %shared, i64 %thread, i64 {block})")

    def _segments(self, body: Body, segments: Sequence[tuple[list[Call], list[Meeting]]], *, begins: bool) -> None:
        """All blocks through one segment after the other, threads meeting after each."""
        first, threads, groups = self._met_places(body)
        for k, (calls, meetings) in enumerate(segments):
            self._blocks(body, calls, first, (threads, groups), begins=begins and k == 0)
            body.barrier()
            self._meet(body, meetings, first, threads)

    def _predictions(self, body: Body, calls: Sequence[Call]) -> None:
        """Some of the calls for a block."""
        shared = self._pointers(body)
        places = dict(shared)
        for name, size in (
            ("arena", self.sizes.predicting),
            ("scratch", self.sizes.scratch),
            ("halved", self.sizes.halved),
        ):
            places[name] = body.step(shared[name], "%thread", size)
        places["images"] = body.step(shared["images"], "%block", self.sizes.images)
        places["scores"] = body.step(shared["scores"], "%block", self.sizes.scores)
        for call in calls:
            body.call(call, places, self.program.predicting_layout)

    def _in_turn(self, body: Body, calls: Sequence[Call]) -> None:
        """Each call by the thread of its number, counted round."""
        for some in batched(list(enumerate(calls))):
            self._apart(body, partial(self._calls_in_turn, calls=some))

    def _calls_in_turn(self, body: Body, calls: Sequence[tuple[int, Call]]) -> None:
        threads = body.shared("threads")
        shared = {name: body.pointer(name) for name in ("weights", "packed", "coefficients")}
        for k, call in calls:
            owner = body.line(f"urem i64 {k}, {threads}")
            with body.when(body.line(f"icmp eq i64 {owner}, %thread")):
                body.call(call, shared)

    def _blocks(
        self, body: Body, calls: Sequence[Call], shared: dict[str, str], counts: tuple[str, str], *, begins: bool
    ) -> None:
        """Each thread's groups, and in each the blocks that belong to it. `begins` clears what groups add up."""
        (threads, groups), places = counts, dict(shared)
        for name in ("arena", "scratch", "halved"):
            places[name] = body.step(shared[name], "%thread", getattr(self.sizes, name))
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
        places["kept"] = body.step(shared["kept"], b, self.sizes.kept)
        for call in calls:
            if "x" in call.buffers and call.buffers["x"].buffer == "images":
                self._load(body, call, places, b)
            else:
                body.call(call, places, self.program.training_layout)
        body.end(done_blocks)
        body.end(done_groups)

    def _load(self, body: Body, call: Call, places: dict[str, str], block: str) -> None:
        """Bring a block of images into the lanes: what a step is fed decides how."""
        fed, layout = body.shared("fed"), self.program.training_layout
        with body.when(body.line(f"icmp eq i64 {fed}, {NUMBERS}")):
            body.call(call, places, layout)
        if not takes_bytes(self.input):
            return
        machine, shape, volume = self.program.machine, self.input, self.program.parts[0].y
        places = places | {"coding": body.pointer("coding")}
        for name, size in (("staged", self.sizes.staged), ("moves", self.sizes.moves)):
            places[name] = body.step(body.pointer(name), "%thread" if name == "staged" else block, size)
        with body.when(body.line(f"icmp ne i64 {fed}, {NUMBERS}")):
            self._stage(body, places["staged"], body.step(body.pointer("rows"), block, 8 * self.lanes))
        for kind, kernel in ((BYTES, load_bytes), (MOVED, load_moved)):
            function = self.program.add("feed", partial(kernel, machine=machine, shape=shape, volume=volume))
            buffers = {name: Access(name, HERE) for name in ("staged", "coding", "labels", "moves")}
            with body.when(body.line(f"icmp eq i64 {fed}, {kind}")):
                body.call(Call(function, buffers | {"y": call.buffers["y"]}), places, layout)

    def _stage(self, body: Body, staged: str, rows: str) -> None:
        """Copy a block's images, each from its row of the data set."""
        pixels, size = body.pointer("pixels"), self.sizes.image
        lane, done = body.loop("0", str(self.lanes), "1")
        row = body.line(f"load i64, ptr {body.step(rows, lane, 8)}, align 8")
        to, source = body.step(staged, lane, size), body.step(pixels, row, size)
        body.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")
        body.end(done)

    def _meet(self, body: Body, meetings: Sequence[Meeting], places: dict[str, str], threads: str) -> None:
        """What needs all blocks, rows shared out among threads; then blocks may go on."""
        blocks = body.shared("blocks")
        for meeting in meetings:
            layout = self.program.training_layout
            call = Call(self.program.add("meet", _met(meeting, layout.kept)), meeting.buffers)
            body.call(call, places, layout, (*self._share(body, meeting.rows, threads), blocks))
        if meetings:
            body.barrier()

    def _losses(self, body: Body) -> None:
        """What groups and lanes hold of losses and hits, added up by the first thread."""
        machine, vectors = self.program.machine, self.group_vectors
        losses = self.program.add("losses", lambda name: passes.sum_losses(name, machine, vectors))
        places, _, groups = self._met_places(body)
        with body.when(body.line("icmp eq i64 %thread, 0")):
            buffers = {"result": Access("result", HERE), "out": Access("settings", Index(LOSS))}
            body.call(Call(losses, buffers), places, numbers=(groups,))

    def _met_places(self, body: Body) -> tuple[dict[str, str], str, str]:
        """Where things are once all blocks are through, and how many threads and groups there are."""
        shared = self._pointers(body)
        return shared | self._group(body, shared["group"]), body.shared("threads"), body.shared("groups")

    def _sums(self, body: Body, regions: Sequence[Region]) -> None:
        """Gradients that groups and lanes hold apart, added up: each thread some rows."""
        places, threads, groups = self._met_places(body)
        for region in regions:
            if region.sums is None:
                continue
            count, padded = region.count, region.padded
            function = self.program.add("lanes", _lanes(self.program, count, padded, self.group_vectors))
            buffers = {"sums": Access("sums", Index(region.sums * self.lanes))}
            buffers["dw"] = Access("gradients", Index(region.start))
            body.call(Call(function, buffers), places, numbers=(*self._share(body, region.rows, threads), groups))

    def _updates(self, body: Body, regions: Sequence[Region]) -> None:
        places, threads, groups = self._met_places(body)
        for region in regions:
            factor = self.factors.get(region.name, 1.0)
            if region.trainable and factor:
                self._update(body, region, factor, places, threads, groups)
            if self.averages:
                self._average(body, region, places, threads)

    def _update(
        self, body: Body, region: Region, factor: float, places: dict[str, str], threads: str, groups: str
    ) -> None:
        summed = region.sums is not None or region.met
        build = _updating(self.program, self.group_vectors, summed, self.optimizer, factor)
        function = self.program.add("update", build)
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
            body.call(Call(mask, there), places, numbers=(*share, groups))
        body.call(Call(function, buffers), places, numbers=(*share, groups))

    def _average(self, body: Body, region: Region, places: dict[str, str], threads: str) -> None:
        """Each thread the part that it has updated."""
        function = self.program.add("average", lambda name: average(name, self.program.machine))
        places = places | {"average": body.pointer("average")}
        start = Index(region.start)
        buffers = {name: Access("settings", Index(at)) for name, at in (("share", SHARE), ("loss", LOSS))}
        buffers |= {"a": Access("average", start), "w": Access("weights", start)}
        body.call(Call(function, buffers), places, numbers=self._share(body, region.size // self.lanes, threads))

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
            "kept",
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


def _met(meeting: Meeting, stride: int) -> Callable[[str], Function]:
    return lambda name: meeting.build(name, stride)


def _mask(program: Program, group: int) -> Callable[[str], Function]:
    return lambda name: passes.mask(name, program.machine, group)


def _lanes(program: Program, count: int, padded: int, group: int) -> Callable[[str], Function]:
    return lambda name: passes.sum_lanes(name, program.machine, count, padded, group)


def _updating(program: Program, group: int, summed: bool, optimizer: str, factor: float) -> Callable[[str], Function]:
    return lambda name: OPTIMIZERS[optimizer].kernel(name, program.machine, group, summed, factor)
