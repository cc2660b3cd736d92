r"""Spatial pyramid pooling: the largest value of every bin of n x n grids over the whole volume, as one vector.

    y[n, level l, c, i, j] = max over p,q of  x[n,c,p,q]
                             floor(i H/n_l) <= p < ceil((i+1) H/n_l),  floor(j W/n_l) <= q < ceil((j+1) W/n_l)

| letter | meaning                                              | default  |
|--------|------------------------------------------------------|----------|
| LEVELS | bins along an axis, a number for each level: `4,2,1` | required |

Shapes: x (N, C, H, W) of any size -> y (N, C * sum of n*n, 1, 1), whatever H and W (fact P4); on a 1-D volume the sum
of n. The vector holds the levels in the order written; within a level the channels, within a channel the bins by
rows. Where n does not divide H neighbouring bins share a row, as torch's adaptive pooling has it.

Gradient: dx collects each dy at the value that won its bin, the first on ties (fact P2).

Source: He, Zhang, Ren and Sun, "Spatial pyramid pooling in deep convolutional networks", 2014, arXiv 1406.4729.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Pass, Shape, Window
from ..spelling import COUNTS, Dims, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SpatialPyramid(Layer):
    """A vector of one length from volumes of any size: `SPP(4, 2, 1)`."""

    op: ClassVar[str] = "SPP"
    levels: Dims = setting("LEVELS", COUNTS, position="arg")

    examples = (
        Example("SPP(4, 2, 1)", "8x8x2"),
        Example("SPP(3, 2)", "5x7x2"),
        Example("SPP(1)", "3x4x2"),
        Example("SPP(4)", "2x3x1"),
        Example("SPP(3, 1)", "7x2"),
    )
    bad_examples = (
        BadExample("SPP", says="SPP needs LEVELS"),
        BadExample("SPP(2, 0)", says="whole numbers from 1"),
        BadExample("SPP4", says="takes no '4' there"),
    )

    def output_shape(self, *inputs: Shape) -> Shape:
        """C values for each bin of each level, at one position."""
        (x,) = inputs
        return x.vector(x.channels * sum(n**x.rank for n in self.levels))

    def cost(self, *inputs: Shape) -> Cost:
        """Each bin is connected to the values it holds; one switch a bin is kept."""
        (x,) = inputs
        taps = sum(math.prod(_held(size, n) for size in x.spatial) for n in self.levels)
        return Cost(connections=taps * x.channels, kept=self.output_shape(x).elements)

    def window(self, *inputs: Shape) -> Window:
        """The whole input."""
        return Window.over(inputs[0])

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, C * bins, 1, ...)."""
        (x,) = xs
        pooled, switches = [], []
        for level in self.levels:
            bins = [x[where].reshape(*x.shape[:2], -1) for where in _bins(x.shape[2:], level)]
            pooled.append(np.stack([values.max(axis=2) for values in bins], axis=2).reshape(len(x), -1))
            switches.append([values.argmax(axis=2) for values in bins])
        y = np.concatenate(pooled, axis=1)
        return y.reshape(*y.shape, *(1,) * (x.ndim - 2)), (x.shape, switches)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Each dy goes to the value that won its bin."""
        shape, switches = cache
        dx = np.zeros(shape)
        ends = np.cumsum([shape[1] * len(level) for level in switches])[:-1]
        for level, won, part in zip(self.levels, switches, np.split(dy, ends, axis=1), strict=True):
            dbins = part.reshape(*shape[:2], -1)  # (N, C, bins)
            for k, where in enumerate(_bins(shape[2:], level)):
                inside = np.zeros((*shape[:2], dx[where][0, 0].size))
                np.put_along_axis(inside, won[k][..., None], dbins[..., k, None], axis=2)
                dx[where] += inside.reshape(dx[where].shape)
        return (dx,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input and a 64-bit switch for each output; each level's gradient is as large as the input."""
        y = self.output_shape(*inputs)
        backward = run.volume(*inputs) if len(self.levels) > 1 else 0
        return Footprint(keeps_input=True, extra=8 * run.images * y.elements, forward=run.volume(y), backward=backward)

    def module(self, *inputs: Shape) -> nn.Module:
        """Adaptive max pooling for each level."""
        from . import _modules

        return _modules.SpatialPyramid(self.levels, inputs[0].rank)


def _edges(size: int, bins: int) -> list[tuple[int, int]]:
    """Where each bin begins and ends along an axis: floor(i H/n), ceil((i+1) H/n)."""
    return [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]


def _held(size: int, bins: int) -> int:
    """How many values all bins along an axis hold together; shared ones count twice.

    Of the n - 1 edges between bins, gcd(H, n) - 1 fall between two values; at each other one a value is shared.
    """
    return size + bins - math.gcd(size, bins)


def _bins(size: Dims, bins: int) -> Iterator[tuple[slice, ...]]:
    """The part of the array that each bin holds, by rows."""
    for edges in product(*(_edges(n, bins) for n in size)):
        yield (slice(None), slice(None), *(slice(*edge) for edge in edges))
