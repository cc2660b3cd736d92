"""Local response normalization: y = x / d^beta with the energy d of neighbouring maps or positions.

The energies stay in memory. Backwards a first pass makes e = dy d^-beta, in place of dy, and t = e x / d, in place of
the energies; a second one sums it:

    dx = e - 2 alpha beta x (sum of t over the neighbours)
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


def share(name: str, lanes: int, layer: LocalResponseNorm, volumes: tuple[Volume, Volume, Volume]) -> Function:
    """From `dy`, `energy` and `x` what each value takes and gives; the volumes of these, in this order."""
    f, vector = Function(name, ("dy", "energy", "x")), Type("f32", lanes)
    d, energy, x = volumes
    with f.loop(x.channels) as c, f.loop(x.height) as i, f.loop(x.width) as j:
        held = f.let(load(vector, "energy", energy.at(c, i, j)))
        own = f.let(load(vector, "dy", d.at(c, i, j)) * power(f, held, -layer.beta))
        f.store("dy", d.at(c, i, j), own)
        f.store("energy", energy.at(c, i, j), own * load(vector, "x", x.at(c, i, j)) / held)
    return f


def respond_back(
    name: str, lanes: int, layer: LocalResponseNorm, volumes: tuple[Volume, Volume, Volume], sink: Sink
) -> Function:
    """The gradient for `x` into a sink, from what `share` left in the places of `dy` and `energy`."""
    d, energy, x = volumes
    f = Function(name, ("dy", "energy", "x", *sink.buffers))
    vector, boxes = Type("f32", lanes), _boxes(layer, x)
    factor = constant(vector, -2 * layer.alpha * layer.beta)

    def given(there: Place, inside: Place) -> Value:
        return load(vector, "energy", energy.at(*there))

    for place in boxes.places(f):
        sum_ = boxes.total(f, place, constant(vector, 0.0), given)
        c, i, j = place
        value = load(vector, "dy", d.at(*place)) + load(vector, "x", x.at(*place)) * sum_ * factor
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
        volumes = (self.gradient(), self.energy, self.x)
        places = {"energy": self.program.at(self.energy)}
        self.backward_call(lambda name: share(name, self.lanes, self.layer, volumes), places)
        self.backward_into(lambda name, sink: respond_back(name, self.lanes, self.layer, volumes, sink), places)
