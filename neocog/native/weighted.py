"""Convolutions and fully connected layers in a program, with the activation function and pooling that follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..layers import Conv
from . import passes
from .convolution import Phase, forward_gather, forward_order, phases_of, reach, weight_gradient
from .endings import Finish, Into, Sink, Through
from .expressions import Access, Index
from .filtered_gather import FilteredGather, FilteredGatherKernel, FilteredWeights, pack_filtered
from .gather import Gather, GatherKernel, Source
from .halving import halved_words, pair_channels, pair_images
from .kernel import Function
from .layout import SMALL, Margins, Volume, extent
from .packing import Order, pack_tiles, packed_weights
from .part import Part
from .program import CROWDED, Call, Program, Region
from .stages import Stage, Weighted
from .streamed import FAR_BYTES, StreamedGatherKernel
from .tiled_gather import MATRIX, TiledGather, TiledGatherKernel
from .tiled_weights import TiledWeightGradient
from .weight_gradient import LanesHoldChannels, WeightGradient, lanes_hold_images

DIRECT_BYTES, PACKED_BYTES = 16 << 10, 256 << 10
"""Weights of a forward kernel are packed in the order of reading from the first size to the second, which saves up to
6 % of its time; fewer are near in any order, and of more a copy would take memory."""
NEAR_BYTES = 32 << 10
"""Of weights that a tile of gradients goes over again and again: so much stays in the first-level cache."""
APART = 64
"""Rows so many numbers from each other, or a multiple, are too close there for a kernel that reads several taps."""
ROUNDING = 8
"""How many vectors of products take as long as rounding one of numbers to bfloat16 for its part in pairs."""

LITTLE_MORE = 1.125
"""Times the memory of a volume: so much it may be larger for a gradient to take its place."""

LITTLE_WORK = 0.02
"""Of a network's multiplications forwards: a layer that has no more of them is computed again rather than kept."""

Kernel = tuple[Callable[..., Function], dict[str, Access]]
"""What builds a gather's function, and where those buffers lie that it has for itself."""


