r"""Random numbers that depend on nothing but where they are used, so that no order of computing changes them.

    u(image, position) = (h >> 8) / 2^24,   h = mix(mix(position ^ b) ^ mix(image ^ a))

`image` is the image's number in the batch and `position` that of the value in its volume, channel after channel. The
two words a and b are drawn anew for every layer of every step from (seed, step, layer), where layers that draw are
counted from 0. So u is one of 2^24 numbers from 0 to less than 1, which single precision holds.

mix changes each bit of 32 with a probability near 1/2 for every bit that its argument changes, and is invertible:

    x ^= x >> 16;  x *= 0x7feb352d;  x ^= x >> 15;  x *= 0x846ca68b;  x ^= x >> 16

Sources: counters in place of a state, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; mix is
`lowbias32` of Wellons, "Prospecting for hash functions", 2018. The words are those of `np.random.SeedSequence`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layer import Array

SHIFTS = (16, 15, 16)
FACTORS = (0x7FEB352D, 0x846CA68B)
BITS = 24
"""Of a hash, the highest, which become u."""

Words = NDArray[np.uint32]


def words(seed: int, step: int, layer: int) -> Words:
    """The two words a, b of a layer in a step."""
    return np.random.SeedSequence((seed, step, layer)).generate_state(2).astype(np.uint32)


def mixed(x: Words) -> Words:
    """`mix` of each number."""
    for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return x


def uniform(images: Words, positions: Words, first: np.uint32, second: np.uint32) -> Array:
    """u for each image (N,) and position (P,), by two words: (N, P)."""
    h = mixed(mixed(positions ^ second) ^ mixed(images ^ first)[:, None])
    u: Array = (h >> np.uint32(32 - BITS)) / 2.0**BITS
    return u


def symmetric_beta(u: Array, alpha: float) -> Array:
    """Numbers of the distribution Beta(alpha, alpha) from even ones: its quantiles, by a table.

    Below 1/2 the distribution function is an integral of x^(alpha-1) (1-x)^(alpha-1), for alpha below 1 taken over
    s = x^alpha, so that nothing is infinite at 0. Above 1/2 it is the mirror image.
    """
    power = min(alpha, 1.0)
    s = np.linspace(0, 0.5**power, 4097)
    x = s ** (1 / power)
    density = x ** (alpha - power) * (1 - x) ** (alpha - 1)
    below = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    low = np.interp(np.minimum(u, 1 - u), below / (2 * below[-1]), s) ** (1 / power)
    return np.where(u < 0.5, low, 1 - low)


class Draws(np.random.Generator):
    """What one training step draws, for the reference: each call of `random` is the next layer's."""

    def __init__(self, seed: int, step: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.seed, self.step, self.layers = seed, step, 0

    def random(self, size: Any = None, dtype: Any = None, out: Any = None) -> Array:  # type: ignore[override]
        """u for images and positions of a volume: `size` is (N, C, *spatial)."""
        first, second = words(self.seed, self.step, self.layers)
        self.layers += 1
        images, positions = (np.arange(n, dtype=np.uint32) for n in (size[0], math.prod(size[1:])))
        return uniform(images, positions, first, second).reshape(size)
