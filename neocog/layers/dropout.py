r"""Dropout: in training each value is set to zero with probability p, the others are divided by 1 - p.

    training:   y = x m / (1 - p),  m = 0 with probability p, else 1        dx = dy m / (1 - p)
    inference:  y = x

| letter | meaning                       | default |
|--------|-------------------------------|---------|
| p      | probability of a zero         | 0.5     |

Dividing in training ("inverted" dropout) keeps the expectation, so inference needs no change.
Shapes: any volume, unchanged. Source: Srivastava et al., "Dropout", JMLR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import SpellingError
from ..layer import Activation, Array, Arrays, BadExample, Example, Footprint, Pass, Shape
from ..spelling import NUMBER, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Dropout(Activation):
    """Random zeros in training: `DROPOUT(0.5)`."""

    op: ClassVar[str] = "DROPOUT"
    probability: float = setting("p", NUMBER, position="arg", default=0.5)

    examples = (Example("DROPOUT(0.5)", "4x3x2"), Example("DROPOUT(0.2)", "5x3"), Example("DROPOUT(0)", "2x2x1"))
    bad_examples = (
        BadExample("DROPOUT(1)", says="from 0 to less than 1"),
        BadExample("DROPOUT(-0.5)", says="from 0 to less than 1"),
        BadExample("DROPOUT(half)", says="a number"),
    )

    def __post_init__(self) -> None:
        if not 0 <= self.probability < 1:
            raise SpellingError(
                "DROPOUT's p is a probability, from 0 to less than 1",
                received=f"p={self.probability:g}",
                hint="DROPOUT(0.5)",
            )

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x with random zeros in training, x itself at inference."""
        (x,) = xs
        if rng is None:
            return x, np.ones_like(x)
        mask = (rng.random(x.shape) >= self.probability) / (1.0 - self.probability)
        return x * mask, mask

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """dy through the same mask."""
        return (dy * cache,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps a mask of the values' own type. At inference, or with p=0, it passes its input on."""
        if not run.training or self.probability == 0:
            return Footprint(view=True)
        return Footprint(extra=run.volume(*inputs))

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Dropout`."""
        from torch import nn

        return nn.Dropout(self.probability)
