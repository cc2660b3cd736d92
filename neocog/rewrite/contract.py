"""What a rewrite is: a pure function from a network and its weights to others, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import Model
from ..network import Network
from .parts import Rewritten, Weights

RESHAPED = 1e-10
"""Tolerance where weights are moved but not changed: what sums in another order leave, in float64."""
ROUNDED = 1e-4
"""Tolerance where weights are computed anew, and rounded to float32."""

Outputs = NDArray[np.float64]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """Something that a rewrite is told: a keyword argument of its function, and `--name` on the command line."""

    name: str
    kind: Callable[[str], Any]
    what: str
    default: Any = None
    required: bool = False

    @property
    def flag(self) -> str:
        """`--name`."""
        return f"--{self.name.replace('_', '-')}"


def yes_or_no(text: str) -> bool:
    """Raises ValueError for another word. On the command line such an option is said by its name alone."""
    if text not in ("yes", "no"):
        raise ValueError("yes or no")
    return text == "yes"


def as_they_are(network: Network, before: Outputs, after: Outputs, settings: Settings) -> tuple[Outputs, Outputs]:
    """The outputs themselves."""
    return before, after


def no_notes(network: Network, weights: Weights, **settings: Any) -> Iterable[str]:
    """Nothing to say."""
    return ()


@dataclass(frozen=True)
class Rewrite:
    """A named change of a network with its weights.

    `change(network, weights, **options)` is pure and raises RewriteError where it cannot be done. `tolerance` is the
    largest difference of outputs, as a part of the largest output, that it may make; None says that it is no equality
    by nature, so that the difference is only measured. `aligned` gives, for the old network, what of both outputs
    stands for the same. `notes` says what the numbers do not. `classes` gives, for the old model, those of the new one.
    """

    name: str
    what: str
    change: Callable[..., Rewritten]
    tolerance: float | None
    options: tuple[Option, ...] = ()
    aligned: Callable[[Network, Outputs, Outputs, Settings], tuple[Outputs, Outputs]] = as_they_are
    notes: Callable[..., Iterable[str]] = no_notes
    classes: Callable[[Model, Settings], tuple[str, ...]] = lambda model, settings: model.classes
