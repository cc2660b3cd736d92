"""The text of a step: what each thread does, and where threads wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

from .expressions import Access, Index
from .feeding import load_bytes, load_moved, takes_bytes
from .program import Call, Program
from .runtime import BYTES, MOVED, NUMBERS, Body
from .sizes import Sizes
from .step_calls import Shared, StepCalls, Stretch

HERE = Index()
PART = 64
"""So many calls, or parameters, are in a function of the text."""
OF_CALLS = (
    *("arena", "kept", "weights", "velocity", "squares", "packed", "group", "scratch", "halved", "images", "labels"),
    *("coefficients", "there", "words", "numbers", "settings", "scale", "scores", "starts", "average"),
)
"""Pointers that the places of a call name, and those from which they are found."""
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


class Steps:
    """`train` and `score` of a program as LLVM IR, from its calls. Kernels that they need are added to the program.

    A step is fed images as numbers one after the other, or as bytes of a data set: those of `rows`, as they are or
    moved.
    """

    def __init__(self, program: Program, calls: StepCalls) -> None:
        self.program, self.calls, self.sizes = program, calls, Sizes.of(program)
        self.input, self.lanes = program.network.input_shape, program.machine.lanes
        self._parts: list[str] = []

    def texts(self) -> list[str]:
        """`train` and `score`, and the functions that they are made of."""
        whole = [self._train(), self._score()]
        return [*self._parts, *whole]

    def _train(self) -> str:
        """Forwards and backwards through all blocks, and one update of the weights."""
        body, calls = Body(), self.calls
        self._in_turn(body, calls.pack)
        body.barrier()
        for k, segments in enumerate(batched(calls.segments, lambda segment: len(segment.calls))):
            self._apart(body, partial(self._segments, segments=segments, begins=k == 0))
        self._apart(body, self._losses)
        for sums in batched(calls.sums):
            self._apart(body, partial(self._shared, shared=sums))
        body.barrier()
        for updates in batched(calls.updates):
            self._apart(body, partial(self._shared, shared=list(chain.from_iterable(updates))))
        body.barrier()
        return body.function("train")

    def _score(self) -> str:
        """Forwards only, blocks shared out in turn."""
        body = Body()
        self._in_turn(body, self.calls.prepare)
        body.barrier()
        b, done = body.loop("%thread", body.shared("blocks"), body.shared("threads"))
        for calls in batched(self.calls.predict):
            self._apart(body, partial(self._predictions, calls=calls), block=b)
        body.end(done)
        body.barrier()
        return body.function("score")

    def _apart(self, body: Body, write: Callable[[Body], None], block: str = "0") -> None:
        """Call what is written as a function of its own: LLVM takes too long for the many calls of a deep network."""
        part = Body()
        write(part)
        name = f"part{len(self._parts)}"  # what is written may have parts of its own
        self._parts.append(part.function(name, "block"))
        body.do(f"call void @{name}(ptr %shared, i64 %thread, i64 {block})")

    def _segments(self, body: Body, segments: Sequence[Stretch], *, begins: bool) -> None:
        """All blocks through one segment after the other, threads meeting after each."""
        first, threads, groups = self._met_places(body)
        for k, (calls, meetings, packs) in enumerate(segments):
            self._blocks(body, calls, first, (threads, groups), begins=begins and k == 0)
            body.barrier()
            if meetings:
                blocks = body.shared("blocks")
                self._in_parts(body, meetings, first, {"blocks": blocks, "threads": threads})
                self._in_turn(body, packs)
                body.barrier()

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
            body.call(self.calls.clear, places)
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

    def _losses(self, body: Body) -> None:
        """Losses and hits, added up by the first thread."""
        places, _, groups = self._met_places(body)
        with body.when(body.line("icmp eq i64 %thread, 0")):
            body.call(self.calls.losses, places, numbers=(groups,))

    def _met_places(self, body: Body) -> tuple[dict[str, str], str, str]:
        """Where things are once all blocks are through, and how many threads and groups there are."""
        shared = self._pointers(body)
        return shared | self._group(body, shared["group"]), body.shared("threads"), body.shared("groups")

    def _shared(self, body: Body, shared: Sequence[Shared]) -> None:
        """Calls for what groups hold, and for parameters."""
        places, threads, groups = self._met_places(body)
        self._in_parts(body, shared, places, {"groups": groups, "threads": threads})

    def _in_parts(self, body: Body, shared: Sequence[Shared], places: dict[str, str], counts: dict[str, str]) -> None:
        """Each call for the part of its rows that is this thread's; `counts` are of threads, blocks and groups."""
        for call, rows, of in shared:
            numbers = (*self._share(body, rows, counts["threads"]), *([counts[of]] if of else []))
            body.call(call, places, self.program.training_layout, numbers)

    def _share(self, body: Body, total: int, threads: str) -> tuple[str, str]:
        """The part of `total` things that is this thread's: the first, and the one after the last."""
        first, after = (
            body.line(f"udiv i64 {body.line(f'mul i64 {k}, {total}')}, {threads}")
            for k in ("%thread", body.line("add i64 %thread, 1"))
        )
        return first, after

    def _pointers(self, body: Body) -> dict[str, str]:
        return {name: body.pointer(name) for name in OF_CALLS}

    def _group(self, body: Body, start: str) -> dict[str, str]:
        """A group's memory: results, gradients, sums."""
        gradients = body.line(f"getelementptr float, ptr {start}, i64 {2 * self.lanes}")
        sums = body.line(f"getelementptr float, ptr {gradients}, i64 {self.program.parameters}")
        return {"result": start, "gradients": gradients, "sums": sums}
