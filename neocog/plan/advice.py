"""Sizing rules that networks usually do well to follow, as advice: which layer departs from which, and what to try.

Each rule is a function in `RULES`, from a plan to the advice it has. Source of those without another: the sizing
patterns of Karpathy, "Convolutional neural networks: architectures", CS231n notes, Stanford, 2015 (fact M6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import clipped
from ..layer import Window
from .plan import Plan, Row
from .receptive_field import Field, through


class Advice(NamedTuple):
    """What a rule says about a layer; `at` is its place in the text, empty where the layer has none."""

    layer: str
    at: str
    rule: str
    text: str


def advice(plan: Plan) -> tuple[Advice, ...]:
    """All that the rules have to say, rule by rule and in the order of the layers."""
    return tuple(
        Advice(row.name, str(row.node.at or ""), rule.__name__.replace("_", "-"), text)
        for rule in RULES
        for row, text in rule(plan)
    )


def even_input(plan: Plan) -> Iterator[tuple[Row, str]]:
    """An input side can be halved as often as the layers halve it."""
    source = plan.rows[0]
    jumps = [int(axis.jump) for row in _spatial(plan) for axis in row.field if axis.jump and axis.jump >= 1]
    factor = max(jump & -jump for jump in jumps)  # the largest power of two that divides a jump
    if any(side % factor for side in source.output.spatial):
        yield source, f"the layers halve maps until they step {factor} pixels, which do not divide {source.output}"


def small_filters(plan: Plan) -> Iterator[tuple[Row, str]]:
    """Filters are 3x3, at most 5x5; only the first layer's are larger. A 1x7 has fewer weights than they have."""
    for row, window in _convolutions(plan):
        if math.prod(window.kernel) > 5 * 5:
            yield row, f"{_written(row)} has filters larger than 5x5, which only a first layer should have"


def same_size(plan: Plan) -> Iterator[tuple[Row, str]]:
    """Convolutions keep the size, with S=1 and P=(F-1)/2, and leave shrinking to the pooling; the first is free."""
    for row, window in _convolutions(plan):
        kept = zip(window.extent, window.padding, strict=True)
        if set(window.stride) != {1} or any(2 * padding != extent - 1 for extent, padding in kept):
            yield row, f"{row.inputs[0]} becomes {row.output} in {_written(row)}; S=1 and P=(F-1)/2 keep it"


def gentle_pooling(plan: Plan) -> Iterator[tuple[Row, str]]:
    """Pooling is 2x2 with S=2, or more rarely 3x3 with S=2; larger windows lose too much."""
    for row in _spatial(plan):
        window = row.node.layer.window(*row.inputs) if "POOL" in row.node.layer.op else None
        if window and max(window.kernel) > 3:
            yield row, f"{_written(row)} pools over more than 3x3 values; POOL2 loses less"


def stacked_filters(plan: Plan) -> Iterator[tuple[Row, str]]:
    """A stack of 3x3 filters sees as much as one large filter, with fewer weights and more non-linearities.

    Source: Simonyan and Zisserman, "Very deep convolutional networks", 2014, section 2.3.
    """
    for row, window in _convolutions(plan):
        size = window.kernel[0]
        if set(window.kernel) == {size} and size > 3 and size % 2 and set(window.stride + window.dilation) == {1}:
            count = (size - 1) // 2
            yield row, f"{count} convolutions with F=3 see as much as {_written(row)}, with fewer weights"


def halving(plan: Plan) -> Iterator[tuple[Row, str]]:
    """Maps shrink by 2, not faster; a first layer may, to save memory."""
    first = _first_window(plan)
    for row in _spatial(plan):
        window = row.node.layer.window(*row.inputs)
        if window and row is not first and max(window.stride) > 2:
            yield row, f"{_written(row)} shrinks its input {max(window.stride)} times at once; twice is gentler"


def field_of_view(plan: Plan) -> Iterator[tuple[Row, str]]:
    """The last maps see about the whole image: not a small part of it, and not several times as much.

    What they see at most counts against the first, what they see on the shortest way through all branches against
    the second: depth behind a shortcut or beside a 1x1 widens the theoretical field, but what is seen is mostly near
    the centre (Luo et al., "Understanding the effective receptive field", NIPS 2016).
    Source: Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", Distill 2019.
    """
    last = plan.last_map
    if not last.inputs:  # no layer looks further than another
        return
    sides = plan.rows[0].output.spatial
    seen, side = min(
        ((axis.size, side) for axis, side in zip(last.field, sides, strict=True)), key=lambda pair: pair[0] / pair[1]
    )
    if seen / side < FAR_LESS:
        yield (
            last,
            f"a position of the last maps sees {seen:g} of the image's {side} pixels along a side, and nothing larger "
            "as a whole; more layers, pooling or dilation widen the view",
        )
    near = [axis.size / side for axis, side in zip(_shortest(plan)[last.name], sides, strict=True)]
    if min(near) > FAR_MORE:
        yield (
            last,
            f"a position of the last maps sees {min(near):.1f} times a side of the image on its shortest way, most "
            "of it padding; fewer layers or a larger image may do as well",
        )


def _shortest(plan: Plan) -> dict[str, Field]:
    """What a position of each layer sees along the way through the branches on which it sees least."""
    found: dict[str, Field] = {}
    for row in plan.rows:
        before = min((found[name] for name in row.input_names), key=_extent, default=row.field)
        found[row.name] = through(before, row.node.layer.window(*row.inputs)) if row.inputs else row.field
    return found


def _extent(field: Field) -> float:
    return math.prod(axis.size for axis in field)


FAR_LESS, FAR_MORE = 1 / 3, 3
RULES: tuple[Callable[[Plan], Iterator[tuple[Row, str]]], ...] = (
    *(even_input, small_filters, same_size, gentle_pooling, stacked_filters, halving, field_of_view),
)


def _spatial(plan: Plan) -> list[Row]:
    """INPUT and the layers that still give maps, not single positions."""
    return [row for row in plan.rows if not row.inputs or row.output.positions > 1]


def _first_window(plan: Plan) -> Row | None:
    return next((row for row in plan.rows if row.inputs and row.node.layer.window(*row.inputs)), None)


def _convolutions(plan: Plan) -> Iterator[tuple[Row, Window]]:
    """The convolutions after the first layer with a window, which may be large."""
    first = _first_window(plan)
    for row in _spatial(plan):
        window = row.node.layer.window(*row.inputs) if row.node.layer.op == "CONV" else None
        if window and row is not first:
            yield row, window


def _written(row: Row) -> str:
    return clipped(row.node.layer.token, 40)
