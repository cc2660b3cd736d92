"""Losses of class numbers as kernels; `neocog/losses.py` has their formulas.

Each kernel takes the scores of a block `y`, a volume of one position, and puts their gradient into a sink. `labels` are
whole numbers, -1 in a lane without an image: such a lane adds nothing. `scale` holds what to multiply the gradient by,
one part in the number of images. Two vectors are added to `result`: losses, and 1 where the most probable class, the
first of equal ones, was the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from ..losses import SMALLEST, Map
from .elementary import absolute, exp, log, log1p
from .endings import Sink
from .expressions import F32, Index, Type, Value, both, constant, convert, largest, load, select, splat
from .jit import Machine
from .kernel import Function
from .layout import Volume

Side = float | None
"""The weight of a side output's loss; None for the network's own scores."""


class _Best(NamedTuple):
    """Of each image: the largest score, its class, and the score of the right class."""

    score: Value
    place: Value
    right: Value


class _Class(NamedTuple):
    """A class inside a loop: where its scores are, its number, its scores, and in which lanes it is the right one."""

    at: Index
    number: Value
    score: Value
    is_right: Value


class _Block:
    """What losses share: a function under construction with labels, scores, and where the results go.

    `falling` scores are penalties: their signs are turned as they are read, so that the largest is the best again.
    """

    def __init__(self, name: str, machine: Machine, y: Volume, sink: Sink, side: Side, falling: bool = False) -> None:
        self.f = Function(name, ("y", "labels", "scale", "result", *(b for b in sink.buffers if b != "y")))
        self.y, self.sink, self.side, self.falling = y, sink, side, falling
        self.vector, self.whole = Type("f32", machine.lanes), Type("i32", machine.lanes)
        self.zero, self.one = constant(self.vector, 0.0), constant(self.vector, 1.0)
        self.label = self.f.let(load(self.whole, "labels", Index()))
        self.there = self.f.let(self.label > constant(self.whole, -1))
        scale = splat(load(F32, "scale", Index()), machine.lanes)
        if side:
            scale = scale * constant(self.vector, side)
        self.share = self.f.let(select(self.there, scale, self.zero))

    def score(self, c: Index) -> Value:
        """The scores of a class."""
        held = load(self.vector, "y", self.y.at(c))
        return self.f.let(self.zero - held if self.falling else held)

    @contextmanager
    def classes(self, first: int = 0) -> Iterator[_Class]:
        """A loop over classes, which are numbered from `first`."""
        number = self.f.variable(constant(self.whole, first))
        with self.f.loop(self.y.channels) as c:
            yield _Class(c, number.value, self.score(c), self.f.let(number.value.equals(self.label)))
            self.f.set(number, number.value + constant(self.whole, 1))

    def best(self) -> _Best:
        """One pass over the scores."""
        f = self.f
        best, right = f.variable(self.score(Index())), f.variable(self.zero)
        place = f.variable(constant(self.whole, 0))
        with self.classes() as k:
            larger = f.let(k.score > best.value)
            f.set(place, select(larger, k.number, place.value))
            f.set(best, select(larger, k.score, best.value))
            f.set(right, select(k.is_right, k.score, right.value))
        return _Best(best.value, place.value, right.value)

    def add(self, loss: Value, place: Value) -> None:
        """Losses, and the classes that are thought right, into the results; of a side output only losses, by weight."""
        if self.side:
            loss = loss * constant(self.vector, self.side)
        hit = both(self.there, place.equals(self.label))
        for k, (mask, value) in enumerate(((self.there, loss), (hit, self.one))[: 1 if self.side else 2]):
            self.f.store("result", Index(k), load(self.vector, "result", Index(k)) + select(mask, value, self.zero))

    def put(self, c: Index, slope: Value) -> None:
        """A gradient for the scores of a class, as `score` gives them."""
        self.sink.put(self.f, c, {(Index(), Index()): self.zero - slope if self.falling else slope})


def cross_entropy(
    name: str, machine: Machine, y: Volume, sink: Sink, side: Side = None, smoothing: float = 0.0
) -> Function:
    """Softmax cross-entropy; of targets that are smoothed, (1 - s) t + s / K, with `smoothing` s above 0."""
    block = _Block(name, machine, y, sink, side)
    return _smoothed(block, smoothing) if smoothing else _softmax(block, None)


def _smoothed(block: _Block, smoothing: float) -> Function:
    """log(sum_i e^{y_i}) - (1 - s) y_D - s mean_i y_i, with every y taken from the largest: so it rounds least."""
    f, best, sum_, behind = block.f, block.best(), block.f.variable(block.zero), block.f.variable(block.zero)
    with block.classes() as k:
        f.set(sum_, sum_.value + exp(f, k.score - best.score))
        f.set(behind, behind.value + (best.score - k.score))
    own, others = (constant(block.vector, part) for part in (1 - smoothing, smoothing / block.y.channels))
    block.add(log(f, sum_.value) + own * (best.score - best.right) + others * behind.value, best.place)
    factor, held = f.let(block.share / sum_.value), f.let(block.share * others)
    right = f.let(block.share * own + held)
    with block.classes() as k:
        block.put(k.at, exp(f, k.score - best.score) * factor - select(k.is_right, right, held))
    return f


def maximum_a_posteriori(name: str, machine: Machine, y: Volume, sink: Sink, side: Side = None) -> Function:
    """The loss `map` of penalties: cross-entropy of -y, with one class of rubbish more, whose penalty is j."""
    return _softmax(_Block(name, machine, y, sink, side, falling=True), -Map.j)


def _softmax(block: _Block, rubbish: float | None) -> Function:
    """log(sum_i e^{y_i}) - y_D; the sum may have one more term, the score of a class that is never right."""
    f, best = block.f, block.best()
    top, sum_ = best.score, f.variable(block.zero)
    if rubbish is not None:
        constant_score = constant(block.vector, rubbish)
        top = f.let(largest(constant_score, top))
        f.set(sum_, exp(f, constant_score - top))
    with block.classes() as k:
        f.set(sum_, sum_.value + exp(f, k.score - top))
    block.add(log(f, sum_.value) + (top - best.right), best.place)  # the difference first: it rounds least
    factor = f.let(block.share / sum_.value)
    with block.classes() as k:
        block.put(k.at, exp(f, k.score - top) * factor - select(k.is_right, block.share, block.zero))
    return f


def sigmoid(name: str, machine: Machine, y: Volume, sink: Sink, side: Side = None) -> Function:
    """Sigmoid cross-entropy: log(1 + e^z) of each output, with z = -y for the right one and z = y for the others.

    So nothing is lost to rounding, however sure the outputs are. A single output is that of class 1, as against 0.
    """
    block = _Block(name, machine, y, sink, side)
    f, single = block.f, y.channels == 1
    place = block.best().place
    if single:
        one, none = (constant(block.whole, k) for k in (1, 0))
        place = select(block.score(Index()) > block.zero, one, none)
    loss = f.variable(block.zero)
    with block.classes(first=int(single)) as k:
        z = f.let(select(k.is_right, block.zero - k.score, k.score))
        small = f.let(exp(f, block.zero - absolute(z)))
        overflow = z - z  # infinite scores are no sure answers: then this is no number, and the loss shows it
        f.set(loss, loss.value + largest(block.zero, z) + log1p(f, small) + overflow)
        slope = f.let(select(z > block.zero, block.one, small) / (block.one + small) * block.share)
        block.put(k.at, select(k.is_right, block.zero - slope, slope))
    block.add(loss.value, place)
    return f


def squared(name: str, machine: Machine, y: Volume, sink: Sink, side: Side = None) -> Function:
    """Half the squared distance from the label's one-hot code; the label itself where there is one output."""
    block = _Block(name, machine, y, sink, side)
    f, place, loss = block.f, block.best().place, block.f.variable(block.zero)
    with block.classes() as k:
        target = convert(block.label, "f32") if y.channels == 1 else select(k.is_right, block.one, block.zero)
        off = f.let(k.score - target)
        f.set(loss, loss.value + constant(block.vector, 0.5) * off * off)
        block.put(k.at, off * block.share)
    block.add(loss.value, place)
    return f


