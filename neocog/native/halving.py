"""Volumes and weights as pairs of bfloat16, for products at twice the rate (AVX512_BF16).

Volumes and master weights stay in single precision; what a product multiplies is rounded just before, and sums are
single precision again. Gathers add up over channels, so their operands are pairs of channels; the gradient of weights
adds up over images, so there it is pairs of images.
"""

from __future__ import annotations

from .expressions import Index, Type, Value, constant, load, neighbours, pair
from .kernel import Function
from .layout import COLUMNS, Volume, along


def halved_words(x: Volume, lanes: int) -> int:
    """What a volume takes in pairs, of either kind."""
    return -(-x.channels // 2) * x.plane * lanes


def pair_channels(name: str, lanes: int, x: Volume) -> Function:
    """`x` into `pairs`, planes of two channels each; an odd last one is paired with zeros."""
    f = Function(name, ("x", "pairs"))
    vector = Type("f32", lanes)

    def at(channel: Index, k: Index) -> Value:
        return load(vector, "x", channel * x.plane + k)

    with f.loop(x.channels // 2) as c:
        for first, count in along(f, x.plane, COLUMNS):
            for k in range(count):
                f.store("pairs", c * x.plane + first + k, pair(at(2 * c, first + k), at(2 * c + 1, first + k)))
    if x.channels % 2:
        last = Index(x.channels - 1)
        with f.loop(x.plane) as place:
            f.store("pairs", place + x.channels // 2 * x.plane, pair(at(last, place), constant(vector, 0.0)))
    return f


def pair_images(name: str, lanes: int, x: Volume) -> Function:
    """`x` into `pairs`: at each place half a vector, two images in each of its lanes."""
    f = Function(name, ("x", "pairs"))
    with f.loop(x.channels) as c:
        for first, count in along(f, x.plane, COLUMNS):
            for k in range(count):
                place = c * x.plane + first + k
                f.store("pairs", place, neighbours(load(Type("f32", lanes), "x", place)))
    return f
