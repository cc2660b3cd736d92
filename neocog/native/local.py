"""Locally connected layers: a window at each position, with weights of its own, which are used once for each image.

So there is nothing to hold in registers, and their gradients are summed over lanes at once. Weights lie as rows for
(input channel, row, column, tap), outputs side by side; biases as rows for (row, column).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from ..layers.local import LocallyConnected
from .expressions import F32, Index, Type, constant, fma, load, splat, total
from .kernel import Function
from .layout import Margins, Volume, along
from .lone import LonePart
from .pooling import Piece, pieces
from .program import Program
from .stages import Frame, Stage

TILE = 8
"""Outputs at a position that are computed at once."""


class Spot(NamedTuple):
    """An output position in hand, the first position of its window, and the pieces in which it lies."""

    y: Index
    x: Index
    top: Index
    left: Index
    rows: Piece
    columns: Piece


@dataclass(frozen=True)
class Local:
    """What the kernels know: windows from volume x to y, and the lengths of rows of weights and of biases."""

    frame: Frame
    x: Volume
    y: Volume
    lanes: int
    row: int

    @property
    def vector(self) -> Type:
        """The type of all values."""
        return Type("f32", self.lanes)

    def spots(self, f: Function) -> Iterator[Spot]:
        """Each output position."""
        frame = self.frame
        sizes = zip((self.y.height, self.y.width), (self.x.height, self.x.width), strict=True)
        axes = [
            pieces(outputs, size, kernel, stride, padding)
            for (outputs, size), kernel, stride, padding in zip(
                sizes, frame.kernel, frame.stride, frame.padding, strict=True
            )
        ]
        for rows, columns in product(*axes):
            with f.loop(rows.outputs) as i, f.loop(columns.outputs) as j:
                y, x = i + rows.first, j + columns.first
                top, left = y * frame.stride[0] - frame.padding[0], x * frame.stride[1] - frame.padding[1]
                yield Spot(y, x, top, left, rows, columns)

    def taps(self, f: Function, spot: Spot) -> Iterator[tuple[Index, Index]]:
        """The values of a window, and where the weights for them are."""
        (height, width), (_, _, top, bottom), (_, _, left, right) = self.frame.kernel, spot.rows, spot.columns
        with f.loop(self.x.channels) as c, f.loop(bottom, top) as r, f.loop(right, left) as q:
            position = c * self.y.positions + spot.y * self.y.width + spot.x
            weights = (position * (height * width) + r * width + q) * self.row
            yield self.x.at(c, spot.top + r, spot.left + q), weights

    def bias(self, spot: Spot) -> Index:
        """Where the biases of a position are."""
        return (spot.y * self.y.width + spot.x) * self.row


def local(name: str, known: Local, bias: bool) -> Function:
    """`y` from `x`."""
    f, vector = Function(name, ("x", "weight", *(("bias",) if bias else ()), "y")), known.vector
    for spot in known.spots(f):
        for first, count in along(f, known.y.channels, TILE):
            starts = [
                splat(load(F32, "bias", known.bias(spot) + first + k), known.lanes) if bias else constant(vector, 0.0)
                for k in range(count)
            ]
            sums = [f.variable(start) for start in starts]
            for at, weights in known.taps(f, spot):
                value = f.let(load(vector, "x", at))
                for k, sum_ in enumerate(sums):
                    weight = splat(load(F32, "weight", weights + first + k), known.lanes)
                    f.set(sum_, fma(value, weight, sum_.value))
            for k, sum_ in enumerate(sums):
                f.store("y", known.y.at(first + k, spot.y, spot.x), sum_.value)
    return f


def local_weights(name: str, known: Local, d: Volume, bias: bool) -> Function:
    """The products of `dy` and `x` added to `d_weight`, and `dy` to `d_bias`."""
    f, vector = Function(name, ("x", "dy", "d_weight", *(("d_bias",) if bias else ()))), known.vector
    for spot in known.spots(f):
        with f.loop(d.channels) as k:
            dy = f.let(load(vector, "dy", d.at(k, spot.y, spot.x)))
            if bias:
                at = known.bias(spot) + k
                f.store("d_bias", at, load(F32, "d_bias", at) + total(dy))
            for at, weights in known.taps(f, spot):
                product_ = f.let(dy * load(vector, "x", at))
                f.store("d_weight", weights + k, load(F32, "d_weight", weights + k) + total(product_))
    return f


def local_inputs(name: str, known: Local, d: Volume) -> Function:
    """The gradient for x added to `dx`; the volume x is its."""
    f, vector = Function(name, ("weight", "dy", "dx")), known.vector
    for spot in known.spots(f):
        for at, weights in known.taps(f, spot):
            sum_ = f.variable(load(vector, "dx", at))
            with f.loop(d.channels) as k:
                weight = splat(load(F32, "weight", weights + k), known.lanes)
                f.set(sum_, fma(load(vector, "dy", d.at(k, spot.y, spot.x)), weight, sum_.value))
            f.store("dx", at, sum_.value)
    return f


class LocalPart(LonePart):
    """A locally connected layer in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        layer, outputs = self.node.layer, self.y.channels
        assert isinstance(layer, LocallyConnected)  # noqa: S101
        self.frame = Frame.of(layer.window(program.network.input_shapes(self.node)[0]))
        taps = self.x.channels * math.prod(self.frame.kernel)
        self.owned = {"weight": program.region(self.node, "weight", taps * self.y.positions, outputs, decays=True)}
        if layer.bias:  # it has an axis for each of the output's, and decays with them
            self.owned["bias"] = program.region(self.node, "bias", self.y.positions, outputs, decays=True)
        self.wants = True

    def _known(self, x: Volume) -> Local:
        return Local(self.frame, x, self.y, self.lanes, self.owned["weight"].padded)

    def forwards(self) -> None:
        """Every output."""
        known, bias = self._known(self.x), "bias" in self.owned
        self.forward_call(lambda name: local(name, known, bias))

    def backwards(self) -> None:
        """Weights, then inputs."""
        d, known, bias = self.gradient(), self._known(self.x), "bias" in self.owned
        places = {f"d_{name}": region.at("gradients") for name, region in self.owned.items()}
        self.backward_call(lambda name: local_weights(name, known, d, bias), places)
        if self.source.wants:
            dx = self.source.zeroed()
            into = self._known(dx)
            self.backward_call(lambda name: local_inputs(name, into, d), {"dx": self.program.at(dx)})
            self.source.done()