class WeightedPart(Part):
    """Its sums go straight through its ending, and the gradient for y comes back through it into that for the sums."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        assert isinstance(stage, Weighted)  # noqa: S101
        self.weighted = stage
        super().__init__(program, stage, _for_both(stage, margins), readers)
        self.source = program.parts[stage.source]
        self.channels_in = stage.inputs.channels // stage.groups
        self.channels_out = stage.sums.channels // stage.groups
        self.g: Volume | None = None
        self.held = stage.ending.activation is not None
        self.made: list[Call] = []  # what makes y
        self.paired: Access | None = None
        self.transformed: dict[int, tuple[FilteredWeights, Access]] = {}  # by group, what the way back may read too
        self.where = program.arena.take(-(-stage.output.elements // 4)) if stage.ending.pools else 0
        self.wants = True
        positions = stage.inputs.positions, stage.sums.positions
        products = math.prod(stage.frame.kernel) * self.channels_out * positions[1]
        self.rounded = self.channels_in * positions[0], self.channels_out * positions[1]
        """Numbers of x and of the sums' gradient."""
        self.products = self.channels_in * products
        self.pairs = self._pays(self.channels_in // 2 * products, self.rounded[0])
        self.pairs_back = self._pays(self.channels_out // 2 * (self.products // self.channels_out), self.rounded[1])
        """Whether pairs of channels are multiplied forwards, and for the gradient of the input."""
        self.may_tile = program.pairs and stage.groups == 1 and self.machine.tiles
        self.masked = isinstance(stage.node.layer, Conv) and stage.node.layer.table is not None
        self._own_parameters()

    def _own_parameters(self) -> None:
        stage, program = self.weighted, self.program
        rows = self.channels_in * math.prod(stage.frame.kernel)
        height, width = extent(stage.sums)
        gradient = self._gradient(Source(height, width, width, height * width))  # g itself is made on the way back
        self.tiles_weights = self.may_tile and TiledWeightGradient(self.machine, gradient).worth()
        by_images = not self.tiles_weights and gradient.by_images(self.machine, self._pays_for_weights())
        self.weights = [
            program.region(
                stage.node,
                "weight",
                rows,
                self.channels_out,
                group=group,
                decays=True,
                by_lanes=by_images,
                masked=self.masked,
                apart=True,
            )
            for group in range(stage.groups)
        ]
        self.bias = program.region(stage.node, "bias", 1, stage.sums.channels, by_lanes=True) if stage.bias else None

    def _pays(self, saved: int, rounded: int) -> bool:
        """Whether rounding so many numbers to bfloat16 is worth so many products that are saved by pairs."""
        return self.program.pairs and self.weighted.groups == 1 and saved >= ROUNDING * rounded

    def _pays_for_weights(self, *, both: bool = False) -> bool:
        """Whether it is for the gradient of weights, where x is rounded, or `both` that and the sums' gradient."""
        return self._pays(self.products // 2, sum(self.rounded) if both else self.rounded[0])

    def _gradient(self, g: Source) -> WeightGradient:
        row = self.program.padded(self.channels_out, apart=True)
        x = Source.of(self.source.y)
        return weight_gradient(self.weighted.frame, x, g, self.channels_in, self.channels_out, row)

    # -- forwards ----------------------------------------------------------------------------------------------

    def forwards(self) -> None:
        """One gather for each group of channels."""
        stage = self.weighted
        size, pool = extent(stage.sums), stage.ending.pool
        gather = forward_gather(stage.frame, self.source.y, size, self.channels_out, self.channels_in, pool)
        finish = Finish(stage.ending, self.y, self.lanes)
        for group, region in enumerate(self.weights):
            build, made = self._forward_kernel(region, gather)
            key = gather, finish, stage.bias, region.padded, region.size, self.may_tile, self.pairs, tuple(made)
            function = self.program.add("sums", partial(build, buffers=finish.buffers, epilogue=finish), key)
            self.made.append(Call(function, self._forward_places(group) | made))
        self.program.forward += self.made
        self.light = self._is_light()

    def _is_light(self) -> bool:
        """Whether y is large for how little work it is, and read by one layer; weights are then packed as they were."""
        stage, program = self.weighted, self.program
        macs = self.channels_in * math.prod(stage.frame.kernel) * stage.sums.elements
        large = stage.output.elements > SMALL and not stage.ending.pools
        alone = self.readers == 1 and not (program.couples or self.pairs)
        return large and alone and macs <= LITTLE_WORK * program.macs

    def _forward_kernel(self, region: Region, gather: Gather) -> Kernel:
        order, bias = forward_order(self.weighted.frame, region.padded), self.weighted.bias
        if made := self._tiled(region, gather, order, bias) or self._filtered(region, gather, order, self.pairs, bias):
            return made
        if self.pairs or DIRECT_BYTES < 4 * region.size <= PACKED_BYTES:
            build, places = packed_gather(self.program, region, gather, order, bias=bias, pairs=self.pairs)
            if self.pairs:
                places["x"] = self.program.halve(self.source.y, pair_channels, training=False)
            return build, places
        places = {"w": region.at("weights")}
        if self.weighted.sees_all and region.size * 4 > FAR_BYTES:
            places["scratch"] = self.program.scratch_of(gather.channels_out)
            return StreamedGatherKernel(self.machine, gather, order.lying(gather, 1), bias).build, places
        tile = gather.tile(self.machine)
        return GatherKernel(self.machine, gather, order.lying(gather, tile.channels), tile, bias).build, places

    def _tiled(self, region: Region, gather: Gather, order: Order, bias: bool) -> Kernel | None:
        """A gather by tiles, where that is possible and worth it."""
        tiled = TiledGather(gather)
        if not (self.may_tile and tiled.worth()):
            return None
        pack = partial(pack_tiles, tiled=tiled, order=order)
        packed = self.program.packed_by(pack, region, tiled.blocks * tiled.pieces * MATRIX)
        places = {"w": packed, "scratch": self.program.scratch_of(tiled.scratch)}
        return TiledGatherKernel(self.machine, tiled, bias).build, places

    def _filtered(self, region: Region, gather: Gather, order: Order, pairs: bool, bias: bool = False) -> Kernel | None:
        """A gather in fewer products, where that is possible and worth it."""
        filtered = FilteredGather(gather, pairs)
        if not filtered.worth():
            return None
        if region.group in self.transformed and not pairs:
            known, packed = self.transformed[region.group]
            weights = known.back
        else:
            weights = FilteredWeights.of(filtered, self.lanes, order.output == 1)
            pack = partial(pack_filtered, filtered=filtered, lanes=self.lanes, order=order)
            packed = self.program.packed_by(pack, region, weights.size)
            if not (pairs or self.program.couples):  # else they are others, or lie where others will
                self.transformed[region.group] = weights, packed
        places = {"w": packed, "scratch": self.program.scratch_of(filtered.scratch(self.machine))}
        return FilteredGatherKernel(self.machine, filtered, weights, bias).build, places

    def _forward_places(self, group: int) -> dict[str, Access]:
        first = group * self.channels_out
        x = self.program.at(self.source.y, group * self.channels_in)
        places = {"x": x, "y": self.program.at(self.y, first)}
        if self.weighted.ending.pools:
            places["where"] = self._where(first)
        if self.bias:
            places["b"] = self.bias.at("weights", first)
        return places

    def _where(self, channel: int) -> Access:
        """Where the positions of a channel's maxima begin: bytes, four to the place of a number."""
        positions = channel * self.y.positions
        return Access("arena", Index(self.where * self.lanes + positions * self.lanes // 4))

    # -- backwards ---------------------------------------------------------------------------------------------

    def remade(self, y: Volume) -> list[Call]:
        """What y is made of is there for the weights, and these are as they were."""
        x = self.source.y_back()
        starts = [
            {"x": self.program.at(x, k * self.channels_in), "y": self.program.at(y, k * self.channels_out)}
            for k in range(len(self.made))
        ]
        calls = zip(self.made, starts, strict=True)
        return self.program.cleared(y) + [replace(call, buffers=call.buffers | start) for call, start in calls]

    def direct(self, channel: int, *, alone: bool) -> tuple[Sink, dict[str, Access]] | None:
        """Through the ending, where nobody has put a gradient before."""
        return None if self.written else self._through(channel, alone=alone)

    def _through(self, channel: int, *, alone: bool) -> tuple[Sink, dict[str, Access]]:
        g = self._sums_gradient(alone=alone)
        y = self.y_late
        sink = Through(self.weighted.ending, y, g, self.weighted.bias, self.lanes, in_place=g is y)
        places = {"g": self.program.at(g, channel), "y": self.program.at(y, channel)}
        if self.weighted.ending.pools:
            places["where"] = self._where(channel)
        if self.bias and self.bias.sums is not None:
            places["sums"] = self.bias.lane_sums(self.lanes, channel)
        return sink, places

    def _sums_gradient(self, *, alone: bool = False) -> Volume:
        """Where it lies: in place of y, if that is there up to now, and has zeros enough around it."""
        if self.g is None:
            ending, margins = self.weighted.ending, reach(self.weighted) if self.source.wants else Margins()
            there = self.reread or self.held
            if alone and there and not ending.pools and margins.within(self.margins):
                self.g = self.y_late
            else:
                self.g = self.program.arena.dense(self.weighted.sums, margins)
                self.program.backward += self.program.cleared(self.g)
        return self.g

    def backwards(self) -> None:
        """Weights, then inputs."""
        if self.d is not None:
            d, (sink, places) = self.d, self._through(0, alone=True)
            function = self.program.add("put", lambda name: passes.put_all(name, self.machine, d, sink))
            self.program.backward.append(Call(function, places | {"d": self.program.at(d)}))
        self._weights()
        if self.source.wants:
            self._inputs()
            self.source.done()

    def _weights(self) -> None:
        x, g = self.source.y_back(), self._sums_gradient()
        gradient = self._gradient(Source.of(g))
        for group, region in enumerate(self.weights):
            places = {
                "x": self.program.at(x, group * self.channels_in),
                "g": self.program.at(g, group * self.channels_out),
                "dw": region.at("gradients"),
            }
            if self.tiles_weights:
                tiled = TiledWeightGradient(self.machine, gradient)
                places["scratch"] = self.program.scratch_of(tiled.scratch)
                function = self.program.add("weights", tiled.build, (gradient, "tiles"))
            elif region.sums is not None:
                places["sums"] = region.lane_sums(self.lanes)
                if pairs := gradient.even and self._pays_for_weights(both=True):
                    places["x"] = self.program.halve(x, pair_images, training=True)
                    behind = halved_words(x, self.lanes)
                    places["g"] = self.program.halve(g, pair_images, training=True, behind=behind)
                build = partial(lanes_hold_images, machine=self.machine, gradient=gradient, pairs=pairs)
                function = self.program.add("weights", build, (gradient, "images", pairs))
            else:
                if pairs := self._pays_for_weights():
                    places["x"] = self.program.halve(x, pair_images, training=True)
                second = LanesHoldChannels(self.machine, gradient, pairs)
                places["scratch"] = self.program.scratch_of(second.scratch)
                function = self.program.add("weights", second.build, (gradient, pairs))
            self.program.backward.append(Call(function, places))

    def _inputs(self) -> None:
        """The gradient for what was read, into the sink of the stage that made it."""
        stage = self.weighted
        if stage.sees_all:
            self._inputs_of_whole_volume()
            return
        for group, region in enumerate(self.weights):
            for phase in phases_of(stage):
                self._inputs_of_phase(group, region, phase)

    def _inputs_of_whole_volume(self) -> None:
        """Of a layer that sees all of its input at once: every value of the input is a channel of one position."""
        stage, (region,) = self.weighted, self.weights
        values, g = stage.inputs.elements, Source.of(self._sums_gradient())
        gather = Gather(g, 1, 1, values, self.channels_out, 1, 1, (0,), (0,))
        if stage.inputs.positions == 1:
            sink, places = self.source.sink(alone=True)
        else:
            sink, places = self.source.flat_sink()
        order = Order((0,), output=region.padded, input=1, tap=0)
        self._gather(gather, region, order, Into(sink, stage.frame.stride), places)

    def _inputs_of_phase(self, group: int, region: Region, phase: Phase) -> None:
        frame = self.weighted.frame
        gather = phase.gather(self._sums_gradient(), self.channels_in, self.channels_out)
        sink, places = self.source.sink(group * self.channels_in, alone=True)
        into, order = Into(sink, frame.stride, phase.first), phase.order(frame, region.padded)
        self._gather(gather, region, order, into, places, group * self.channels_out)

    def _gather(
        self, gather: Gather, region: Region, order: Order, into: Into, places: dict[str, Access], channel: int = 0
    ) -> None:
        """The gather of a gradient from a channel of the sums' on, each tile put into the sink."""
        build, made = self._back_kernel(region, gather, order)
        key = gather, order, into, self.may_tile, self.pairs_back, bool(self.transformed)
        function = self.program.add("inputs", partial(build, buffers=into.sink.buffers, epilogue=into), key)
        g = self.program.at(self._sums_gradient(), channel)
        self.program.backward.append(Call(function, {"x": g} | made | places))

    def _back_kernel(self, region: Region, gather: Gather, order: Order) -> Kernel:
        if made := self._tiled(region, gather, order, False) or self._filtered(region, gather, order, self.pairs_back):
            return made
        tile = gather.tile(self.machine)
        run = tile.channels * gather.taps * region.padded * 4
        near = order.output % CROWDED if gather.taps == 1 else 0 < run <= NEAR_BYTES and order.tap % APART
        if near and not self.pairs_back:  # rows are runs
            lying, first = order.lying(gather, tile.channels), region.at("weights", order.taps[0] * order.tap)
            return GatherKernel(self.machine, gather, lying, tile, bias=False).build, {"w": first}
        build, places = packed_gather(self.program, region, gather, order, pairs=self.pairs_back)
        if self.pairs_back:
            places["x"] = self._pairs_of_gradient()
        return build, places

    def _pairs_of_gradient(self) -> Access:
        """Where the sums' gradient lies in pairs of channels, which all phases read."""
        if self.paired is None:
            self.paired = self.program.halve(self._sums_gradient(), pair_channels, training=True)
        return self.paired


def _for_both(stage: Weighted, margins: Margins) -> Margins:
    """Zeros around y that do for the gradient of its sums too, where that takes little more memory."""
    size, both = extent(stage.sums), margins.with_(reach(stage))
    worth = any(margins) and both.around(size) <= LITTLE_MORE * margins.around(size)
    return both if worth and not stage.ending.pools else margins


def packed_gather(
    program: Program, region: Region, gather: Gather, order: Order, *, bias: bool = False, pairs: bool = False
) -> Kernel:
    """A gather that reads a region's weights packed; with `pairs`, products are of pairs of bfloat16."""
    tile = gather.tile(program.machine, pairs)
    packed = program.pack(region, tile.channels, gather, order, pairs=pairs)
    read = replace(gather, channels_in=-(-gather.channels_in // 2)) if pairs else gather
    weights = packed_weights(read, tile.channels)
    return GatherKernel(program.machine, read, weights, tile, bias, pairs).build, {"w": packed}
