"""Group normalization: in a vector each lane is an image, so its statistics are vectors, and nothing couples images.

Backwards, with h = (x - m) / sqrt(v + eps) and means over a group:

    dx = (w dy - mean(w dy) - h mean(w dy h)) / sqrt(v + eps)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..layers.groupnorm import GroupNorm
from .batch_norm import column_sums, total_of
from .endings import Sink
from .expressions import F32, Access, Index, Type, Value, constant, load, root, splat
from .kernel import Function
from .layout import Margins, Volume, rows_of
from .lone import LonePart
from .program import Program
from .stages import Stage


class Groups:
    """What the kernels share: the volume's groups of channels, and buffers `mean` and `inverse` of each group."""

    def __init__(self, lanes: int, layer: GroupNorm, x: Volume) -> None:
        self.lanes, self.layer, self.x, self.vector = lanes, layer, x, Type("f32", lanes)
        self.channels = x.channels // layer.groups
        self.share = constant(self.vector, 1 / (self.channels * x.positions))
        self.zero = constant(self.vector, 0.0)
        self.affine = ("weight", "bias") if layer.affine else ()

    def channels_of(self, f: Function, group: Index) -> Iterator[Index]:
        """The channels of a group."""
        with f.loop(self.channels) as k:
            yield group * self.channels + k

    def weight(self, f: Function, c: Index) -> Value:
        """Of a channel."""
        return f.let(splat(load(F32, "weight", c), self.lanes)) if self.layer.affine else constant(self.vector, 1.0)

    def mean(self, f: Function, group: Index, of: Callable[[Value], Value]) -> Value:
        """Over a group, of what is made of each value: several sums, which do not wait for each other."""
        sums = column_sums(f, self.vector)
        for c in self.channels_of(f, group):
            for y, columns in rows_of(f, self.x):
                for sum_, column in zip(sums, columns, strict=False):
                    f.set(sum_, sum_.value + of(f.let(load(self.vector, "x", self.x.at(c, y, column)))))
        return f.let(total_of(sums) * self.share)

    def known(self, f: Function, group: Index) -> tuple[Value, Value]:
        """Mean and inverse deviation of a group."""
        mean, inverse = (f.let(load(self.vector, buffer, group)) for buffer in ("mean", "inverse"))
        return mean, inverse


def normalise(name: str, lanes: int, layer: GroupNorm, x: Volume, y: Volume) -> Function:
    """`y`, `mean` and `inverse` from `x`."""
    groups = Groups(lanes, layer, x)
    f, vector = Function(name, ("x", "y", "mean", "inverse", *groups.affine)), groups.vector
    with f.loop(layer.groups) as g:
        mean = groups.mean(f, g, lambda value: value)

        def squared(value: Value, mean: Value = mean) -> Value:
            off = f.let(value - mean)
            return off * off

        variance = groups.mean(f, g, squared)
        inverse = f.let(constant(vector, 1.0) / root(variance + constant(vector, layer.eps)))
        f.store("mean", g, mean)
        f.store("inverse", g, inverse)
        for c in groups.channels_of(f, g):
            scale = f.let(inverse * groups.weight(f, c))
            shift = splat(load(F32, "bias", c), lanes) if layer.affine else groups.zero
            shift = f.let(shift)
            for i, columns in rows_of(f, x):
                for j in columns:
                    f.store("y", y.at(c, i, j), (load(vector, "x", x.at(c, i, j)) - mean) * scale + shift)
    return f


def normalise_back(name: str, lanes: int, layer: GroupNorm, x: Volume, d: Volume, sink: Sink) -> Function:
    """The gradient for `x` into a sink, from `dy`; those of weight and bias are added to their vectors of sums."""
    groups = Groups(lanes, layer, x)
    grads = tuple(f"d_{word}" for word in groups.affine)
    known = ("x", "dy", "mean", "inverse", *groups.affine[:1])
    f, vector = Function(name, (*known, *grads, *sink.buffers)), groups.vector
    with f.loop(layer.groups) as g:
        mean, inverse = groups.known(f, g)
        sum_, product = f.variable(groups.zero), f.variable(groups.zero)
        for c in groups.channels_of(f, g):
            own = _sums(f, groups, d, c, mean)
            normal = f.let(own[1] * inverse)
            for buffer, value in zip(grads, (normal, own[0]), strict=False):
                f.store(buffer, c, load(vector, buffer, c) + value)
            weight = groups.weight(f, c)
            f.set(sum_, sum_.value + weight * own[0])
            f.set(product, product.value + weight * normal)
        offset = f.let(sum_.value * groups.share * inverse)
        slope = f.let(product.value * groups.share * inverse * inverse)
        for c in groups.channels_of(f, g):
            scale = f.let(groups.weight(f, c) * inverse)
            for i, columns in rows_of(f, x):
                values = {}
                for j in columns:
                    off = load(vector, "x", x.at(c, i, j)) - mean
                    values[i, j] = f.let(load(vector, "dy", d.at(c, i, j)) * scale - offset - off * slope)
                sink.put(f, c, values)
    return f


def _sums(f: Function, groups: Groups, d: Volume, c: Index, mean: Value) -> tuple[Value, Value]:
    """Of a channel: the gradient, and its product with x - mean."""
    sum_, product, vector = f.variable(groups.zero), f.variable(groups.zero), groups.vector
    for i, columns in rows_of(f, d):
        for j in columns:
            dy = f.let(load(vector, "dy", d.at(c, i, j)))
            f.set(sum_, sum_.value + dy)
            f.set(product, product.value + dy * (load(vector, "x", groups.x.at(c, i, j)) - mean))
    return sum_.value, product.value


class GroupNormPart(LonePart):
    """Group normalization in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(self.node.layer, GroupNorm)  # noqa: S101
        self.layer = self.node.layer
        for name in ("weight", "bias") if self.layer.affine else ():
            self.own(name, self.x.channels)
        self.mean, self.inverse = (program.vectors(program.arena.take(self.layer.groups)) for _ in range(2))

    @property
    def _statistics(self) -> dict[str, Access]:
        return {"mean": self.mean, "inverse": self.inverse}

    def forwards(self) -> None:
        """Statistics, then values."""
        self.forward_call(lambda name: normalise(name, self.lanes, self.layer, self.x, self.y), self._statistics)

    def backwards(self) -> None:
        """Sums, then gradients."""
        d = self.gradient()
        self.backward_into(
            lambda name, sink: normalise_back(name, self.lanes, self.layer, self.x, d, sink), self._statistics
        )
