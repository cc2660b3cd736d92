"""How a program runs: a course of steps for all threads, and the workers that wait for the next one.

Each step of a course has a context of its own: a copy of what threads share, but for what differs from step to step. So
threads go from one to the next by themselves. Once a loss is not finite they make no more.

Threads meet at barriers between the parts of a step: weights are packed; blocks of images run, each group of them into
gradients of its own; the groups' gradients are added up in a fixed order; weights are updated. Which thread does what
changes no sum, so the result is the same to the last bit for any number of threads. It is written as LLVM IR, for it
needs atomic operations, which kernels do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .lifetimes import Layout
from .program import Call

SLOTS = ("generation", "job", "arrived", "turn", "threads", "groups", "blocks", "fed", "steps")
"""Whole numbers that threads share, 64 bits each, a cache line apart."""
POINTERS = (
    *("arena", "weights", "velocity", "packed", "group", "scratch", "images", "labels", "settings", "scale", "scores"),
    *("kept", "starts", "coefficients", "there", "squares", "halved", "words", "numbers"),
    *("pixels", "rows", "moves", "staged", "coding", "average", "contexts"),
)
LINE = 8
LEARN, SCORE, QUIT = 1, 2, 0
NUMBERS, BYTES, MOVED = 0, 1, 2
"""What a step is fed: see `Steps`."""
SETTINGS = 16
"""Numbers for each step."""
DECAYING, NOT_DECAYING, LOSS, SHARE = 0, 4, 8, 12
"""Where they are: rates for weights and for biases, the sums of losses and hits, and that of the new in averages."""
PLACES = {name: k * LINE for k, name in enumerate((*SLOTS, *POINTERS))}
CONTEXT_WORDS = len(PLACES) * LINE


def slot(name: str) -> int:
    """The place of a shared whole number or pointer, in units of 8 bytes."""
    return PLACES[name]


SPINS = 50_000
"""Looks before a worker sleeps, about 100 us: what lies between two courses of a small network is mostly less."""
PATIENCE = 200_000
"""Looks before a thread sleeps that others are to meet, about 0.4 ms: who sleeps comes late, and then others wait."""

RUNTIME = """
declare i32 @usleep(i32)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @barrier(ptr %shared) #0 {{
entry:
 %count = getelementptr i64, ptr %shared, i64 {arrived}
 %turn = getelementptr i64, ptr %shared, i64 {turn}
 %threads.at = getelementptr i64, ptr %shared, i64 {threads}
 %threads = load i64, ptr %threads.at, align 8
 %mine = load atomic i64, ptr %turn acquire, align 8
 %before = atomicrmw add ptr %count, i64 1 acq_rel
 %all = add i64 %before, 1
 %last = icmp eq i64 %all, %threads
 br i1 %last, label %open, label %wait
open:
 store atomic i64 0, ptr %count monotonic, align 8
 %next = add i64 %mine, 1
 store atomic i64 %next, ptr %turn release, align 8
 ret void
wait:
 %tries = phi i64 [0, %entry], [%more, %again]
 %now = load atomic i64, ptr %turn acquire, align 8
 %moved = icmp ne i64 %now, %mine
 br i1 %moved, label %done, label %idle
idle:
 %more = add i64 %tries, 1
 %long = icmp ugt i64 %more, {patience}
 br i1 %long, label %sleep, label %again
sleep:
 %slept = call i32 @usleep(i32 20)
 br label %again
again:
 br label %wait
done:
 ret void
}}

define internal void @course(ptr %shared, i64 %thread) #0 {{
entry:
 %steps.at = getelementptr i64, ptr %shared, i64 {steps}
 %steps = load i64, ptr %steps.at, align 8
 %contexts.at = getelementptr i64, ptr %shared, i64 {contexts}
 %contexts = load ptr, ptr %contexts.at, align 8
 br label %step
step:
 %k = phi i64 [0, %entry], [%next, %step]
 %offset = mul i64 %k, {words}
 %context = getelementptr i64, ptr %contexts, i64 %offset
 call void @train(ptr %context, i64 %thread)
 %settings.at = getelementptr i64, ptr %context, i64 {settings}
 %settings = load ptr, ptr %settings.at, align 8
 %loss.at = getelementptr float, ptr %settings, i64 {loss}
 %loss = load float, ptr %loss.at, align 4
 %nothing = fsub float %loss, %loss
 %sound = fcmp oeq float %nothing, 0.0
 %next = add i64 %k, 1
 %more = icmp slt i64 %next, %steps
 %again = and i1 %sound, %more
 br i1 %again, label %step, label %done
done:
 call void @barrier(ptr %shared)
 ret void
}}

define void @alone(ptr %shared) #0 {{
entry:
 call void @course(ptr %shared, i64 0)
 ret void
}}

define void @worker(ptr %shared, i64 %thread, i64 %seen.first) #0 {{
entry:
 %generation = getelementptr i64, ptr %shared, i64 {generation}
 %job.at = getelementptr i64, ptr %shared, i64 {job}
 br label %wait
wait:
 %seen = phi i64 [%seen.first, %entry], [%now, %learn.done], [%now, %score.done]
 br label %look
look:
 %tries = phi i64 [0, %wait], [%more, %again]
 %now = load atomic i64, ptr %generation acquire, align 8
 %new = icmp ne i64 %now, %seen
 br i1 %new, label %go, label %idle
