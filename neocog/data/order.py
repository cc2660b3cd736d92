"""Random order by a counter: what happens to a sample depends on (seed, epoch, sample number) and nothing else.

So the same run comes out with any batch size, engine, number of workers or processes: each of them can work out any
sample's place by itself. The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), used as a hash.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def sample_keys(ids: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.uint64]:
    """A random 64-bit key for each sample (N,) -> (N,), independent from epoch to epoch and seed to seed."""
    state = _mixed(np.uint64(seed & 0xFFFFFFFFFFFFFFFF))
    state = _mixed(state ^ np.uint64(epoch))
    return _mixed(state ^ ids.astype(np.uint64))


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """All numbers from 0 to count - 1 once each, in this epoch's order: sampling without replacement (fact A5)."""
    return np.argsort(sample_keys(np.arange(count), seed, epoch), kind="stable")


def balanced_order(labels: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """As many numbers as images, each class as often as any other, in this epoch's order; counts differ by at most one.

    A number n stands for image n % N, for the (n // N)-th time. A class with too few images comes round again and
    again, one with too many shows others in the next epoch.
    """
    count, order = len(labels), epoch_order(len(labels), seed, epoch)
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    ends = np.cumsum(sizes)
    turn = (np.arange(len(sizes)) + epoch) % len(sizes)  # who gets one more, where they cannot all have as many
    numbers = []
    for end, size, late in zip(ends, sizes, turn, strict=True):
        k = np.arange(count // len(sizes) + (late < count % len(sizes)))
        numbers.append(by_class[end - size + k % size] + count * (k // size))
    chosen = np.concatenate(numbers)
    return chosen[np.argsort(sample_keys(chosen, seed, epoch), kind="stable")]


def share(count: int, rank: int, world: int) -> slice:
    """Which of `count` places in a row belong to process `rank` of `world`.

    Shares are contiguous, in the order of ranks, and differ by one at most, so that put one behind the other they
    are the whole: none twice, none left out, none made up to come out even.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} of {world} processes")
    least, more = divmod(count, world)
    begin = rank * least + min(rank, more)
    return slice(begin, begin + least + (rank < more))


def _mixed(z: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """One step of SplitMix64; arithmetic is modulo 2^64 by intention."""
    with np.errstate(over="ignore"):
        z = np.asarray(z) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)
