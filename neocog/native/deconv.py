"""Transposed convolutions, by the kernels of the convolution of which they are the transpose, with the roles changed.

Forwards is that convolution's gradient for its input, with a bias; the gradient for x is its forward pass over dy; and
its weights' gradient is the same sum of products. So what is called `convolution` here reads y and gives x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from . import passes
from .convolution import forward_gather, forward_order, phases_of, weight_gradient
from .endings import Into, Position, Sink, Through
from .expressions import F32, Access, Index, Value, load, splat
from .gather import Gather, Source
from .kernel import Function
from .layout import Margins, Volume, extent
from .lone import LonePart
from .packing import Order
from .program import Program
from .stages import Stage, transpose_of
from .weight_gradient import LanesHoldChannels, WeightGradient, lanes_hold_images
from .weighted import packed_gather


@dataclass(frozen=True)
class Biased(Sink):
    """The volume `y`, and what each channel adds to it in `b`."""

    y: Volume
    lanes: int
    bias: bool

    @property
    def buffers(self) -> tuple[str, ...]:  # type: ignore[override]  # derived, and as constant as an attribute
        """Only those that are needed."""
        return ("y", "b") if self.bias else ("y",)

    def put(self, f: Function, channel: Index, values: dict[Position, Value]) -> None:
        """Store."""
        bias = f.let(splat(load(F32, "b", channel), self.lanes)) if self.bias else None
        for (y, x), value in values.items():
            f.store("y", self.y.at(channel, y, x), value + bias if bias else value)


class DeconvPart(LonePart):
    """A transposed convolution in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        self.convolution = transpose_of(program.network, self.node)
        self.frame = self.convolution.frame
        gradient = self._gradient(Source(self.y.height, self.y.width, self.y.row, self.y.plane))
        self.by_images = gradient.by_images(self.machine)
        self.weight = program.region(
            self.node,
            "weight",
            self.y.channels * math.prod(self.frame.kernel),
            self.x.channels,
            decays=True,
            by_lanes=self.by_images,
        )
        if self.convolution.bias:
            self.own("bias", self.y.channels)
        self.wants = True

    def _gradient(self, y: Source) -> WeightGradient:
        outputs = self.x.channels
        return weight_gradient(self.frame, y, Source.of(self.x), self.y.channels, outputs, self.program.padded(outputs))

    def forwards(self) -> None:
        """For each remainder of an output position by the stride, a gather of the inputs that reach it."""
        sink = Biased(self.y, self.lanes, "bias" in self.owned)
        places = {"y": self.program.at(self.y)}
        if "bias" in self.owned:
            places["b"] = self.owned["bias"].at("weights")
        for phase in phases_of(self.convolution):
            gather = phase.gather(self.x, self.y.channels, self.x.channels)
            order = phase.order(self.frame, self.weight.padded)
            build, packed = self._kernel(gather, order, Into(sink, self.frame.stride, phase.first))
            self.forward_call(build, places | packed)

    def _kernel(self, gather: Gather, order: Order, into: Into) -> tuple[Callable[[str], Function], dict[str, Access]]:
        """A gather's function, and where it finds its weights."""
        build, packed = packed_gather(self.program, self.weight, gather, order)
        return partial(build, buffers=into.sink.buffers, epilogue=into), packed

    def backwards(self) -> None:
        """The gradient for y is copied to where zeros are around it; then weights, then inputs."""
        d = self.gradient()
        g = self.program.arena.dense(
            self.stage.output, self.frame.margins(extent(self.stage.output), (self.x.height, self.x.width))
        )
        self.program.backward += self.program.cleared(g)
        bias = "bias" in self.owned
        copy = Through(self.convolution.ending, self.y, g, bias, self.lanes)
        places = {
            "g": self.program.at(g),
            "d": self.program.at(d),
            "sums": self.sums.get("d_bias", Access("sums", Index())),
        }
        self.backward_call(lambda name: passes.put_all(name, self.machine, d, copy), places)
        self._weights(g)
        if self.source.wants:
            self._inputs(g)
            self.source.done()

    def _weights(self, g: Volume) -> None:
        gradient = self._gradient(Source.of(g))
        places = {"x": self.program.at(g), "g": self.program.at(self.x)}
        if self.by_images:
            places["sums"] = self.weight.lane_sums(self.lanes)
            self.backward_call(lambda name: lanes_hold_images(name, self.machine, gradient), places)
            return
        second = LanesHoldChannels(self.machine, gradient)
        places["scratch"] = self.program.scratch_of(second.scratch)
        places["dw"] = self.weight.at("gradients")
        self.backward_call(second.build, places)

    def _inputs(self, g: Volume) -> None:
        size = self.x.height, self.x.width
        gather = forward_gather(self.frame, g, size, self.x.channels, self.y.channels)
        sink, places = self.source.sink()
        build, packed = self._kernel(gather, forward_order(self.frame, self.weight.padded), Into(sink))
        self.backward_call(build, {"x": self.program.at(g)} | packed | places)
