r"""Side output: a branch whose scores are learned from too, in the middle of a deep network.

    AUX(w)[ a ]:   E = E(main scores) + w * E(scores of branch a),   and what follows AUX reads the volume before it

| letter | meaning                                   | default |
|--------|-------------------------------------------|---------|
| w      | weight of the branch's loss in training   | 0.3     |

Shapes: any volume, unchanged; `AUX` stands for the end of branch a, and its volume is the branch's scores. For training
those must be as many as the network's own. At prediction the branch is not run, and nothing but the loss reads its
scores, so the gradient that arrives here is dE/dy of the branch, times w.

    y = x        dx = dy

Sources: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 5 (w = 0.3); Lee et al.,
"Deeply-supervised nets", AISTATS 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import SpellingError
from ..layer import Activation, Array, Arrays, BadExample, Cost, Example, Footprint, Pass, Shape
from ..spelling import NUMBER, setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Auxiliary(Activation):
    """The end of a branch that only training runs: `AUX(0.3)[ GAP -> FC10 ]`."""

    op: ClassVar[str] = "AUX"
    weight: float = setting("w", NUMBER, position="arg", default=0.3)

    examples = (Example("AUX(0.3)", "1x1x10"), Example("AUX(1)", "1x5"))
    bad_examples = (BadExample("AUX(0)", says="above 0"), BadExample("AUX(-0.5)", says="above 0"))

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise SpellingError(
                "AUX's w, the weight of its loss, is above 0", received=f"w={self.weight:g}", hint="AUX(0.3)[ ... ]"
            )

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing, and nothing kept."""
        return Cost()

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """The branch's scores as they are."""
        (x,) = xs
        return x, None

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """What the loss says, as it is."""
        return (dy,), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Passes its input on."""
        return Footprint(view=True)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Identity`."""
        from torch import nn

        return nn.Identity()
