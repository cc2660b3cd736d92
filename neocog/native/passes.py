"""Kernels beside the products: loading images, packing weights, adding up what groups hold."""

from __future__ import annotations

from ..layer import Shape
from .endings import Sink
from .expressions import F32, Index, Type, constant, load, load_from, total
from .jit import Machine
from .kernel import Function
from .layout import COLUMNS, Volume, extent, rows_of
from .weight_gradient import transposed


def load_images(name: str, machine: Machine, shape: Shape, volume: Volume) -> Function:
    """Images `x`, one after the other as (C, H, W), into a volume `y` where they stand side by side in the lanes."""
    f = Function(name, ("x", "y"))
    vector, lanes = Type("f32", machine.lanes), machine.lanes
    height, width = extent(shape)
    with f.loop(shape.channels) as c, f.loop(height) as y:
        start = c * (height * width) + y * width
        for first in range(0, width - lanes + 1, lanes) if lanes > 1 else ():
            _square(f, vector, start + first, shape.elements, volume.at(c, y, first))
        if width >= lanes and width % lanes:  # the last square of a row overlaps the one before it
            _square(f, vector, start + (width - lanes), shape.elements, volume.at(c, y, width - lanes))
        if width < lanes or lanes == 1:
            with f.loop(width) as x, f.loop(lanes) as image:
                f.store("y", volume.at(c, y, x) * lanes + image, load(F32, "x", image * shape.elements + start + x))
    return f


def _square(f: Function, vector: Type, start: Index, image: int, to: Index) -> None:
    rows = [f.let(load_from(vector, "x", start + k * image)) for k in range(vector.lanes)]
    for k, row in enumerate(transposed(f, rows)):
        f.store("y", to + k, row)


def put_all(name: str, machine: Machine, d: Volume, sink: Sink) -> Function:
    """A volume `d` of gradients into a sink, which may store in `d` itself."""
    f = Function(name, tuple(dict.fromkeys(("d", *sink.buffers))))
    vector = Type("f32", machine.lanes)
    with f.loop(d.channels) as c:
        for y, columns in rows_of(f, d):
            sink.put(f, c, {(y, x): f.let(load(vector, "d", d.at(c, y, x))) for x in columns})
    return f


def clear(name: str, machine: Machine, vectors: int) -> Function:
    """Zeros in `y`."""
    f = Function(name, ("y",))
    _zeros(f, machine.lanes, Index(), vectors)
    return f


def clear_margins(name: str, machine: Machine, volume: Volume) -> Function:
    """Zeros around a volume `y`."""
    f = Function(name, ("y",))
    with f.loop(volume.channels) as c:
        clear_around(f, machine.lanes, volume, c)
    return f


def clear_around(f: Function, lanes: int, volume: Volume, channel: Index) -> None:
    """Zeros around one channel of the volume `y`. What lies between two rows is one run."""
    end = (volume.height - 1) * volume.row + volume.width
    _zeros(f, lanes, volume.at(channel) - volume.before, volume.before)
    with f.loop(volume.height - 1) as y:
        _zeros(f, lanes, volume.at(channel, y, volume.width), volume.row - volume.width)
    _zeros(f, lanes, volume.at(channel) + end, volume.plane - volume.before - end)


def _zeros(f: Function, lanes: int, start: Index, count: int) -> None:
    zero = constant(Type("f32", lanes), 0.0)
    if count <= COLUMNS:
        for place in range(count):
            f.store("y", start + place, zero)
    else:
        with f.loop(count) as k:
            f.store("y", start + k, zero)


def sum_lanes(name: str, machine: Machine, count: int, row: int, group: int) -> Function:
    """Sums of every group, added up over groups and lanes, into gradients.

    `sums` holds rows of `count` vectors, `dw` of the first group rows of `row` numbers; groups take `group` vectors.
    Numbers: the first row, the row after the last, and how many groups there are.
    """
    f = Function(name, ("sums", "dw"), ("first", "last", "groups"))
    vector = Type("f32", machine.lanes)
    with f.loop(f.number("last"), f.number("first")) as i, f.loop(count) as k:
        sum_ = f.variable(constant(vector, 0.0))
        with f.loop(f.number("groups")) as g:
            f.set(sum_, sum_.value + load(vector, "sums", g * group + i * count + k))
        f.store("dw", i * row + k, total(sum_.value))
    return f


def mask(name: str, machine: Machine, group: int) -> Function:
    """Gradients `dw` of every group become zero where `there` is: weights that a layer does not have.

    Numbers: the first vector, the one after the last, and how many groups there are, each `group` vectors long.
    """
    f = Function(name, ("dw", "there"), ("first", "last", "groups"))
    vector = Type("f32", machine.lanes)
    with f.loop(f.number("last"), f.number("first")) as k, f.loop(f.number("groups")) as g:
        f.store("dw", g * group + k, load(vector, "dw", g * group + k) * load(vector, "there", k))
    return f


def sum_losses(name: str, machine: Machine, group: int) -> Function:
    """The losses and hits in `result` of every group as two sums into `out`. Number: how many groups there are."""
    f = Function(name, ("result", "out"), ("groups",))
    vector = Type("f32", machine.lanes)
    for k in range(2):
        sum_ = f.variable(constant(vector, 0.0))
        with f.loop(f.number("groups")) as g:
            f.set(sum_, sum_.value + load(vector, "result", g * group + k))
        f.store("out", Index(k), total(sum_.value))
    return f


def store_scores(name: str, machine: Machine, y: Volume) -> Function:
    """The scores of a block, (K, lanes), without the gaps that the volume may have."""
    f = Function(name, ("y", "scores"))
    with f.loop(y.channels) as c:
        f.store("scores", c, load(Type("f32", machine.lanes), "y", y.at(c)))
    return f
