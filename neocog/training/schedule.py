"""How the learning rate changes: each schedule gives the factor on it at `progress`, 0 at the start and 1 at the end.

| name      | factor                                                                       |
|-----------|------------------------------------------------------------------------------|
| constant  | 1                                                                            |
| step      | 1, then 0.1 from half way, then 0.01 from three quarters                     |
| cosine    | (1 + cos(pi * progress)) / 2                                                 |
| one-cycle | a straight line up from 0.04 to 1 over the first quarter, then down to 0.004 |

Sources: He et al., 2015 (step); Loshchilov and Hutter, arXiv 1608.03983 (cosine, one period); Smith and Topin,
arXiv 1708.07120 (one-cycle).
"""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(progress: float) -> float:
    """The learning rate as it was given, all the time."""
    return 1.0


def step(progress: float) -> float:
    """A tenth from half way, a hundredth from three quarters."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def cosine(progress: float) -> float:
    """Half a period of a cosine: slow, fast, slow, to zero."""
    return (1 + math.cos(math.pi * progress)) / 2


def one_cycle(progress: float, warm_up: float = 0.25, start: float = 0.04, end: float = 0.004) -> float:
    """A linear warm-up, so that the first steps from random weights are small, then linearly almost to zero."""
    if progress < warm_up:
        return start + (1 - start) * progress / warm_up
    return 1 - (1 - end) * (progress - warm_up) / (1 - warm_up)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
    "one-cycle": one_cycle,
}
