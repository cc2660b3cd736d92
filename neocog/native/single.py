"""A second plan for a network: scores of one or a few images, one after the other, as soon as possible.

The first plan needs as many images as a vector has lanes, and takes as long for one. Here the lanes are filled by one
image (`one_image`). The first tasks may hold positions in lanes, which suits few channels and long rows, and all
behind them hold channels; where to change is chosen by what the cost model says of the whole. Weights are packed in the
order of reading when they have changed, a normalization behind a convolution multiplied into them.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..layer import Shape
from ..network import Network
from .expressions import Access, Index, Type, load_from
from .jit import Compiled, Machine
from .kernel import Function
from .layout import Margins, aligned, extent
from .one_image import Added, Ending, Field, LanesHoldChannels, LanesHoldPositions, Step
from .one_image_sums import LARGE_BYTES, Convolution, Sums
from .one_image_tasks import Task, tasks_of
from .one_image_weights import Weights
from .one_image_windows import WindowSums, carry, softmax, windows
from .program import Call, Region
from .stages import Frame, Input, Pool, Single, Weighted
from .tiles import Work, best_tile, cycles

Floats = NDArray[np.float32]
LINE = 16
"""Numbers in a cache line, where volumes begin."""
CACHE_BYTES = 32 << 20
"""Of weights: more are loaded from memory for every image."""
FETCHED, PACKED = 3.0, 10.0
"""Half cycles for a weight: to load it from memory, and to pack it as the first plan does."""
CARRIED = 3.0
"""Half cycles for a number that is brought from one form into the other."""
SURROUNDING = 3
"""Half cycles for a vector of outputs, beside its window."""
ONE = Frame((1, 1), (1, 1), (0, 0), (1, 1))

Held = tuple[int, bool]
"""A task's volume, and whether positions lie side by side in it, else channels."""


@dataclass(frozen=True)
class Room:
    """The memory of a volume: `size` numbers, of which its first value is the one at `first`; the rest are zeros."""

    field: Field
    first: int
    size: int


def by_planes(shape: Shape, margins: Margins, lanes: int) -> Room:
    """Channel after channel. A vector may begin at a row's last position, and rows are stored in whole vectors."""
    height, width = extent(shape)
    row = max(margins.left + width + margins.right, _whole(width, lanes))
    plane = (margins.top + height + margins.bottom) * row
    field = Field(shape.channels, height, width, channel=plane, row=row, position=1)
    return Room(field, margins.top * row + margins.left, _whole(shape.channels * plane + lanes, LINE))


def by_positions(shape: Shape, margins: Margins, numbers: int, lanes: int) -> Room:
    """All channels of a position together, in so many numbers. A vector may begin at the last one."""
    height, width = extent(shape)
    row = (margins.left + width + margins.right) * numbers
    field = Field(shape.channels, height, width, channel=1, row=row, position=numbers)
    first = margins.top * row + margins.left * numbers
    return Room(field, first, _whole((margins.top + height + margins.bottom) * row + lanes, LINE))


