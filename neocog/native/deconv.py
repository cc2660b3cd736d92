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
from .endings import Into, Position, Sink, Through
from .expressions import F32, Access, Index, Value, load, splat
from .gather import Gather, GatherKernel, Source, Weights
from .kernel import Function
from .layout import Margins, Volume, extent
from .lone import LonePart
from .phases import Phase, phases_of
from .program import Program
from .stages import Stage, transpose_of
from .weight_gradient import LanesHoldChannels, WeightGradient, lanes_hold_images


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
        self.frame, self.taps = self.convolution.frame, math.prod(self.convolution.frame.kernel)
        gradient = self._gradient(Source(self.y.height, self.y.width, self.y.row, self.y.plane))
        self.by_images = gradient.by_images(self.machine)
        self.weight = program.region(
            self.node,
            "weight",
            self.y.channels * self.taps,
            self.x.channels,
            decays=True,
            by_lanes=self.by_images,
        )
        if self.convolution.bias:
            self.own("bias", self.y.channels)
        self.wants = True

    def _gradient(self, y: Source) -> WeightGradient:
        frame = self.frame
        return WeightGradient(
            y,
            _source(self.x),
            self.y.channels,
            self.x.channels,
            frame.kernel,
            frame.stride,
            frame.dilation,
            frame.padding,
        )

    def forwards(self) -> None:
        """For each remainder of an output position by the stride, a gather of the inputs that reach it."""
        sink, kernel = Biased(self.y, self.lanes, "bias" in self.owned), self.frame.kernel
        places = {"y": self.program.at(self.y)}
        if "bias" in self.owned:
            places["b"] = Access("weights", Index(self.owned["bias"].start))
        for phase in phases_of(self.convolution):
            gather = self._gather_of(phase)
            taps = tuple(u * kernel[1] + v for _, u in phase.rows for _, v in phase.columns)
            steps = (self.taps * self.weight.padded, 1, self.weight.padded)
            build, packed = self._kernel(gather, taps, steps, Into(sink, self.frame.stride, phase.first))
            self.forward_call(build, places | packed)

    def _gather_of(self, phase: Phase) -> Gather:
        rows, columns = (tuple(offset for offset, _ in taps) for taps in (phase.rows, phase.columns))
        return Gather(_source(self.x), *phase.size, self.y.channels, self.x.channels, 1, 1, rows, columns)

    def _kernel(
        self, gather: Gather, taps: tuple[int, ...], steps: tuple[int, int, int], into: Into
    ) -> tuple[Callable[[str], Function], dict[str, Access]]:
        """A gather's function, and where it finds its weights, packed."""
        tile = gather.tile(self.machine)
        o = tile.channels
        packed = self.program.pack(self.weight, o, gather.channels_out, gather.channels_in, taps, steps)
        kernel = GatherKernel(
            self.machine, gather, Weights(gather.channels_in * len(taps) * o, len(taps) * o, o), tile, bias=False
        )
        return partial(kernel.build, buffers=into.sink.buffers, epilogue=into), {"w": packed}

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
        gradient = self._gradient(_source(g))
        places = {"x": self.program.at(g), "g": self.program.at(self.x)}
        if self.by_images:
            places["sums"] = Access("sums", Index((self.weight.sums or 0) * self.lanes))
            self.backward_call(lambda name: lanes_hold_images(name, self.machine, gradient), places)
            return
        second = LanesHoldChannels(self.machine, gradient)
        places["scratch"] = self.program.scratch_of(second.scratch)
        places["dw"] = Access("gradients", Index(self.weight.start))
        self.backward_call(second.build, places)

    def _inputs(self, g: Volume) -> None:
        frame, padded = self.frame, self.weight.padded
        rows, columns = (
            tuple(k * d - p for k in range(f))
            for f, d, p in zip(frame.kernel, frame.dilation, frame.padding, strict=True)
        )
        gather = Gather(
            _source(g),
            self.x.height,
            self.x.width,
            self.x.channels,
            self.y.channels,
            frame.stride[0],
            frame.stride[1],
            rows,
            columns,
        )
        sink, places = self.source.sink()
        steps = (1, self.taps * padded, padded)
        build, packed = self._kernel(gather, tuple(range(self.taps)), steps, Into(sink))
        self.backward_call(build, {"x": self.program.at(g)} | packed | places)


def _source(volume: Volume) -> Source:
    return Source(volume.height, volume.width, volume.row, volume.plane)
