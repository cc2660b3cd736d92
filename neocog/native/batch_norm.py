r"""Batch normalization over blocks of images that run apart.

Each block stores the mean and the sum of squared deviations of a channel in each lane. When all blocks have, threads
meet and put them together (Chan, Golub and LeVeque, 1983, for equal counts), so that no sum of large numbers cancels:

    m = mean of the means,   n v = sum of (deviations + n_b (m_b - m)^2)
    scale = g / sqrt(v + eps),   shift = b - m scale

Backwards each block sums the gradient and its product with x - m, which is done where the gradient is computed
(`blending.Unblend`), and the meeting makes of these

    db = sum dy,   dg = sum dy (x - m) / sqrt(v + eps),   dx = scale dy + slope x + offset

which is the formula of `layers/batchnorm.py` sorted by powers of x. Lanes without an image are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from operator import add

from ..layers.batchnorm import BatchNorm
from ..network import Node
from . import passes
from .endings import Sink
from .expressions import F32, Access, Index, Type, Value, Variable, constant, largest, load, root, select, splat, total
from .kernel import Function
from .layout import COLUMNS, Volume, rows_of
from .program import Call, Meeting, Program, Region

HERE = Index()


def moments(name: str, lanes: int, x: Volume) -> Function:
    """Of each channel of `x`: vectors `mean` and `squares`, the sum of squared deviations from it."""
    f = Function(name, ("x", "mean", "squares"))
    with f.loop(x.channels) as c:
        share = constant(Type("f32", lanes), 1 / x.positions)
        mean = f.let(_summed(f, lanes, x, c, lambda value: value) * share)
        f.store("mean", c, mean)

        def squared(value: Value, mean: Value = mean) -> Value:
            off = f.let(value - mean)
            return off * off

        f.store("squares", c, _summed(f, lanes, x, c, squared))
    return f


def _summed(f: Function, lanes: int, x: Volume, c: Index, of: Callable[[Value], Value]) -> Value:
    """The sum over positions of what is made of each value."""
    vector = Type("f32", lanes)
    sums = column_sums(f, vector)
    for y, columns in rows_of(f, x):
        for sum_, column in zip(sums, columns, strict=False):
            f.set(sum_, sum_.value + of(f.let(load(vector, "x", x.at(c, y, column)))))
    return total_of(sums)


def column_sums(f: Function, vector: Type) -> list[Variable]:
    """A sum for each of the columns that a kernel has in hand at once, so that they do not wait for each other."""
    return [f.variable(constant(vector, 0.0)) for _ in range(COLUMNS)]


def total_of(sums: list[Variable]) -> Value:
    """Those sums together."""
    return reduce(add, (sum_.value for sum_ in sums))


def meet(name: str, stride: int, lanes: int, positions: int, layer: BatchNorm) -> Function:
    """What all blocks together say of each channel: `scale`, `shift`, `mean` and `inverse` deviation.

    Moves the running statistics. `stride` is vectors from one block's memory to the next.
    """
    affine = ("weight", "bias") if layer.affine else ()
    kept = ("scale", "shift", "mean", "inverse", "running_mean", "running_var")
    f = Function(name, ("means", "squares", "labels", *affine, *kept), ("first", "last", "blocks"))
    vector = Type("f32", lanes)
    with f.loop(f.number("last"), f.number("first")) as c:
        count, sum_, squares = (f.variable(constant(vector, 0.0)) for _ in range(3))
        with f.loop(f.number("blocks")) as b:
            f.set(count, count.value + present(lanes, b, constant(vector, 1.0)))
            f.set(sum_, sum_.value + present(lanes, b, load(vector, "means", b * stride + c)))
        images = f.let(total(count.value))
        mean = f.let(total(sum_.value) / images)
        with f.loop(f.number("blocks")) as b:
            off = f.let(load(vector, "means", b * stride + c) - splat(mean, lanes))
            whole = load(vector, "squares", b * stride + c) + off * off * constant(vector, positions)
            f.set(squares, squares.value + present(lanes, b, whole))
        values = f.let(images * constant(F32, positions))
        variance = f.let(total(squares.value) / values)
        f.store("mean", c, mean)
        _factors(f, c, mean, variance, layer)
        _move(f, c, "running_mean", mean, layer.momentum)
        one = constant(F32, 1.0)
        _move(f, c, "running_var", variance * values / largest(values - one, one), layer.momentum)
    return f


def _factors(f: Function, c: Index, mean: Value, variance: Value, layer: BatchNorm) -> None:
    """Scale and shift of a channel."""
    inverse = f.let(constant(F32, 1.0) / root(variance + constant(F32, layer.eps)))
    scale = f.let(load(F32, "weight", c) * inverse) if layer.affine else inverse
    start = load(F32, "bias", c) if layer.affine else constant(F32, 0.0)
    f.store("inverse", c, inverse)
    f.store("scale", c, scale)
    f.store("shift", c, start - mean * scale)


def _move(f: Function, c: Index, statistic: str, to: Value, momentum: float) -> None:
    before = load(F32, statistic, c) * constant(F32, 1 - momentum)
    f.store(statistic, c, before + to * constant(F32, momentum))


def present(lanes: int, block: Index, value: Value) -> Value:
    """The value in lanes that hold an image of this block, else 0."""
    label = load(Type("i32", lanes), "labels", block)
    return select(label > constant(Type("i32", lanes), -1), value, constant(Type("f32", lanes), 0.0))


def from_running(name: str, channels: int, layer: BatchNorm) -> Function:
    """Scale and shift as prediction has them: by the running statistics."""
    affine = ("weight", "bias") if layer.affine else ()
    f = Function(name, (*affine, "running_mean", "running_var", "scale", "shift", "inverse"))
    with f.loop(channels) as c:
        _factors(f, c, f.let(load(F32, "running_mean", c)), f.let(load(F32, "running_var", c)), layer)
    return f


def meet_back(name: str, stride: int, lanes: int, positions: int, layer: BatchNorm) -> Function:
    """Gradients of weight and bias, and `slope` and `offset` of that for x, from all blocks' sums."""
    grads = ("d_weight", "d_bias") if layer.affine else ()
    known = ("sums", "products", "labels", "mean", "inverse", "scale")
    f = Function(name, (*known, *grads, "slope", "offset"), ("first", "last", "blocks"))
    vector = Type("f32", lanes)
    with f.loop(f.number("last"), f.number("first")) as c:
        count, sum_, product = (f.variable(constant(vector, 0.0)) for _ in range(3))
        with f.loop(f.number("blocks")) as b:
            f.set(count, count.value + present(lanes, b, constant(vector, 1.0)))
            f.set(sum_, sum_.value + load(vector, "sums", b * stride + c))
            f.set(product, product.value + load(vector, "products", b * stride + c))
        values = f.let(total(count.value) * constant(F32, positions))
        all_, inverse = f.let(total(sum_.value)), f.let(load(F32, "inverse", c))
        normal = f.let(total(product.value) * inverse)  # the sum of dy times the normalised value
        scale = f.let(load(F32, "scale", c))
        slope = f.let(constant(F32, 0.0) - scale * inverse * normal / values)
        if layer.affine:
            f.store("d_weight", c, normal)
            f.store("d_bias", c, all_)
        f.store("slope", c, slope)
        f.store("offset", c, constant(F32, 0.0) - scale * all_ / values - slope * load(F32, "mean", c))
    return f


