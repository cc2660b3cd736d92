"""Local response normalization: y = x / d^beta with the energy d of neighbouring maps or positions.

The energies stay in memory. Backwards a first pass makes t = dy x d^(-beta-1) = dy y / d, a second one sums it:

    dx = dy d^-beta - 2 alpha beta x (sum of t over the neighbours)
"""

from __future__ import annotations

from ..layers.lrn import LocalResponseNorm
from .boxes import Boxes, Place
from .elementary import power
from .endings import Sink
from .expressions import Type, Value, constant, fma, load
from .kernel import Function
from .layout import Margins, Volume
from .lone import LonePart
from .program import Program
from .stages import Stage


def _boxes(layer: LocalResponseNorm, x: Volume) -> Boxes:
    """Across maps, or within each; a 1-D volume has one row."""
    n = layer.size
    return Boxes(x, (n, 1, 1) if layer.region == "across" else (1, n if x.height > 1 else 1, n))


def respond(name: str, lanes: int, layer: LocalResponseNorm, x: Volume, energy: Volume, y: Volume) -> Function:
    """`energy` and `y` from `x`."""
    f, vector, boxes = Function(name, ("x", "energy", "y")), Type("f32", lanes), _boxes(layer, x)

    def square(place: Place, inside: Place) -> Value:
        value = f.let(load(vector, "x", x.at(*place)))
        return value * value

    for place in boxes.places(f):
        sum_ = boxes.total(f, place, constant(vector, 0.0), square)
        d = f.let(fma(sum_, constant(vector, layer.alpha), constant(vector, layer.k)))
        f.store("energy", energy.at(*place), d)
        f.store("y", y.at(*place), load(vector, "x", x.at(*place)) * power(f, d, -layer.beta))
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
    vector, boxes = Type("f32", lanes), _boxes(layer, x)
    factor = constant(vector, -2 * layer.alpha * layer.beta)
    for place in boxes.places(f):
        sum_ = boxes.total(f, place, constant(vector, 0.0), lambda there, inside: load(vector, "t", t.at(*there)))
        own = power(f, f.let(load(vector, "energy", energy.at(*place))), -layer.beta)
        value = load(vector, "dy", d.at(*place)) * own + load(vector, "x", x.at(*place)) * sum_ * factor
        c, i, j = place
        sink.put(f, c, {(i, j): f.let(value)})
    return f


class ResponsePart(LonePart):
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
        d, t = self.gradient(), self.program.arena.dense(self.stage.output)
        places = {"energy": self.program.at(self.energy), "t": self.program.at(t)}
        self.backward_call(lambda name: share(name, self.lanes, self.energy, self.y, d, t), places)
        volumes = (self.x, d, self.energy, t)
        self.backward_into(lambda name, sink: respond_back(name, self.lanes, self.layer, volumes, sink), places)
