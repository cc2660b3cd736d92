"""Local contrast normalization; `layers/lcn.py` has the formula, whose letters name the buffers here.

Maps are volumes of one channel, G is the weighted sum of each position's window of a map, and `share` is 1 / r, what G
is multiplied by. `a`, `b` and `e` are maps for what is between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..layer import Shape
from ..layers.lcn import FLAT, LocalContrastNorm
from .boxes import Boxes, Place
from .endings import Sink
from .expressions import F32, Index, Type, Value, constant, largest, load, root, select, splat
from .kernel import Function
from .layout import Margins, Volume
from .lone import LonePart
from .program import Program
from .stages import Stage

MAPS = ("a", "b", "e", "share", "s")


@dataclass(frozen=True)
class Contrast:
    """What the kernels know: the layer, the volumes x, v and of a map, and the rows of `kernel` and their length."""

    layer: LocalContrastNorm
    lanes: int
    x: Volume
    v: Volume
    map: Volume
    rows: int
    row: int

    @property
    def vector(self) -> Type:
        """The type of all values."""
        return Type("f32", self.lanes)

    def number(self, value: float) -> Value:
        """In every lane."""
        return constant(self.vector, value)

    def positions(self, f: Function) -> Iterator[tuple[Index, Index]]:
        """Each position."""
        with f.loop(self.map.height) as y, f.loop(self.map.width) as x:
            yield y, x

    @property
    def _boxes(self) -> Boxes:
        return Boxes(self.map, (1, self.rows, self.layer.size))

    def _tap(self, inside: Place) -> Value:
        """A weight; the rows of the kernel stand side by side in memory."""
        _, y, x = inside
        return splat(load(F32, "kernel", x * self.row + y if self.rows > 1 else x), self.lanes)

    def window_sum(self, f: Function, y: Index, x: Index, buffer: str) -> Value:
        """G of a map at a position."""

        def weighted(there: Place, inside: Place) -> Value:
            return self._tap(inside) * load(self.vector, buffer, self.map.at(*there))

        return self._boxes.total(f, (Index(), y, x), self.number(0.0), weighted)

    def weight_sum(self, f: Function, y: Index, x: Index) -> Value:
        """Of the window's positions that lie on the image."""
        return self._boxes.total(f, (Index(), y, x), self.number(0.0), lambda there, inside: self._tap(inside))

    def load(self, buffer: str, y: Index, x: Index) -> Value:
        """What a map holds."""
        return load(self.vector, buffer, self.map.at(0, y, x))

    def store(self, f: Function, buffer: str, y: Index, x: Index, value: Value) -> None:
        """Write to a map."""
        f.store(buffer, self.map.at(0, y, x), value)

    def over_channels(self, f: Function, y: Index, x: Index, buffer: str, volume: Volume, by_v: bool) -> Value:
        """The sum over channels of what a volume holds at a position, or of its products with v."""
        sum_ = f.variable(self.number(0.0))
        with f.loop(volume.channels) as c:
            value = load(self.vector, buffer, volume.at(c, y, x))
            f.set(sum_, sum_.value + (value * load(self.vector, "v", self.v.at(c, y, x)) if by_v else value))
        return sum_.value


def contrast(name: str, known: Contrast, y: Volume) -> Function:
    """`y`, `v`, `share`, `s` and the smallest divisor `c` from `x`."""
    f, vector = Function(name, ("x", "kernel", "y", "v", "c", *MAPS)), known.vector
    for i, j in known.positions(f):
        known.store(f, "a", i, j, known.over_channels(f, i, j, "x", known.x, by_v=False))
    for i, j in known.positions(f):
        weights = known.weight_sum(f, i, j) * known.number(known.v.channels)
        share = f.let(known.number(1.0) / weights)
        mean = f.let(known.window_sum(f, i, j, "a") * share)
        with f.loop(known.v.channels) as c:
            f.store("v", known.v.at(c, i, j), load(vector, "x", known.x.at(c, i, j)) - mean)
        known.store(f, "share", i, j, share)
        known.store(f, "b", i, j, known.over_channels(f, i, j, "v", known.v, by_v=True))
    sum_ = f.variable(known.number(0.0))
    for i, j in known.positions(f):
        deviation = f.let(root(known.window_sum(f, i, j, "b") * known.load("share", i, j)))
        known.store(f, "s", i, j, deviation)
        f.set(sum_, sum_.value + deviation)
    mean = sum_.value * known.number(1 / known.map.positions)
    smallest = f.let(known.number(known.layer.least) if known.layer.least else largest(mean, known.number(FLAT)))
    f.store("c", Index(), smallest)
    for i, j in known.positions(f):
        factor = f.let(known.number(1.0) / largest(smallest, known.load("s", i, j)))
        with f.loop(known.v.channels) as c:
            f.store("y", y.at(c, i, j), load(vector, "v", known.v.at(c, i, j)) * factor)
    return f


