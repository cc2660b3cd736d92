"""Local response normalization: y = x / d^beta with the energy d of neighbouring maps or positions.

The energies stay in memory. Backwards a first pass makes t = dy x d^(-beta-1) = dy y / d, a second one sums it:

    dx = dy d^-beta - 2 alpha beta x (sum of t over the neighbours)

The neighbours of a value are a box of channels, rows and columns; at the edges, where it is cut, code is made apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from ..layers.lrn import LocalResponseNorm
from .elementary import power
from .endings import Sink
from .kernel import Function, Index, Type, Value, constant, fma, load
from .layout import Margins, Volume
from .pooling import UNROLLED, Piece, pieces
from .program import Program
from .single import SinglePart
from .stages import Stage


@dataclass(frozen=True)
class Boxes:
    """The neighbourhoods of a layer: how many channels, rows and columns each has, where nothing is cut."""

    size: tuple[int, int, int]

    @classmethod
    def of(cls, layer: LocalResponseNorm, x: Volume) -> Boxes:
        """Across maps, or within each; a 1-D volume has one row."""
        n = layer.size
        return cls((n, 1, 1) if layer.region == "across" else (1, n if x.height > 1 else 1, n))

    def __call__(self, f: Function, x: Volume) -> Iterator[tuple[Index, Index, Index, tuple[Piece, ...]]]:
        """Each place, and along the axes the pieces that it lies in."""
        lengths = (x.channels, x.height, x.width)
        axes = [pieces(length, length, n, 1, n // 2) for length, n in zip(lengths, self.size, strict=True)]
        for c, y, column in product(*axes):
            with f.loop(c.outputs) as i, f.loop(y.outputs) as j, f.loop(column.outputs) as k:
                yield i + c.first, j + y.first, k + column.first, (c, y, column)

    def total(
        self, f: Function, box: tuple[Piece, ...], start: Value, of: Callable[[Index, Index, Index], Value]
    ) -> Value:
        """`start` and what is made of each neighbour, which is told by its distance along the axes."""
        sum_ = f.variable(start)
        spans = [(piece.start - n // 2, piece.stop - n // 2) for piece, n in zip(box, self.size, strict=True)]
        if (spans[0][1] - spans[0][0]) * (spans[1][1] - spans[1][0]) * (spans[2][1] - spans[2][0]) <= UNROLLED:
            for away in product(*(range(*span) for span in spans)):
                f.set(sum_, sum_.value + of(*map(Index, away)))
            return sum_.value
        first, second, third = ((stop - start, start) for start, stop in spans)
        with f.loop(first[0]) as i, f.loop(second[0]) as j, f.loop(third[0]) as k:
            f.set(sum_, sum_.value + of(i + first[1], j + second[1], k + third[1]))
        return sum_.value


def respond(name: str, lanes: int, layer: LocalResponseNorm, x: Volume, energy: Volume, y: Volume) -> Function:
    """`energy` and `y` from `x`."""
    f, vector, boxes = Function(name, ("x", "energy", "y")), Type("f32", lanes), Boxes.of(layer, x)
    for c, i, j, box in boxes(f, x):
        here = x.at(c, i, j)

        def square(u: Index, v: Index, w: Index, at: Index = here) -> Value:
            value = f.let(load(vector, "x", at + x.at(u, v, w)))
            return value * value

        sum_ = boxes.total(f, box, constant(vector, 0.0), square)
        d = f.let(fma(sum_, constant(vector, layer.alpha), constant(vector, layer.k)))
        f.store("energy", energy.at(c, i, j), d)
        f.store("y", y.at(c, i, j), load(vector, "x", x.at(c, i, j)) * power(f, d, -layer.beta))
    return f


def share(name: str, lanes: int, energy: Volume, y: Volume, d: Volume, t: Volume) -> Function:
    """`t` = dy y / energy."""
    f, vector = Function(name, ("dy", "y_", "energy", "t")), Type("f32", lanes)
    with f.loop(y.channels) as c, f.loop(y.height) as i, f.loop(y.width) as j:
        product_ = load(vector, "dy", d.at(c, i, j)) * load(vector, "y_", y.at(c, i, j))
        f.store("t", t.at(c, i, j), product_ / load(vector, "energy", energy.at(c, i, j)))
    return f


def respond_back(name: str, lanes: int, layer: LocalResponseNorm, volumes: tuple[Volume, ...], sink: Sink) -> Function:
    """The gradient for `x` into a sink, from `dy`, `energy` and `t`; the volumes of all four, in this order."""
    x, d, energy, t = volumes
    f = Function(name, ("x", "dy", "energy", "t", *sink.buffers))
    vector, boxes = Type("f32", lanes), Boxes.of(layer, x)
    factor = constant(vector, -2 * layer.alpha * layer.beta)
    for c, i, j, box in boxes(f, x):
        here = t.at(c, i, j)

        def shared(u: Index, v: Index, w: Index, at: Index = here) -> Value:
            return load(vector, "t", at + t.at(u, v, w))

        sum_ = boxes.total(f, box, constant(vector, 0.0), shared)
        own = power(f, f.let(load(vector, "energy", energy.at(c, i, j))), -layer.beta)
        value = load(vector, "dy", d.at(c, i, j)) * own + load(vector, "x", x.at(c, i, j)) * sum_ * factor
        sink.put(f, c, {(i, j): f.let(value)})
    return f


class ResponsePart(SinglePart):
    """Local response normalization in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(self.node.layer, LocalResponseNorm)  # noqa: S101
        self.layer = self.node.layer
        self.energy = program.arena.volume(stage.output)

    def forwards(self) -> None:
        """Energies and outputs."""
        places = {"energy": self.program.at(self.energy)}
        self.forward_call(lambda name: respond(name, self.lanes, self.layer, self.x, self.energy, self.y), places)

    def backwards(self) -> None:
        """First what the neighbours share, then each value's part."""
        d, t = self.gradient(), self.program.arena.borrow(self.stage.output)
        places = {"energy": self.program.at(self.energy), "t": self.program.at(t)}
        self.backward_call(lambda name: share(name, self.lanes, self.energy, self.y, d, t), places)
        volumes = (self.x, d, self.energy, t)
        self.backward_into(lambda name, sink: respond_back(name, self.lanes, self.layer, volumes, sink), places)
        self.program.arena.give_back(t)
