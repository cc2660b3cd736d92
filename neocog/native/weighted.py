"""Convolutions and fully connected layers in a program, with the activation function and pooling that follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..layers import Conv
from . import passes
from .endings import Finish, Into, Sink, Through
from .expressions import Access, Index
from .gather import Gather, GatherKernel, Source, Weights
from .halving import pair_channels, pair_images
from .kernel import Function
from .layout import Margins, Volume, extent
from .packing import pack_tiles
from .part import Part
from .phases import Phase, phases_of, reach
from .program import Call, Program, Region
from .stages import Stage, Weighted
from .tiled_gather import MATRIX, TiledGather, TiledGatherKernel
from .tiled_weights import TiledWeightGradient
from .weight_gradient import LanesHoldChannels, WeightGradient, lanes_hold_images

DIRECT_BYTES = 16 << 10
"""Weights of a forward kernel are read where they lie up to this size, else packed in the order of reading."""
WORTH_PAIRING = 8
"""Fewer channels are not multiplied in bfloat16: rounding them would take as long."""

Kernel = tuple[Callable[..., Function], dict[str, Access]]
"""What builds a gather's function, and where those buffers lie that it has for itself."""


class WeightedPart(Part):
    """Its sums go straight through its ending, and the gradient for y comes back through it into that for the sums."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(stage, Weighted)  # noqa: S101
        self.weighted = stage
        self.source = program.parts[stage.source]
        self.channels_in = stage.inputs.channels // stage.groups
        self.channels_out = stage.sums.channels // stage.groups
        self.g: Volume | None = None
        self.paired: Access | None = None
        self.where = program.arena.take(-(-stage.output.elements // 4)) if stage.ending.pools else 0
        self.wants = True
        self.pairs = program.pairs and stage.groups == 1 and self.channels_in >= WORTH_PAIRING
        self.may_tile = program.pairs and stage.groups == 1 and self.machine.tiles
        self._own_parameters()

    def _own_parameters(self) -> None:
        stage, program = self.weighted, self.program
        rows = self.channels_in * math.prod(stage.frame.kernel)
        height, width = extent(stage.sums)
        gradient = self._gradient(Source(height, width, width, height * width))
        self.tiles_weights = self.may_tile and TiledWeightGradient(self.machine, gradient).worth()
        by_images = not self.tiles_weights and gradient.by_images(self.machine, self.pairs)
        masked = isinstance(stage.node.layer, Conv) and stage.node.layer.table is not None
        self.weights = [
            program.region(
                stage.node,
                "weight",
                rows,
                self.channels_out,
                group=group,
                decays=True,
                by_lanes=by_images,
                masked=masked,
            )
            for group in range(stage.groups)
        ]
        self.bias = program.region(stage.node, "bias", 1, stage.sums.channels, by_lanes=True) if stage.bias else None

    def _gradient(self, g: Source) -> WeightGradient:
        frame, x = self.weighted.frame, _source(self.source.y)
        return WeightGradient(
            x, g, self.channels_in, self.channels_out, frame.kernel, frame.stride, frame.dilation, frame.padding
        )

    # -- forwards ----------------------------------------------------------------------------------------------

    def forwards(self) -> None:
        """One gather for each group of channels."""
        frame, stage = self.weighted.frame, self.weighted
        rows, columns = (
            tuple(k * d - p for k in range(f))
            for f, d, p in zip(frame.kernel, frame.dilation, frame.padding, strict=True)
        )
        gather = Gather(
            _source(self.source.y),
            *extent(stage.sums),
            self.channels_out,
            self.channels_in,
            *frame.stride,
            rows,
            columns,
            stage.ending.pool,
        )
        finish = Finish(stage.ending, self.y, self.lanes)
        for group, region in enumerate(self.weights):
            build, made = self._forward_kernel(region, gather)
            key = gather, finish, stage.bias, region.padded, region.size, self.may_tile, self.pairs
            function = self.program.add("sums", partial(build, buffers=finish.buffers, epilogue=finish), key)
            self.program.forward.append(Call(function, self._forward_places(group) | made))

    def _forward_kernel(self, region: Region, gather: Gather) -> Kernel:
        taps, padded, bias = gather.taps, region.padded, self.weighted.bias
        if made := self._tiled(region, gather, tuple(range(taps)), (1, taps * padded, padded), bias):
            return made
        weights, at = self._in_order(region, gather)
        tile, read = gather.tile(self.machine), _halved(gather) if self.pairs else gather
        places = {"w": at}
        if self.pairs:
            places["x"] = self.program.halve(self.source.y, pair_channels, training=False)
        return GatherKernel(self.machine, read, weights, tile, bias, self.pairs).build, places

    def _tiled(
        self, region: Region, gather: Gather, taps: tuple[int, ...], steps: tuple[int, int, int], bias: bool
    ) -> Kernel | None:
        """A gather by tiles, where that is possible and worth it."""
        tiled = TiledGather(gather)
        if not (self.may_tile and tiled.worth()):
            return None
        pack = partial(pack_tiles, tiled=tiled, taps=taps, steps=steps)
        packed = self.program.packed_by(pack, region, tiled.blocks * tiled.pieces * MATRIX)
        places = {"w": packed, "scratch": self.program.scratch_of(tiled.scratch)}
        return TiledGatherKernel(self.machine, tiled, bias).build, places

    def _in_order(self, region: Region, gather: Gather) -> tuple[Weights, Access]:
        """Where a gather finds its weights: where they lie, or packed."""
        tile, padded, taps = gather.tile(self.machine).channels, region.padded, gather.taps
        if region.size * 4 <= DIRECT_BYTES and not self.pairs:
            return Weights(tile, taps * padded, padded), Access("weights", Index(region.start))
        steps = (1, taps * padded, padded)
        order = tuple(range(taps))
        at = self.program.pack(region, tile, gather.channels_out, gather.channels_in, order, steps, pairs=self.pairs)
        inputs = _halved(gather).channels_in if self.pairs else gather.channels_in
        return Weights(inputs * taps * tile, taps * tile, tile), at

    def _forward_places(self, group: int) -> dict[str, Access]:
        first = group * self.channels_out
        x = self.program.at(self.source.y, group * self.channels_in)
        places = {"x": x, "y": self.program.at(self.y, first)}
        if self.weighted.ending.pools:
            places["where"] = self._where(first)
        if self.bias:
            places["b"] = Access("weights", Index(self.bias.start + first))
        return places

    def _where(self, channel: int) -> Access:
        """Where the positions of a channel's maxima begin: bytes, four to the place of a number."""
        positions = channel * self.y.positions
        return Access("arena", Index(self.where * self.lanes + positions * self.lanes // 4))

    # -- backwards ---------------------------------------------------------------------------------------------

    def direct(self, channel: int) -> tuple[Sink, dict[str, Access]] | None:
        """Through the ending, where nobody has put a gradient before."""
        return None if self.written else self._through(channel)

    def _through(self, channel: int) -> tuple[Sink, dict[str, Access]]:
        g = self._sums_gradient()
        sink = Through(self.weighted.ending, self.y, g, self.weighted.bias, self.lanes)
        places = {"g": self.program.at(g, channel), "y": self.program.at(self.y, channel)}
        if self.weighted.ending.pools:
            places["where"] = self._where(channel)
        if self.bias and self.bias.sums is not None:
            places["sums"] = Access("sums", Index((self.bias.sums + channel) * self.lanes))
        return sink, places

    def _sums_gradient(self) -> Volume:
        if self.g is None:
            self.g = self.program.arena.dense(self.weighted.sums, reach(self.weighted))
            self.program.backward += self.program.cleared(self.g)
        return self.g

    def backwards(self) -> None:
        """Weights, then inputs."""
        if self.d is not None:
            d, (sink, places) = self.d, self._through(0)
            function = self.program.add("put", lambda name: passes.put_all(name, self.machine, d, sink))
            self.program.backward.append(Call(function, places | {"d": self.program.at(d)}))
        self._weights()
        if self.source.wants:
            self._inputs()
            self.source.done()

    def _weights(self) -> None:
        x, g = self.source.y_back(), self._sums_gradient()
        gradient = self._gradient(_source(g))
        for group, region in enumerate(self.weights):
            places = {
                "x": self.program.at(x, group * self.channels_in),
                "g": self.program.at(g, group * self.channels_out),
                "dw": Access("gradients", Index(region.start)),
            }
            if self.tiles_weights:
                tiled = TiledWeightGradient(self.machine, gradient)
                places["scratch"] = self.program.scratch_of(tiled.scratch)
                function = self.program.add("weights", tiled.build, (gradient, "tiles"))
            elif region.sums is not None:
                places["sums"] = Access("sums", Index(region.sums * self.lanes))
                function = self.program.add("weights", lambda name: lanes_hold_images(name, self.machine, gradient))
            else:
                second = LanesHoldChannels(self.machine, gradient, self.pairs)
                if self.pairs:
                    places["x"] = self.program.halve(x, pair_images, training=True)
                places["scratch"] = self.program.scratch_of(second.scratch)
                function = self.program.add("weights", second.build, (gradient, self.pairs))
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
        values = stage.inputs.elements
        gather = Gather(_source(self._sums_gradient()), 1, 1, values, self.channels_out, 1, 1, (0,), (0,))
        if stage.inputs.positions == 1:
            sink, places = self.source.sink()
        else:
            sink, places = self.source.flat_sink()
        self._gather(gather, region, (0,), (region.padded, 1, 0), sink, places, Phase((0, 0), (1, 1), (), ()))

    def _inputs_of_phase(self, group: int, region: Region, phase: Phase) -> None:
        gather = Gather(
            _source(self._sums_gradient()),
            *phase.size,
            self.channels_in,
            self.channels_out,
            1,
            1,
            tuple(offset for offset, _ in phase.rows),
            tuple(offset for offset, _ in phase.columns),
        )
        kernel = self.weighted.frame.kernel
        taps = tuple(u * kernel[1] + v for _, u in phase.rows for _, v in phase.columns)
        steps = (math.prod(kernel) * region.padded, 1, region.padded)
        sink, places = self.source.sink(group * self.channels_in)
        self._gather(gather, region, taps, steps, sink, places, phase, group * self.channels_out)

    def _gather(
        self,
        gather: Gather,
        region: Region,
        taps: tuple[int, ...],
        steps: tuple[int, int, int],
        sink: Sink,
        places: dict[str, Access],
        phase: Phase,
        channel: int = 0,
    ) -> None:
        """The gather of a gradient, each tile put into the sink."""
        into = Into(sink, self.weighted.frame.stride, phase.first)
        build, made = self._back_kernel(region, gather, taps, steps)
        key = gather, taps, steps, into, self.may_tile, self.pairs
        function = self.program.add("inputs", partial(build, buffers=sink.buffers, epilogue=into), key)
        g = self.program.at(self._sums_gradient(), channel)
        self.program.backward.append(Call(function, {"x": g} | made | places))

    def _back_kernel(
        self, region: Region, gather: Gather, taps: tuple[int, ...], steps: tuple[int, int, int]
    ) -> Kernel:
        if made := self._tiled(region, gather, taps, steps, bias=False):
            return made
        tile, pairs = gather.tile(self.machine), self.pairs and self.channels_out >= WORTH_PAIRING
        o = tile.channels
        packed = self.program.pack(region, o, gather.channels_out, gather.channels_in, taps, steps, pairs=pairs)
        places = {"w": packed}
        if pairs:
            gather, places["x"] = _halved(gather), self._pairs_of_gradient()
        weights = Weights(gather.channels_in * len(taps) * o, len(taps) * o, o)
        return GatherKernel(self.machine, gather, weights, tile, bias=False, pairs=pairs).build, places

    def _pairs_of_gradient(self) -> Access:
        """Where the sums' gradient lies in pairs of channels, which all phases read."""
        if self.paired is None:
            self.paired = self.program.halve(self._sums_gradient(), pair_channels, training=True)
        return self.paired


def _halved(gather: Gather) -> Gather:
    """The same over pairs of channels."""
    return replace(gather, channels_in=-(-gather.channels_in // 2))


def _source(volume: Volume) -> Source:
    return Source(volume.height, volume.width, volume.row, volume.plane)