def contrast_back(name: str, known: Contrast, d: Volume, sink: Sink) -> Function:
    """The gradient for `x` from `dy`, into a sink."""
    f, vector = Function(name, ("dy", "kernel", "v", "c", *MAPS, *sink.buffers)), known.vector
    zero, smallest = known.number(0.0), f.let(load(vector, "c", Index()))
    rest = f.variable(zero)
    for i, j in known.positions(f):  # a: ds without the mean's part
        deviation = known.load("s", i, j)
        factor = f.let(known.number(1.0) / largest(smallest, deviation))
        change = f.let(zero - known.over_channels(f, i, j, "dy", d, by_v=True) * factor * factor)
        own = f.let(select(deviation > smallest, change, zero))
        f.set(rest, rest.value + change - own)
        known.store(f, "a", i, j, own)
    part = zero
    if not known.layer.least:
        mean = rest.value * known.number(1 / known.map.positions)
        part = f.let(select(smallest > known.number(FLAT), mean, zero))
    for i, j in known.positions(f):  # a: ds / (s r)
        deviation = f.let(known.load("s", i, j))
        ratio = (known.load("a", i, j) + part) / deviation * known.load("share", i, j)
        known.store(f, "a", i, j, select(deviation > zero, ratio, zero))
    for i, j in known.positions(f):  # b: G of it, e: the sum of dv over r
        factor = f.let(known.number(1.0) / largest(smallest, known.load("s", i, j)))
        window = f.let(known.window_sum(f, i, j, "a"))
        direct = known.over_channels(f, i, j, "dy", d, by_v=False) * factor
        whole = direct + known.over_channels(f, i, j, "v", known.v, by_v=False) * window
        known.store(f, "b", i, j, window)
        known.store(f, "e", i, j, whole * known.load("share", i, j))
    for i, j in known.positions(f):
        factor = f.let(known.number(1.0) / largest(smallest, known.load("s", i, j)))
        window, mean = f.let(known.load("b", i, j)), f.let(known.window_sum(f, i, j, "e"))
        with f.loop(known.v.channels) as c:
            direct = load(vector, "dy", d.at(c, i, j)) * factor
            sink.put(f, c, {(i, j): f.let(direct + load(vector, "v", known.v.at(c, i, j)) * window - mean)})
    return f


class ContrastPart(LonePart):
    """Local contrast normalization in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        layer, spatial = self.node.layer, stage.output.spatial
        assert isinstance(layer, LocalContrastNorm)  # noqa: S101
        rows = layer.size if len(spatial) == 2 else 1
        self.kernel = program.region(self.node, "kernel", rows, layer.size, trainable=False, met=True)
        v = program.arena.volume(stage.output)
        maps = {name: program.arena.volume(Shape(spatial, 1)) for name in MAPS}
        self.known = Contrast(layer, self.lanes, self.x, v, maps["a"], rows, self.kernel.padded)
        self.kept = {name: program.at(volume) for name, volume in maps.items()}
        self.kept |= {"v": program.at(v), "c": program.vectors(program.arena.take(1))}
        self.kept["kernel"] = self.kernel.at("weights")

    def forwards(self) -> None:
        """All steps of the formula."""
        self.forward_call(lambda name: contrast(name, self.known, self.y), self.kept)

    def backwards(self) -> None:
        """All steps back."""
        d = self.gradient()
        self.backward_into(lambda name, sink: contrast_back(name, self.known, d, sink), self.kept)
