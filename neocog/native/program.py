"""A network as functions: one that takes a block of images forwards and backwards, and those around it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ..network import Network
from . import passes
from .endings import Finish, Plain, Sink, Through
from .gather import Accumulators, Gather, GatherKernel, Source, Weights
from .jit import Machine
from .kernel import Access, Function, Index, Value
from .layout import Arena, Margins, Volume, extent
from .losses import KERNELS
from .phases import Phase, phases_of, reach
from .stages import Input, Stage, stages_of
from .weight_gradient import LanesHoldChannels, WeightGradient, lanes_hold_images

DIRECT_BYTES = 16 << 10
"""Weights of a forward kernel are read where they lie up to this size, else packed in the order of reading."""
GROUPS = 8
"""The most parts that a step's blocks are shared out in; the number of threads does not matter to the result."""


@dataclass(frozen=True)
class Region:
    """Parameters that lie together: `rows` of `count` numbers, each row padded to whole vectors."""

    name: str
    group: int
    start: int
    rows: int
    count: int
    padded: int
    decays: bool
    sums: int | None = None
    """Where the vectors of sums begin in a group's memory, if the gradient is summed over lanes."""

    @property
    def size(self) -> int:
        """How many numbers it holds, padding included."""
        return self.rows * self.padded


@dataclass(frozen=True)
class Call:
    """A function and where its buffers lie."""

    function: Function
    buffers: dict[str, Access]


@dataclass
class Placed:
    """A stage with its memory: the volume it gives, and what training needs beside it."""

    stage: Input | Stage
    y: Volume
    readers: list[int] = field(default_factory=list)
    g: Volume | None = None
    d: Volume | None = None
    where: int = 0
    weights: list[Region] = field(default_factory=list)
    bias: Region | None = None
    written: bool = False
    """Whether some reader has stored its gradient in d already."""


