"""A second plan for a network: scores of one or a few images, one after the other, as soon as possible.

The first plan needs as many images as a vector has lanes, and takes as long for one. Here the lanes are filled by one
image (`one_image`). The first layers may hold positions in lanes, which suits few channels and long rows, and all
behind them hold channels; where to change is chosen by what the cost model says of the whole. Weights are read where
training keeps them, so scores are those of the weights as they are now.
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
from .jit import Compiled, Machine
from .kernel import Access, Function, Index, Type, load_from
from .layout import Margins, aligned, extent
from .one_image import Convolution, Field, OneImage
from .one_image_forms import LanesHoldChannels, LanesHoldPositions
from .program import Call, Region
from .stages import Input, Weighted, stages_of
from .tiles import Work, best_tile, cycles

Floats = NDArray[np.float32]
LINE = 16  # numbers in a cache line, where volumes begin
CACHE_BYTES = 32 << 20  # of weights: more are loaded from memory for every image
FETCHED, PACKED = 3.0, 10.0  # half cycles for a weight: to load it from memory, and to pack it as the first plan does


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


def by_positions(shape: Shape, margins: Margins, numbers: int) -> Room:
    """All channels of a position together, in so many numbers."""
    height, width = extent(shape)
    row = (margins.left + width + margins.right) * numbers
    field = Field(shape.channels, height, width, channel=1, row=row, position=numbers)
    first = margins.top * row + margins.left * numbers
    return Room(field, first, _whole((margins.top + height + margins.bottom) * row, LINE))


class SinglePlan:
    """The kernels of one image's scores. `most` is how many images are sooner done so than all at once."""

    def __init__(self, machine: Machine, network: Network, regions: Sequence[Region]) -> None:
        self.machine, self.shape = machine, network.input_shape
        self.stages = [stage for stage in stages_of(network) if isinstance(stage, Input | Weighted)]
        self.classes = network.shapes[-1].channels
        self._regions = {(region.name, region.group): region for region in regions}
        self.functions: dict[str, Function] = {}
        self.rooms: list[Room] = []
        self.starts: list[int] = []
        self.calls: list[Call] = []
        self.size = self.sums = 0
        self.positions, self.cycles = self._best_change()
        self.most = min(machine.lanes - 1, int(self._block_cycles() / self.cycles))
        for k, stage in enumerate(self.stages):
            self._place(k, stage)
        self._add("scores", self._scores, {"y": self._at(len(self.stages) - 1), "scores": Access("scores", Index())})

    @classmethod
    def covers(cls, network: Network) -> bool:
        """Whether all stages are weighted layers with what follows in the same kernel."""
        return all(isinstance(stage, Input | Weighted) for stage in stages_of(network))

    # -- layouts -----------------------------------------------------------------------------------------------

    def _best_change(self) -> tuple[int, float]:
        """How many stages hold positions in lanes, the input counted among them, and what all cost then."""
        costs = [[self._cost(k, positions) for k in range(1, len(self.stages))] for positions in (False, True)]
        changes = range(len(self.stages))
        totals = [sum(costs[True][:change]) + sum(costs[False][change:]) for change in changes]
        best = min(changes, key=totals.__getitem__)
        return best + 1, totals[best] + self._fetching()

    def _fetching(self) -> float:
        """What it takes to load the weights, if no cache holds them."""
        weights = sum(region.size for region in self._regions.values())
        return FETCHED * weights if 4 * weights > CACHE_BYTES else 0.0

    def _block_cycles(self) -> float:
        """What the first plan takes, by the same model."""
        total = self._fetching()
        for stage in self.stages[1:]:
            assert isinstance(stage, Weighted)  # noqa: S101
            inputs, outputs = stage.inputs.channels // stage.groups, stage.sums.channels // stage.groups
            work = Work(*extent(stage.sums), outputs, inputs, math.prod(stage.frame.kernel))
            one = cycles(work, best_tile(self.machine, work, stage.ending.pool))
            total += stage.groups * (one + PACKED * inputs * outputs * work.taps)
        return total

    def _cost(self, k: int, positions: bool) -> float:
        """What stage k takes if the lanes hold positions, or else channels; infinite where they cannot."""
        stage = self.stages[k]
        assert isinstance(stage, Weighted)  # noqa: S101
        if positions and (stage.frame.stride[1] > 1 or k == len(self.stages) - 1):
            return math.inf
        room = self._room(k, positions)
        return stage.groups * self._kernel(stage, room, room, positions).cycles

    def _room(self, k: int, positions: bool) -> Room:
        """Memory for what stage k gives, with the margins that its readers need."""
        made, margins = self.stages[k], Margins()
        for stage in self.stages:
            if isinstance(stage, Weighted) and stage.source == k:
                margins = margins.with_(stage.frame.margins(extent(stage.inputs), extent(stage.sums)))
        shape, lanes = made.output, self.machine.lanes
        if positions:
            return by_planes(shape, margins, lanes)
        # Each group is stored in whole vectors: what is too much of it before the next group is.
        count = shape.channels // (made.groups if isinstance(made, Weighted) else 1)
        return by_positions(shape, margins, shape.channels - count + _whole(count, lanes))

    # -- kernels -----------------------------------------------------------------------------------------------

    def _place(self, k: int, stage: Input | Weighted) -> None:
        positions = k < self.positions
        room = self._room(k, positions)
        self.rooms.append(room)
        self.starts.append(self.size if k else 0)
        if isinstance(stage, Input):
            return
        self.size += room.size
        kernel = self._kernel(stage, self.rooms[stage.source], room, positions)
        x, y = self.rooms[stage.source].field, room.field
        channels_in, channels_out = kernel.work.channels_in, kernel.work.channels_out
        self.sums = max(self.sums, kernel.size * self.machine.lanes)
        for group in range(stage.groups):
            places = {
                "x": self._at(stage.source, group * channels_in * x.channel),
                "w": Access("weights", Index(self._region(stage, "weight", group).start)),
                "y": self._at(k, group * channels_out * y.channel),
                "sums": Access("sums", Index()),
            }
            if stage.bias:
                places["b"] = Access("weights", Index(self._region(stage, "bias").start + group * channels_out))
            self._add("sums", kernel.build, places)

    def _region(self, stage: Weighted, parameter: str, group: int = 0) -> Region:
        return self._regions[f"{stage.node.name}.{parameter}", group]

    def _kernel(self, stage: Weighted, x: Room, y: Room, positions: bool) -> OneImage:
        frame = stage.frame
        work = Convolution(
            x.field,
            y.field,
            extent(stage.sums),
            stage.inputs.channels // stage.groups,
            stage.sums.channels // stage.groups,
            frame.kernel,
            frame.stride,
            frame.padding,
            frame.dilation,
            stage.ending,
            stage.bias,
            self._region(stage, "weight").padded,
        )
        return (LanesHoldPositions if positions else LanesHoldChannels)(self.machine, work)

    def _at(self, k: int, further: int = 0) -> Access:
        """Where a value of stage k lies; images are in memory of their own."""
        return Access("arena" if k else "images", Index(self.starts[k] + self.rooms[k].first + further))

    def _add(self, kind: str, build: Callable[[str], Function], places: dict[str, Access]) -> None:
        """Call the function, or an equal one that is there already."""
        made = build(kind)
        made.name = f"{kind}_{hashlib.sha256(repr((made.buffers, made.body)).encode()).hexdigest()[:12]}"
        self.calls.append(Call(self.functions.setdefault(made.name, made), places))

    def _scores(self, name: str) -> Function:
        """The last stage's output, to where scores of all images lie one after the other, in whole vectors."""
        f = Function(name, ("y", "scores"))
        vector = Type("f32", self.machine.lanes)
        with f.loop(-(-self.classes // vector.lanes)) as k:
            f.store_to("scores", k * vector.lanes, load_from(vector, "y", k * vector.lanes))
        return f

    def function(self) -> Function:
        """All calls for each of `count` images; the scores of one begin where those of the one before end."""
        f = Function("single", ("images", "arena", "weights", "sums", "scores"), ("count",))
        with f.loop(f.number("count")) as image:
            steps = {"images": image * self.rooms[0].size, "scores": image * self.classes}
            for call in self.calls:
                places = {
                    name: access._replace(at=access.at + steps.get(access.buffer, 0))
                    for name, access in call.buffers.items()
                }
                f.call(call.function, places)
        return f


class SingleScorer:
    """A plan as machine code, with memory for its images, that reads the weights in the memory given."""

    def __init__(self, plan: SinglePlan, weights: Floats) -> None:
        self.most, room = plan.most, plan.rooms[0]
        self._code = Compiled([*plan.functions.values(), plan.function()])
        images = aligned(self.most * room.size)
        arena, sums = aligned(plan.size), aligned(plan.sums)
        scores = aligned(self.most * plan.classes + plan.machine.lanes)
        self._images = _inside(images, room, plan.shape, self.most)
        self._scores = scores[: self.most * plan.classes].reshape(self.most, plan.classes)
        self._kept = (images, arena, weights, sums, scores)
        self._run = self._code.function("single", [*[ctypes.c_void_p] * len(self._kept), ctypes.c_int64])
        self._arguments = [ctypes.c_void_p(array.ctypes.data) for array in self._kept]

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


def _whole(count: int, unit: int) -> int:
    return -(-count // unit) * unit