idle:
 %more = add i64 %tries, 1
 %long = icmp ugt i64 %more, {spins}
 br i1 %long, label %sleep, label %again
sleep:
 %slept = call i32 @usleep(i32 50)
 br label %again
again:
 br label %look
go:
 %job = load i64, ptr %job.at, align 8
 switch i64 %job, label %quit [ i64 1, label %learn i64 2, label %score ]
learn:
 call void @course(ptr %shared, i64 %thread)
 br label %learn.done
learn.done:
 br label %wait
score:
 call void @score(ptr %shared, i64 %thread)
 br label %score.done
score.done:
 br label %wait
quit:
 ret void
}}

define void @start(ptr %shared, i64 %job) #0 {{
entry:
 %generation = getelementptr i64, ptr %shared, i64 {generation}
 %job.at = getelementptr i64, ptr %shared, i64 {job}
 store i64 %job, ptr %job.at, align 8
 %before = atomicrmw add ptr %generation, i64 1 acq_rel
 switch i64 %job, label %quit [ i64 1, label %learn i64 2, label %score ]
learn:
 call void @course(ptr %shared, i64 0)
 ret void
score:
 call void @score(ptr %shared, i64 0)
 ret void
quit:
 ret void
}}
"""


def runtime() -> str:
    """Barriers and workers."""
    places = {name: slot(name) for name in (*SLOTS, "contexts", "settings")}
    return RUNTIME.format(spins=SPINS, patience=PATIENCE, words=CONTEXT_WORDS, loss=LOSS, **places)


class _Open(NamedTuple):
    """A loop that has not ended: where its counter is to be defined, and what is known of it."""

    at: int
    counter: str
    entering: str
    by: str
    head: str


class Body:
    """The text of one function of the runtime."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.block = "entry"
        self._open: list[_Open] = []

    def line(self, instruction: str) -> str:
        """Append an instruction with a result; its name."""
        self.count += 1
        self.lines.append(f" %r{self.count} = {instruction}")
        return f"%r{self.count}"

    def do(self, instruction: str) -> None:
        """Append an instruction without a result."""
        self.lines.append(f" {instruction}")

    def label(self, name: str) -> str:
        """A name for a block."""
        self.count += 1
        return f"{name}{self.count}"

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def shared(self, name: str, type_: str = "i64") -> str:
        """A whole number or pointer that threads share."""
        at = self.line(f"getelementptr i64, ptr %shared, i64 {slot(name)}")
        return self.line(f"load {type_}, ptr {at}, align 8")

    def pointer(self, name: str) -> str:
        """A pointer that threads share."""
        return self.shared(name, "ptr")

    def step(self, pointer: str, count: str, size: int) -> str:
        """A pointer so many times `size` bytes further."""
        offset = self.line(f"mul i64 {count}, {size}")
        return self.line(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def barrier(self) -> None:
        """Wait for all threads."""
        self.do("call void @barrier(ptr %shared)")

    def loop(self, first: str, last: str, by: str) -> tuple[str, str]:
        """Begin a loop, which may not run at all; its counter, and the block behind it for `end`."""
        before, head, body, done = self.block, self.label("head"), self.label("body"), self.label("done")
        self.do(f"br label %{head}")
        self.start(head)
        counter = f"%{head}.k"
        self._open.append(_Open(len(self.lines), counter, f"[{first}, %{before}]", by, head))
        test = self.line(f"icmp slt i64 {counter}, {last}")
        self.do(f"br i1 {test}, label %{body}, label %{done}")
        self.start(body)
        return counter, done

    def end(self, done: str) -> None:
        """End the innermost loop."""
        loop = self._open.pop()
        following = self.line(f"add i64 {loop.counter}, {loop.by}")
        self.do(f"br label %{loop.head}")
        phi = f" {loop.counter} = phi i64 {loop.entering}, [{following}, %{self.block}]"
        self.lines.insert(loop.at, phi)
        self.start(done)

    @contextmanager
    def when(self, test: str) -> Iterator[None]:
        """What is appended inside runs where the test holds."""
        yes, after = self.label("yes"), self.label("after")
        self.do(f"br i1 {test}, label %{yes}, label %{after}")
        self.start(yes)
        yield
        self.do(f"br label %{after}")
        self.start(after)

    def call(
        self, call: Call, pointers: dict[str, str], layout: Layout | None = None, numbers: Iterable[str] = ()
    ) -> None:
        """Call a kernel; `pointers` say where each buffer begins that its places name, once the layout has put them."""
        arguments = []
        for place in call.places:
            buffer, at, _ = layout.placed(place) if layout else place
            pointer = self.line(f"getelementptr float, ptr {pointers[buffer]}, i64 {at.constant}")
            arguments.append(f"ptr {pointer}")
        arguments += [f"i64 {number}" for number in numbers]
        self.do(f"call void @{call.function.name}({', '.join(arguments)})")

    def function(self, name: str, *more: str) -> str:
        """The whole text. `more` are further whole numbers that it is given."""
        parameters = ", ".join(["ptr %shared", "i64 %thread", *(f"i64 %{one}" for one in more)])
        head = f"define void @{name}({parameters}) #0 {{\nentry:"
        return "\n".join([head, *self.lines, " ret void", "}"])