def spread(name: str, lanes: int, x: Volume, d: Volume, sink: Sink) -> Function:
    """The gradient for `x` from that for the normalised volume, `dy`, into a sink."""
    f = Function(name, ("dy", "x", "labels", "scale", "slope", "offset", *sink.buffers))
    vector = Type("f32", lanes)
    with f.loop(x.channels) as c:
        scale, slope, offset = (f.let(splat(load(F32, word, c), lanes)) for word in ("scale", "slope", "offset"))
        slope, offset = (f.let(present(lanes, HERE, value)) for value in (slope, offset))
        for y, columns in rows_of(f, x):
            gradients = {}
            for column in columns:
                by_value = load(vector, "x", x.at(c, y, column)) * slope + offset
                gradients[y, column] = f.let(load(vector, "dy", d.at(c, y, column)) * scale + by_value)
            sink.put(f, c, gradients)
    return f


class Norm:
    """One batch normalization in a program: its parameters, and where its numbers lie."""

    def __init__(self, program: Program, node: Node, x: Volume) -> None:
        assert isinstance(node.layer, BatchNorm)  # noqa: S101
        self.program, self.layer, self.x = program, node.layer, x
        self.lanes = program.machine.lanes
        owned = {
            name: self._region(node, name) for name in node.layer.parameters(program.network.shapes[node.inputs[0]])
        }
        self.weight, self.bias = owned.get("weight"), owned.get("bias")
        self.running = {name: owned[name].at("weights") for name in ("running_mean", "running_var")}
        self.scale, self.shift, self.mean, self.inverse, self.slope, self.offset = program.coefficient_rows(
            6, x.channels
        )
        self.means, self.squares = (program.vectors(program.arena.take(x.channels)) for _ in range(2))
        self.sums = program.arena.take(2 * x.channels)  # of the gradient, then of its products

    def _region(self, node: Node, name: str) -> Region:
        trainable = name in ("weight", "bias")
        return self.program.region(node, name, 1, self.x.channels, met=True, trainable=trainable)

    @property
    def _affine(self) -> dict[str, Access]:
        if self.weight is None or self.bias is None:
            return {}
        return {"weight": self.weight.at("weights"), "bias": self.bias.at("weights")}

    def measure(self) -> None:
        """Each block's moments, where training needs them, and the factors that prediction uses."""
        function = self.program.add("moments", lambda name: moments(name, self.lanes, self.x))
        places = {"x": self.program.at(self.x), "mean": self.means, "squares": self.squares}
        self.program.forward.append(Call(function, places, training=True))
        running = self.program.add("running", lambda name: from_running(name, self.x.channels, self.layer))
        places = self._affine | self.running | {"scale": self.scale, "shift": self.shift, "inverse": self.inverse}
        self.program.prepared.append(Call(running, places))

    def meet(self) -> None:
        """All blocks' moments become factors."""
        places = {"means": self.means, "squares": self.squares, "labels": Access("labels", HERE), "mean": self.mean}
        places |= {"scale": self.scale, "shift": self.shift, "inverse": self.inverse} | self._affine | self.running
        self.program.forward.append(self._meeting(meet, places))

    def clear_sums(self) -> None:
        """Zeros where kernels add up on the way back."""
        vectors = 2 * self.x.channels
        function = self.program.add("clear", lambda name: passes.clear(name, self.program.machine, vectors))
        self.program.backward.append(Call(function, {"y": self._sums(0)}))

    def _sums(self, channel: int) -> Access:
        return self.program.vectors(self.sums + channel)

    def places_back(self, k: int, channel: int) -> dict[str, Access]:
        """What the sums of term k of a blend need, from a channel on."""
        rows = {"mean": self.mean, "scale": self.scale, "shift": self.shift}
        places = {word: row._replace(at=row.at + channel) for word, row in rows.items()}
        places |= {"sum": self._sums(channel), "product": self._sums(self.x.channels + channel)}
        return {f"{word}{k}": place for word, place in places.items()}

    def meet_back(self) -> None:
        """All blocks' sums become gradients."""
        places = {"sums": self._sums(0), "products": self._sums(self.x.channels), "labels": Access("labels", HERE)}
        places |= {"mean": self.mean, "inverse": self.inverse, "scale": self.scale}
        places |= {"slope": self.slope, "offset": self.offset}
        if self.weight and self.bias:
            places["d_weight"] = self.weight.at("gradients")
            places["d_bias"] = self.bias.at("gradients")
        self.program.backward.append(self._meeting(meet_back, places))

    def _meeting(self, kernel: Callable[..., Function], places: dict[str, Access]) -> Meeting:
        build = partial(kernel, lanes=self.lanes, positions=self.x.positions, layer=self.layer)
        return Meeting(build, places, self.x.channels)

    def spread_places(self, x: Access, dy: Access) -> dict[str, Access]:
        """The buffers of `spread`, without those of the sink."""
        known = {"scale": self.scale, "slope": self.slope, "offset": self.offset}
        return known | {"x": x, "dy": dy, "labels": Access("labels", HERE)}