def hinge(name: str, machine: Machine, y: Volume, sink: Sink, side: Side = None) -> Function:
    """By how much the right score's lead over each other one falls short of 1."""
    block = _Block(name, machine, y, sink, side)
    f, best = block.f, block.best()
    loss, broken = f.variable(block.zero), f.variable(block.zero)

    def short(k: _Class) -> Value:
        return f.let(select(k.is_right, block.zero, largest(block.zero, k.score - best.right + block.one)))

    with block.classes() as k:
        margin = short(k)
        f.set(loss, loss.value + margin)
        f.set(broken, broken.value + select(margin > block.zero, block.share, block.zero))
    with block.classes() as k:
        slope = select(short(k) > block.zero, block.share, block.zero)
        block.put(k.at, select(k.is_right, block.zero - broken.value, slope))
    block.add(loss.value, best.place)
    return f


def negative_log_likelihood(name: str, machine: Machine, y: Volume, sink: Sink, side: Side = None) -> Function:
    """Minus the logarithm of the right output, a probability; one that has rounded to nothing has no gradient."""
    block = _Block(name, machine, y, sink, side)
    f, best, smallest = block.f, block.best(), constant(block.vector, SMALLEST)
    held = f.let(largest(smallest, best.right))
    block.add(block.zero - log(f, held), best.place)
    slope = f.let(select(smallest > best.right, block.zero, block.share / held))
    with block.classes() as k:
        block.put(k.at, select(k.is_right, block.zero - slope, block.zero))
    return f


def kernel(loss: str, smoothing: float = 0.0) -> Callable[[str, Machine, Volume, Sink, Side], Function]:
    """The kernel of a loss; cross-entropy may be of smoothed targets."""
    return partial(cross_entropy, smoothing=smoothing) if smoothing else KERNELS[loss]


KERNELS: dict[str, Callable[[str, Machine, Volume, Sink, Side], Function]] = {
    "cross-entropy": cross_entropy,
    "sigmoid": sigmoid,
    "squared": squared,
    "hinge": hinge,
    "map": maximum_a_posteriori,
    "nll": negative_log_likelihood,
}
"""By the names of `neocog.losses.LOSSES`: from name, machine, scores, sink and weight to the kernel."""
