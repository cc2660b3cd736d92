"""How the learning rate changes: each schedule gives the factor on it at `progress`, 0 at the start and 1 at the end.

First the factor rises in a straight line from 0.04 to 1, so that the first steps from random weights are small: the
warm-up. Of what then is left of the run, the share r from 0 to 1 has passed:

| name      | factor                                                   | warm-up, unless it is given |
|-----------|----------------------------------------------------------|-----------------------------|
| constant  | 1                                                        | none                        |
| step      | 1, then 0.1 from half way, then 0.01 from three quarters | none                        |
| linear    | 1 - r                                                    | none                        |
| cosine    | (1 + cos(pi r)) / 2                                      | none                        |
| one-cycle | 1 - 0.996 r                                              | the first quarter           |

Sources: He et al., 2015 (step); Loshchilov and Hutter, arXiv 1608.03983 (cosine, one period); Smith and Topin,
arXiv 1708.07120 (one-cycle); Goyal et al., arXiv 1706.02677, section 2.2 (warm-up).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

START = 0.04
"""The factor at the beginning of a warm-up."""


class Schedule(NamedTuple):
    """The factor by the share of the run that has passed since the warm-up; how much of the run that is by itself."""

    decay: Callable[[float], float]
    warmup: float = 0.0

    def factor(self, progress: float, warmup: float | None = None) -> float:
        """The factor at a progress from 0 to 1; `warmup` is a share of the run, None for the schedule's own."""
        rising = self.warmup if warmup is None else warmup
        if progress < rising:
            return START + (1 - START) * progress / rising
        return self.decay((progress - rising) / (1 - rising))


def _step(passed: float) -> float:
    return 1.0 if passed < 0.5 else 0.1 if passed < 0.75 else 0.01


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(lambda passed: 1.0),
    "step": Schedule(_step),
    "linear": Schedule(lambda passed: 1 - passed),
    "cosine": Schedule(lambda passed: (1 + math.cos(math.pi * passed)) / 2),
    "one-cycle": Schedule(lambda passed: 1 - 0.996 * passed, warmup=0.25),
}


def warmup_share(warmup: float, epochs: int) -> float:
    """A warm-up as a share of the run: it is given so, below 1, or as a number of epochs."""
    return warmup if warmup < 1 else warmup / epochs