class Program:
    """Everything that is compiled for a network. Places are in f32 unless they are said to be in vectors."""

    def __init__(self, machine: Machine, network: Network, loss: str) -> None:
        self.machine, self.network, self.loss = machine, network, loss
        self.functions: dict[str, Function] = {}
        self.arena = Arena()
        self.regions: list[Region] = []
        self.forward: list[Call] = []
        self.backward: list[Call] = []
        self.packs: list[Call] = []
        self.parameters = self.packed = self.sums = self.scratch = 0
        self.stages: list[Placed] = []
        self._place_all(stages_of(network))
        self._load()
        for placed in self.stages[1:]:
            self._forwards(placed)
        self._loss()
        for k in reversed(range(1, len(self.stages))):
            self._backwards(k)

    # -- memory ------------------------------------------------------------------------------------------------

    def _place_all(self, stages: list[Input | Stage]) -> None:
        for k, stage in enumerate(stages):
            readers = [j for j, other in enumerate(stages) if isinstance(other, Stage) and other.source == k]
            self.stages.append(self._place(stage, [stages[j] for j in readers], readers))

    def _place(self, stage: Input | Stage, read_by: list[Input | Stage], readers: list[int]) -> Placed:
        margins = Margins()
        for reader in read_by:
            if isinstance(reader, Stage):
                margins = margins.with_(reader.frame.margins(extent(reader.inputs), extent(reader.sums)))
        placed = Placed(stage, self.arena.volume(stage.output, margins), readers)
        if isinstance(stage, Stage):
            self._place_training(placed, stage)
        return placed

    def _place_training(self, placed: Placed, stage: Stage) -> None:
        placed.g = self.arena.volume(stage.sums, reach(stage))
        if stage.ending.pools:
            placed.where = self.arena.take(-(-stage.output.elements // 4))
        channels_in, channels_out = stage.inputs.channels // stage.groups, stage.sums.channels // stage.groups
        taps = math.prod(stage.frame.kernel)
        by_images = self._gradient(placed, stage).by_images(self.machine)
        for group in range(stage.groups):
            rows = channels_in * taps
            placed.weights.append(self._region(stage, "weight", group, rows, channels_out, by_images))
        if stage.bias:
            placed.bias = self._region(stage, "bias", 0, 1, stage.sums.channels, True)

    def _region(self, stage: Stage, name: str, group: int, rows: int, count: int, by_lanes: bool) -> Region:
        padded = count + -count % self.machine.lanes
        sums = self.sums if by_lanes else None
        made = Region(f"{stage.node.name}.{name}", group, self.parameters, rows, count, padded, name == "weight", sums)
        self.parameters += made.size
        self.sums += rows * count if by_lanes else 0
        self.regions.append(made)
        return made

    def _gradient(self, placed: Placed, stage: Stage) -> WeightGradient:
        x, g, frame = self.stages[stage.source].y, placed.g, stage.frame
        assert g is not None  # noqa: S101
        return WeightGradient(
            _source(x),
            _source(g),
            stage.inputs.channels // stage.groups,
            stage.sums.channels // stage.groups,
            frame.kernel,
            frame.stride,
            frame.dilation,
            frame.padding,
        )

    def _at(self, volume: Volume, channel: int = 0) -> Access:
        """Where a volume's channel begins."""
        return Access("arena", Index((volume.offset + channel * volume.plane) * self.machine.lanes))

    def add(self, kind: str, build: Callable[[str], Function]) -> Function:
        """The function, or an equal one that is there already: layers of equal sizes share their code."""
        made = build(kind)
        text = repr((made.buffers, made.numbers, made.body))
        made.name = f"{kind}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return self.functions.setdefault(made.name, made)

    # -- forwards ----------------------------------------------------------------------------------------------

    def _load(self) -> None:
        placed = self.stages[0]
        shape = placed.stage.output
        function = self.add("load", lambda name: passes.load_images(name, self.machine, shape, placed.y))
        self.forward.append(Call(function, {"x": Access("images", Index()), "y": self._at(placed.y)}))

    def _forwards(self, placed: Placed) -> None:
        stage = placed.stage
        assert isinstance(stage, Stage)  # noqa: S101
        x, frame, lanes = self.stages[stage.source].y, stage.frame, self.machine.lanes
        channels_in, channels_out = stage.inputs.channels // stage.groups, stage.sums.channels // stage.groups
        rows, columns = (
            tuple(k * d - p for k in range(f))
            for f, d, p in zip(frame.kernel, frame.dilation, frame.padding, strict=True)
        )
        gather = Gather(
            _source(x), *extent(stage.sums), channels_out, channels_in, *frame.stride, rows, columns, stage.ending.pool
        )
        tile = gather.tile(self.machine)
        padded, taps = placed.weights[0].padded, gather.taps
        finish = Finish(stage.ending, placed.y, lanes)
        for group, region in enumerate(placed.weights):
            first = group * channels_out
            if region.size * 4 <= DIRECT_BYTES:
                weights, at = Weights(tile.channels, taps * padded, padded), Access("weights", Index(region.start))
            else:
                weights = Weights(channels_in * taps * tile.channels, taps * tile.channels, tile.channels)
                at = self._pack(
                    region, tile.channels, channels_out, channels_in, tuple(range(taps)), (1, taps * padded, padded)
                )
            kernel = GatherKernel(self.machine, gather, weights, tile, stage.bias)
            function = self.add("sums", partial(kernel.build, buffers=finish.buffers, epilogue=finish))
            places = {"x": self._at(x, group * channels_in), "w": at, "y": self._at(placed.y, first)}
            if stage.ending.pools:
                places["where"] = self._where(placed, first)
            if placed.bias:
                places["b"] = Access("weights", Index(placed.bias.start + first))
            self.forward.append(Call(function, places))

    def _where(self, placed: Placed, channel: int) -> Access:
        """Where the positions of a channel's maxima begin: bytes, four to the place of a number."""
        positions = channel * placed.y.positions
        return Access("arena", Index(placed.where * self.machine.lanes + positions * self.machine.lanes // 4))

    def _pack(
        self, region: Region, tile: int, outputs: int, inputs: int, taps: tuple[int, ...], steps: tuple[int, int, int]
    ) -> Access:
        """Weights in the order of reading, made anew each step."""
        start = self.packed
        size = -(-outputs // tile) * tile * inputs * len(taps)
        self.packed += size + -size % self.machine.lanes
        place = Access("packed", Index(start))
        function = self.add("pack", lambda name: passes.pack(name, tile, outputs, inputs, taps, steps))
        self.packs.append(Call(function, {"w": Access("weights", Index(region.start)), "packed": place}))
        return place

    # -- backwards ---------------------------------------------------------------------------------------------

    def _loss(self) -> None:
        last = self.stages[-1]
        sink = self._through(last)
        function = self.add("loss", lambda name: KERNELS[self.loss](name, self.machine, last.y, sink))
        places = {name: Access(name, Index()) for name in ("labels", "scale", "result")}
        self.backward.append(Call(function, places | self._through_places(last, 0) | {"y": self._at(last.y)}))

    def _through(self, placed: Placed) -> Through:
        stage = placed.stage
        assert isinstance(stage, Stage) and placed.g is not None  # noqa: S101, PT018
        return Through(stage.ending, placed.y, placed.g, stage.bias, self.machine.lanes)

    def _through_places(self, placed: Placed, channel: int) -> dict[str, Access]:
        assert placed.g is not None  # noqa: S101
        places = {"g": self._at(placed.g, channel), "y": self._at(placed.y, channel)}
        places["where"] = self._where(placed, channel)
        if placed.bias and placed.bias.sums is not None:
            places["sums"] = Access("sums", Index((placed.bias.sums + channel) * self.machine.lanes))
        return places

    def _backwards(self, k: int) -> None:
        placed = self.stages[k]
        stage = placed.stage
        assert isinstance(stage, Stage) and placed.g is not None  # noqa: S101, PT018
        if placed.d is not None:
            d, sink = placed.d, self._through(placed)
            function = self.add("put", lambda name: passes.put_all(name, self.machine, d, sink))
            self.backward.append(Call(function, self._through_places(placed, 0) | {"d": self._at(d)}))
        self._weights(placed, stage)
        if stage.source:
            self._inputs(placed, stage, self.stages[stage.source])

    def _weights(self, placed: Placed, stage: Stage) -> None:
        gradient = self._gradient(placed, stage)
        assert placed.g is not None  # noqa: S101
        x, g = self.stages[stage.source].y, placed.g
        for group, region in enumerate(placed.weights):
            places = {
                "x": self._at(x, group * gradient.channels_in),
                "g": self._at(g, group * gradient.channels_out),
                "scratch": Access("scratch", Index()),
                "dw": Access("gradients", Index(region.start)),
            }
            if region.sums is not None:
                places["sums"] = Access("sums", Index(region.sums * self.machine.lanes))
                function = self.add("weights", lambda name: lanes_hold_images(name, self.machine, gradient))
            else:
                second = LanesHoldChannels(self.machine, gradient)
                self.scratch = max(self.scratch, second.scratch)
                function = self.add("weights", second.build)
            self.backward.append(Call(function, places))

    def _inputs(self, placed: Placed, stage: Stage, source: Placed) -> None:
        """The gradient for what a stage read, into the sink of the stage that made it."""
        if math.prod(extent(stage.sums)) == 1 and stage.frame.kernel == extent(stage.inputs) and stage.groups == 1:
            self._inputs_of_whole_volume(placed, stage, source)
            return
        for group, region in enumerate(placed.weights):
            for phase in phases_of(stage):
                self._inputs_of_phase(placed, stage, source, group, region, phase)
        source.written = True

    def _sink(self, source: Placed, channel: int) -> tuple[Sink, dict[str, Access]]:
        """Straight through the source's own activation function if nobody else reads it, else into a volume."""
        if len(source.readers) == 1:
            return self._through(source), self._through_places(source, channel)
        d = self._gradient_volume(source)
        return Plain(d, self.machine.lanes, source.written), {"d": self._at(d, channel)}

    def _gradient_volume(self, source: Placed) -> Volume:
        if source.d is None:
            height, width = extent(source.stage.output)
            channels = source.stage.output.channels
            start = self.arena.take(channels * height * width)
            source.d = Volume(channels, height, width, start, width, height * width)
        return source.d

    def _inputs_of_whole_volume(self, placed: Placed, stage: Stage, source: Placed) -> None:
        """Of a layer that sees all of its input at once: every value of the input is a channel of one position."""
        assert placed.g is not None  # noqa: S101
        values, (region,) = stage.inputs.elements, placed.weights
        gather = Gather(_source(placed.g), 1, 1, values, stage.sums.channels, 1, 1, (0,), (0,))
        if stage.inputs.positions == 1:
            sink, places = self._sink(source, 0)
        else:
            d = self._gradient_volume(source)
            flat = Volume(values, 1, 1, d.offset, 1, 1)
            sink, places = Plain(flat, self.machine.lanes, source.written), {"d": self._at(d)}
        self._gather_inputs(placed, gather, region, (0,), (region.padded, 1, 0), sink, places, (0, 0), (1, 1))
        source.written = True

    def _inputs_of_phase(
        self, placed: Placed, stage: Stage, source: Placed, group: int, region: Region, phase: Phase
    ) -> None:
        assert placed.g is not None  # noqa: S101
        channels_in, channels_out = stage.inputs.channels // stage.groups, stage.sums.channels // stage.groups
        g = placed.g
        rows, columns = phase.rows, phase.columns
        gather = Gather(
            _source(g),
            *phase.size,
            channels_in,
            channels_out,
            1,
            1,
            tuple(offset for offset, _ in rows),
            tuple(offset for offset, _ in columns),
        )
        taps = tuple(u * stage.frame.kernel[1] + v for _, u in rows for _, v in columns)
        all_taps = math.prod(stage.frame.kernel)
        steps = (all_taps * region.padded, 1, region.padded)
        sink, places = self._sink(source, group * channels_in)
        self._gather_inputs(
            placed, gather, region, taps, steps, sink, places, phase.first, stage.frame.stride, group * channels_out
        )

    def _gather_inputs(
        self,
        placed: Placed,
        gather: Gather,
        region: Region,
        taps: tuple[int, ...],
        steps: tuple[int, int, int],
        sink: Sink,
        places: dict[str, Access],
        first: tuple[int, int],
        stride: tuple[int, int],
        channel: int = 0,
    ) -> None:
        """The gather of a gradient, each tile put into the sink."""
        assert placed.g is not None  # noqa: S101
        tile = gather.tile(self.machine)
        o = tile.channels
        packed = self._pack(region, o, gather.channels_out, gather.channels_in, taps, steps)
        weights = Weights(gather.channels_in * len(taps) * o, len(taps) * o, o)
        kernel = GatherKernel(self.machine, gather, weights, tile, bias=False)

        def ending(f: Function, c: Index, i: Index, j: Index, sums: Accumulators) -> None:
            by_channel: dict[int, dict[tuple[Index, Index], Value]] = {}
            for (k, a, b), value in sums.items():
                y, x = (i + a) * stride[0] + first[0], (j + b) * stride[1] + first[1]
                by_channel.setdefault(k, {})[y, x] = value
            for k, values in by_channel.items():
                sink.put(f, c + k, values)

        function = self.add("inputs", partial(kernel.build, buffers=sink.buffers, epilogue=ending))
        self.backward.append(Call(function, {"x": self._at(placed.g, channel), "w": packed} | places))


def _source(volume: Volume) -> Source:
    return Source(volume.height, volume.width, volume.row, volume.plane)
