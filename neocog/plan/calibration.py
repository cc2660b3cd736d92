"""What was measured of a machine, as plain numbers, and how long other work takes by them.

The ideal time of a pass is the roofline's (Williams, Waterman and Patterson, "Roofline", CACM 2009): operations at
the fastest rate seen, or bytes at the bandwidth, whichever takes longer. How far a layer stays behind depends on its
shape, and is read off the layers of its kind that were measured: the logarithm of measured / expected is
interpolated by Gaussian process regression, which also says how sure it is (Rasmussen and Williams, "Gaussian
Processes for Machine Learning", 2006, equations 2.23-2.24 and 2.41; 5.10-5.12 for what leaving one out tells).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .work import Work

Vector = NDArray[np.float64]
Together = tuple[float, float, float]
"""What a pass takes in a network: weights of its seconds alone, of one for the pass itself, and of its bytes."""
Kind = tuple[str, int]
"""Layers that can be compared: their word, and how many features they have."""

REACH = {7: (5.0, 0.5, 4.0, 4.0, 2.0, 2.0, 2.0), 3: (4.0, 3.0, 3.0)}
"""How many powers of two along each feature make two layers unlike, by how many features there are."""
NOISE = 0.2
"""How much of the differences between layers their features do not explain."""
UNKNOWN = 0.7
"""Standard deviation of log(measured / expected) where nothing alike was measured: a factor of 2."""


@dataclass(frozen=True)
class Sample:
    """A layer that was timed: its place among others of its `op`, and measured / expected seconds of each pass."""

    op: str
    features: tuple[float, ...]
    slowness: Mapping[str, float]


@dataclass(frozen=True)
class Calibration:
    """What one machine does with one dtype and number of threads.

    `flops` is the fastest rate seen, in operations a second; `bandwidth` pairs the bytes that a copy moves with
    bytes a second; `overhead` is seconds of a layer that is next to nothing, by op and pass; `page` is seconds a byte
    for memory fresh from the system; `step` is seconds outside layers and update, by `inference` and `training`;
    `update` is seconds a parameter by optimizer, and `update_array` seconds for each array. `together` has, for both
    modes, the weights by which layers take longer one after the other, and `spread` how far steps were off by them.
    """

    machine: str
    threads: int
    dtype: str
    flops: float
    bandwidth: tuple[tuple[float, float], ...]
    overhead: Mapping[str, Mapping[str, float]]
    page: float
    step: Mapping[str, float]
    update: Mapping[str, float]
    update_array: float
    together: Mapping[str, Together]
    spread: Mapping[str, float]
    samples: tuple[Sample, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration that `as_dict` wrote. Raises ValueError, TypeError or KeyError for anything else."""
        samples = tuple(Sample(s["op"], tuple(s["features"]), dict(s["slowness"])) for s in values["samples"])
        bandwidth = tuple((float(size), float(rate)) for size, rate in values["bandwidth"])
        together = {mode: (float(a), float(b), float(c)) for mode, (a, b, c) in values["together"].items()}
        found = cls(**{**values, "samples": samples, "bandwidth": bandwidth, "together": together})
        rates = [found.flops, *(rate for pair in bandwidth for rate in pair)]
        rates += [value for sample in samples for value in sample.slowness.values()]
        costs = [found.page, found.update_array, *found.step.values(), *found.update.values()]
        costs += [value for passes in found.overhead.values() for value in passes.values()]
        costs += [*found.spread.values(), *(weight for w in together.values() for weight in (w[0], w[2]))]
        likely = all(0 < r < math.inf for r in rates) and all(0 <= c < math.inf for c in costs)
        if not bandwidth or not likely or not all(math.isfinite(w[1]) for w in together.values()):
            raise ValueError("rates are positive numbers, and costs are not negative")
        return found

    def ideal(self, work: Work) -> float:
        """Seconds by the roofline."""
        sizes, rates = zip(*self.bandwidth, strict=True)
        rate = np.exp(np.interp(math.log(max(work.bytes, 1.0)), np.log(sizes), np.log(rates)))
        return max(work.flops / self.flops, work.bytes / float(rate))

    def expected(self, work: Work, which: str) -> float:
        """Seconds by the roofline, with what starting the pass and getting its memory costs."""
        like = [passes[which] for passes in self.overhead.values() if which in passes]
        start = self.overhead.get(work.op, {}).get(which, median(like) if like else 0.0)
        return start + self.ideal(work) + self.page * work.new_bytes

    def seconds(self, works: Sequence[Work], which: str) -> Vector:
        """How long one pass of each takes."""
        found = np.array([self.expected(work, which) for work in works])
        for kind, at in _by_kind(works).items():
            found[at] *= np.exp(self._field(kind, which).mean(_places(works, at)))
        return found

    def covariance(self, works: Sequence[Work], which: str) -> Vector:
        """Of the logarithms of these seconds: (works, works). Layers of different kinds err independently."""
        found = np.zeros((len(works), len(works)))
        for kind, at in _by_kind(works).items():
            found[np.ix_(at, at)] = self._field(kind, which).covariance(_places(works, at))
        return found

    @cached_property
    def _fields(self) -> dict[tuple[Kind, str], Field]:
        return {}

    def _field(self, kind: Kind, which: str) -> Field:
        if (kind, which) not in self._fields:
            seen = [s for s in self.samples if _kind(s) == kind and which in s.slowness]
            places = np.array([s.features for s in seen])
            values = np.log([s.slowness[which] for s in seen])
            self._fields[kind, which] = Field(places, values)
        return self._fields[kind, which]


class Field:
    """A quantity known at some places (n, features), and what that says about it at others."""

    def __init__(self, places: Vector, values: Vector) -> None:
        self.places, self.level, self.scale = places, 0.0, UNKNOWN
        if not len(values):
            return
        self.inverse = np.linalg.inv(_alike(places, places) + NOISE**2 * np.eye(len(values)))
        self.level = float(self.inverse.sum(0) @ values / self.inverse.sum())
        self.weights = self.inverse @ (values - self.level)
        if len(values) > 2:  # standardised, each value differs by 1 from what the others say of it
            self.scale = float(np.sqrt(np.mean(self.weights**2 / self.inverse.diagonal())))

    def mean(self, places: Vector) -> Vector:
        """What to expect at places (m, features): (m,)."""
        if not len(self.places):
            return np.zeros(len(places))
        expected: Vector = self.level + _alike(places, self.places) @ self.weights
        return expected

    def covariance(self, places: Vector) -> Vector:
        """How sure that is: (m, m)."""
        found = _alike(places, places) + NOISE**2 * np.eye(len(places))
        if len(self.places):
            shared = _alike(places, self.places)
            found = found - shared @ self.inverse @ shared.T
        sure: Vector = self.scale**2 * found
        return sure


def _alike(a: Vector, b: Vector) -> Vector:
    """1 for layers in one place, falling to 0 with the distance: (m, n)."""
    reach = np.array(REACH[a.shape[1]])
    apart = (a[:, None, :] - b[None, :, :]) / reach
    near: Vector = np.exp(-0.5 * (apart**2).sum(-1))
    return near


def _kind(of: Work | Sample) -> Kind:
    return of.op, len(of.features)


def _by_kind(works: Sequence[Work]) -> dict[Kind, list[int]]:
    found: dict[Kind, list[int]] = defaultdict(list)
    for k, work in enumerate(works):
        found[_kind(work)].append(k)
    return found


def _places(works: Sequence[Work], at: Sequence[int]) -> Vector:
    return np.array([works[k].features for k in at])