class SinglePlan:
    """The kernels of one image's scores. `most` is how many images are sooner done so than all at once."""

    def __init__(self, machine: Machine, network: Network, regions: Sequence[Region]) -> None:
        self.machine, self.lanes, self.shape = machine, machine.lanes, network.input_shape
        self.tasks = tasks_of(network)
        self.last = len(self.tasks) - 1
        self.classes = network.shapes[-1].channels
        self.weights = Weights(regions, machine.lanes)
        self._fetching = _fetching(regions)
        self.functions: dict[str, Function] = {}
        self.calls: list[Call] = []
        self.size = 0
        self.rooms: dict[Held, Room] = {}
        self.places: dict[Held, Access] = {}
        self._free: dict[Room, list[Access]] = {}
        self._last_reader = {source: k for k, task in enumerate(self.tasks) for source in task.sources}
        self._margins = [Margins()] * len(self.tasks)
        for task in self.tasks[1:]:
            source = task.terms[0].source
            self._margins[source] = self._margins[source].with_(task.margins)
        self.positions, self.cycles = self._best_change()
        self.most = min(machine.lanes - 1, int(self._block_cycles() / self.cycles))
        self.makers: list[int] = []
        """The task that each call belongs to."""
        for k, task in enumerate(self.tasks):
            self._place(k, task)
            self.makers += [k] * (len(self.calls) - len(self.makers))
            self._release(k)
        self._add("scores", self._scores, {"y": self._at((self.last, False)), "scores": Access("scores", Index())})
        self.makers.append(self.last)

    # -- forms -------------------------------------------------------------------------------------------------

    def _best_change(self) -> tuple[int, float]:
        """How many tasks hold positions in lanes, the input counted among them, and what all cost then."""
        channels, positions = ([self._cost(k, form) for k in range(self.last + 1)] for form in (False, True))
        totals = []
        for change in range(self.last + 1):
            behind = self.tasks[change:]
            carried = {k for task in behind for k in task.sources[task.multiplies :] if k < change}
            moved = CARRIED * sum(self.tasks[k].output.elements for k in carried)
            totals.append(sum(positions[:change]) + sum(channels[change:]) + moved)
        best = min(range(len(totals)), key=totals.__getitem__)
        return best, totals[best] + self._fetching

    def _block_cycles(self) -> float:
        """What the first plan takes, by the same model. Where no products are summed, each number takes a vector."""
        total = self._fetching
        for k, task in enumerate(self.tasks):
            stage = task.stage
            if isinstance(stage, Weighted):
                inputs, outputs = stage.inputs.channels // stage.groups, stage.sums.channels // stage.groups
                work = Work(*extent(stage.sums), outputs, inputs, math.prod(stage.frame.kernel))
                one = cycles(work, best_tile(self.machine, work, stage.ending.pool))
                total += stage.groups * (one + PACKED * inputs * outputs * work.taps)
            else:
                total += self._cost(k, False) * min(self.lanes, task.output.channels)
        return total

    def _cost(self, k: int, positions: bool) -> float:
        """What a task takes if the lanes hold positions, or else channels; infinite where they cannot."""
        task, stage = self.tasks[k], self.tasks[k].stage
        if isinstance(stage, Input):
            return 0.0
        if positions:
            able = isinstance(stage, Weighted) and task.multiplies and stage.frame.stride[1] == 1
            if not able or k == self.last:
                return math.inf
        if not task.multiplies:
            taps = math.prod(stage.frame.kernel) if isinstance(stage, Weighted | Pool) else 1
            return task.output.positions * -(-task.output.channels // self.lanes) * (taps + SURROUNDING)
        x, y = self._room(task.terms[0].source, positions), self._room(k, positions)
        if positions and 4 * x.size > LARGE_BYTES:  # so many planes at once are more than a processor looks ahead in
            return math.inf
        ending = Ending(tuple(follow.step or Added(y.field) for follow in task.follows), y.field)
        return task.groups * self._sums(task, x, ending, positions).cycles

    def _room(self, k: int, positions: bool) -> Room:
        """Memory for what a task gives, with the margins that its readers need."""
        task, margins = self.tasks[k], self._margins[k]
        if positions:
            return by_planes(task.output, margins, self.lanes)
        return by_positions(task.output, margins, task.numbers(self.lanes), self.lanes)

    # -- memory ------------------------------------------------------------------------------------------------

    def _make_room(self, held: Held) -> Room:
        """Memory of its own for images; else that of an equal volume which nobody reads any more, or new."""
        room = self._room(*held)
        free = self._free.get(room, []) if self.tasks[held[0]].is_whole else []
        if held == self._held(0):
            place = Access("images", Index(room.first))
        elif free:
            place = free.pop()
        else:
            place = Access("arena", Index(self.size + room.first))
            self.size += room.size
        self.rooms[held], self.places[held] = room, place
        return room

    def _release(self, k: int) -> None:
        """Let others have the volumes that task k reads as the last one; what is not computed there must stay zero."""
        last = [source for source in set(self.tasks[k].sources) if self._last_reader[source] == k]
        for held in [(source, form) for source in last if self.tasks[source].is_whole for form in (False, True)]:
            if held in self.rooms and held != self._held(0):
                self._free.setdefault(self.rooms[held], []).append(self.places[held])

    def _at(self, held: Held, further: int = 0) -> Access:
        """Where a value of a task lies."""
        place = self.places[held]
        return place._replace(at=place.at + further)

    def _held(self, k: int) -> Held:
        """The volume of a task as it is made."""
        return k, k < self.positions

    def _channels(self, k: int) -> Held:
        """The volume of a task with its channels side by side."""
        held = k, False
        if held not in self.rooms:
            self._carry(self._held(k), held, self._make_room(held).field, (1, 1))
        return held

    # -- calls -------------------------------------------------------------------------------------------------

    def _place(self, k: int, task: Task) -> None:
        """Memory for a task, and its calls."""
        room = self._make_room(self._held(k))
        if isinstance(task.stage, Input):
            return
        if task.multiplies:
            self._multiply(k, task, room)
        elif task.is_softmax:
            x = self._channels(task.terms[0].source)
            field = self.rooms[x].field
            places = {"x": self._at(x), "y": self._at((k, False))}
            self._add("softmax", lambda name: softmax(name, self.machine, field, room.field), places)
        elif task.is_whole:
            self._look(k, task, room)
        else:
            (term,) = task.terms
            self._carry(self._held(term.source), (k, False), room.field, term.stride)

    def _multiply(self, k: int, task: Task, y: Room) -> None:
        """Sums of products, for each group of channels."""
        stage, source, held = task.stage, self._held(task.terms[0].source), self._held(k)
        assert isinstance(stage, Weighted | Single)  # noqa: S101
        ending, places = self._ending(task, y, held[1])
        kernel = self._sums(task, self.rooms[source], ending, held[1])
        count, channels_in = kernel.work.channels_out, kernel.work.channels_in
        bias = self.weights.bias(stage, task.norm) if isinstance(stage, Weighted) and task.biased else 0
        for group in range(task.groups):
            first = group * count
            own = {
                "x": self._at(source, group * channels_in * self.rooms[source].field.channel),
                "w": _packed(self.weights.products(stage, task.norm, kernel, group)),
                "b": _packed(bias + first),
                "y": self._at(held, first * y.field.channel),
            }
            self._add("sums", kernel.build, own | _further(places, first))

    def _sums(self, task: Task, x: Room, ending: Ending, positions: bool) -> Sums:
        form = (LanesHoldPositions if positions else LanesHoldChannels)(self.machine)
        stage = task.stage
        if isinstance(stage, Weighted):
            inputs, outputs = stage.inputs.channels // stage.groups, stage.sums.channels // stage.groups
            work = Convolution(x.field, extent(stage.sums), inputs, outputs, stage.frame, ending, task.biased)
        else:
            work = Convolution(x.field, (1, 1), x.field.channels, task.output.channels, ONE, ending, False, True)
        return Sums(self.machine, form, work)

    def _look(self, k: int, task: Task, y: Room) -> None:
        """Windows over each channel, or copies of the channels of each term."""
        ending, places = self._ending(task, y, False)
        stage = task.stage
        for term in task.terms:
            x = self._channels(term.source)
            work = windows(task, term, self.rooms[x].field, ending)
            own = {"x": self._at(x), "y": self._at((k, False), term.first)}
            if isinstance(stage, Weighted | Pool) and work.summary == "weighted":
                own["w"] = _packed(self.weights.windows(stage, task.norm, term.channels))
            if isinstance(stage, Weighted) and task.biased:
                own["b"] = _packed(self.weights.bias(stage, task.norm))
            self._add("windows", WindowSums(self.machine, work).build, own | _further(places, term.first))

    def _carry(self, source: Held, to: Held, y: Field, stride: tuple[int, int]) -> None:
        x = self.rooms[source].field
        size = x.channels, -(-x.height // stride[0]), -(-x.width // stride[1])
        places = {"x": self._at(source), "y": self._at(to)}
        self._add("carry", lambda name: carry(name, x, y, size, stride), places)

    def _ending(self, task: Task, y: Room, positions: bool) -> tuple[Ending, dict[str, tuple[Access, int]]]:
        """What follows, and where its buffers lie, with the step from one channel to the next."""
        steps: list[Step] = []
        places: dict[str, tuple[Access, int]] = {}
        for n, follow in enumerate(task.unfolded):
            if follow.added is not None:
                held = self._held(follow.added) if positions else self._channels(follow.added)
                field = self.rooms[held].field
                steps.append(Added(field))
                places[f"other{n}"] = self._at(held), field.channel
            elif follow.step:
                steps.append(follow.step)
                if follow.node:
                    starts = self.weights.vectors(follow.node, task.output.channels)
                    for word, start in zip(follow.step.words, starts, strict=True):
                        places[f"{word}{n}"] = _packed(start), 1
        return Ending(tuple(steps), y.field), places

    def _add(self, kind: str, build: Callable[[str], Function], places: dict[str, Access]) -> None:
        """Call the function, or an equal one that is there already."""
        made = build(kind)
        made.name = f"{kind}_{hashlib.sha256(repr((made.buffers, made.body)).encode()).hexdigest()[:12]}"
        self.calls.append(Call(self.functions.setdefault(made.name, made), places))

    def _scores(self, name: str) -> Function:
        """The last task's output, to where scores of all images lie one after the other, in whole vectors."""
        f = Function(name, ("y", "scores"))
        vector = Type("f32", self.lanes)
        with f.loop(-(-self.classes // vector.lanes)) as k:
            f.store_to("scores", k * vector.lanes, load_from(vector, "y", k * vector.lanes))
        return f

    def function(self) -> Function:
        """All calls for each of `count` images; the scores of one begin where those of the one before end."""
        f = Function("single", ("images", "arena", "packed", "scores"), ("count",))
        steps = {"images": self.rooms[self._held(0)].size, "scores": self.classes}
        with f.loop(f.number("count")) as image:
            for call in self.calls:
                places = {
                    name: access._replace(at=access.at + image * steps.get(access.buffer, 0))
                    for name, access in call.buffers.items()
                }
                f.call(call.function, places)
        return f


class SingleScorer:
    """A plan as machine code, with memory for its images, and the weights in the memory given."""

    def __init__(self, plan: SinglePlan, kept: Floats) -> None:
        self.most, self._plan, self._weights = plan.most, plan, kept
        room = plan.rooms[0, plan.positions > 0]
        self.code = Compiled([*plan.functions.values(), plan.function()])
        images, self._packed = aligned(self.most * room.size), aligned(plan.weights.size)
        scores = aligned(self.most * plan.classes + plan.lanes)
        self._images = _inside(images, room, plan.shape, self.most)
        self._scores = scores[: self.most * plan.classes].reshape(self.most, plan.classes)
        self._kept = (images, aligned(plan.size), self._packed, scores)
        self._run = self.code.function("single", [*[ctypes.c_void_p] * len(self._kept), ctypes.c_int64])
        self._arguments = [ctypes.c_void_p(array.ctypes.data) for array in self._kept]

    def pack(self) -> None:
        """Take the weights as they are now."""
        self._plan.weights.pack(self._weights, self._packed)

    def addresses(self) -> dict[str, int]:
        """Where each buffer of a call begins for the first image."""
        names = ("images", "arena", "packed", "scores")
        return dict(zip(names, (array.ctypes.data for array in self._kept), strict=True))

    def score(self, x: Floats) -> Floats:
        """Scores (N, K) of at most `most` images (N, C, H, W)."""
        count = len(x)
        self._images[:count] = x
        self._run(*self._arguments, count)
        return self._scores[:count].copy()


def _inside(images: Floats, room: Room, shape: Shape, count: int) -> Floats:
    """The values between the margins of memory that holds so many images: (count, C, H, W), or (count, C, L)."""
    field = room.field
    steps = [4 * step for step in (room.size, field.channel, field.row, field.position)]
    sizes = [count, field.channels, field.height, field.width]
    kept = [0, 1, *range(4 - shape.rank, 4)]
    found: Floats = np.lib.stride_tricks.as_strided(
        images[room.first :], [sizes[k] for k in kept], [steps[k] for k in kept]
    )
    return found


def _fetching(regions: Sequence[Region]) -> float:
    """What it takes to load the weights, if no cache holds them."""
    count = sum(region.size for region in regions)
    return FETCHED * count if 4 * count > CACHE_BYTES else 0.0


def _packed(start: int) -> Access:
    return Access("packed", Index(start))


def _further(places: dict[str, tuple[Access, int]], channels: int) -> dict[str, Access]:
    """The places so many channels further."""
    return {name: access._replace(at=access.at + channels * step) for name, (access, step) in places.items()}


def _whole(count: int, unit: int) -> int:
    return -(-count // unit) * unit
