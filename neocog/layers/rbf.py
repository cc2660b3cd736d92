r"""Radial basis functions, LeNet-5's output: how far the features are from a drawing of each class.

    y[n,k] = sum over j of (x[n,j] - c[k,j])^2

| letter | meaning                     | default  |
|--------|-----------------------------|----------|
| K      | number of classes, up to 10 | required |

Shapes: x (N, 84, 1, 1), y (N, K, 1, 1). The codes c (K, 84) are fixed: a drawing of each digit on 7 x 12 pixels, +1 for
ink and -1 for paper. The nearest drawing wins, so the smallest output is the answer; the loss `map` and its
posterior know that.

Gradient: dx[n,j] = sum over k of dy[n,k] * 2 (x[n,j] - c[k,j]). The codes are not trained.

Source: LeCun et al., 1998, section II-B, eq. 7 and figure 3. The drawings here are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, SpellingError
from ..layer import Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, setting

if TYPE_CHECKING:
    from torch import nn

WIDTH, HEIGHT = 7, 12

DRAWINGS = """
.......  ..##...  .#####.  .#####.  .....#.  #######  ..####.  #######  .#####.  .#####.
..###..  ..##...  ##...##  ##...##  ....##.  #######  .##....  #######  ##...##  ##...##
.##.##.  .###...  ##...##  .....##  ...###.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ####...  .....##  .....##  ..####.  ##.....  ##.....  .....##  ##...##  ##...##
##...##  ..##...  .....##  .....##  .##.##.  ######.  ##.....  ....##.  .##.##.  ##...##
##...##  ..##...  ....##.  ..####.  ##..##.  .....##  ######.  ....##.  ..###..  .######
##...##  ..##...  ...##..  ..####.  ##..##.  .....##  ##...##  ...##..  .##.##.  .....##
##...##  ..##...  ..##...  .....##  #######  .....##  ##...##  ...##..  ##...##  .....##
##...##  ..##...  .##....  .....##  #######  .....##  ##...##  ..##...  ##...##  .....##
.##.##.  ..##...  ##.....  .....##  ....##.  .....##  ##...##  ..##...  ##...##  .....##
..###..  ######.  #######  ##...##  ....##.  ##...##  ##...##  .##....  ##...##  ....##.
.......  ######.  #######  .#####.  ....##.  .#####.  .#####.  .##....  .#####.  .####..
"""


def codes(classes: int) -> Array:
    """The drawings of the first digits as (classes, 84) of +1 and -1, row by row."""
    rows = [line.split() for line in DRAWINGS.split("\n") if line]
    digits = ["".join(row[k] for row in rows) for k in range(classes)]
    return np.array([[1.0 if pixel == "#" else -1.0 for pixel in digit] for digit in digits])


@dataclass(frozen=True)
class RBF(Layer):
    """Squared distances to drawings of the digits: `RBF10`."""

    op: ClassVar[str] = "RBF"
    out_channels: int = setting("K", COUNT, position="head")

    examples = (Example("RBF10", "1x1x84"), Example("RBF3", "1x84"))
    bad_examples = (
        BadExample("RBF10", "1x1x100", says="84 values"),
        BadExample("RBF10", "2x2x21", says="84 values"),
        BadExample("RBF11", says="10 classes at most"),
    )

    def __post_init__(self) -> None:
        if self.out_channels > 10:
            raise SpellingError(
                "RBF's codes are drawings of the digits: 10 classes at most",
                received=f"RBF{self.out_channels}",
                hint=f"FC{self.out_channels}",
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """1x1xK."""
        (x,) = inputs
        if x.positions != 1 or x.channels != WIDTH * HEIGHT:
            raise ShapeError(
                f"{self} compares {WIDTH * HEIGHT} values (7 x 12) with its drawings",
                received=str(x),
                hint=f"FC{WIDTH * HEIGHT} before it",
            )
        return x.vector(self.out_channels)

    def cost(self, *inputs: Shape) -> Cost:
        """One squared difference a code value; the codes are fixed, not parameters."""
        pairs = inputs[0].elements * self.out_channels
        return Cost(connections=pairs, macs=pairs, kept=inputs[0].elements)

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`codes` (K, 84), fixed."""
        drawn = codes(self.out_channels)
        return {"codes": Parameter(drawn.shape, value=drawn, trainable=False)}

    def window(self, *inputs: Shape) -> Window:
        """The whole input, which is one position."""
        return Window.over(inputs[0])

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, 84, 1, 1) -> y (N, K, 1, 1)."""
        (x,) = xs
        differences = x.reshape(len(x), 1, -1) - params["codes"]  # (N, K, 84)
        y = (differences**2).sum(axis=2)
        return y.reshape(*y.shape, *(1,) * (x.ndim - 2)), (x.shape, differences)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The sum over classes of dy * 2 (x - c)."""
        shape, differences = cache
        d = dy.reshape(*dy.shape[:2], 1)
        return ((2.0 * d * differences).sum(axis=1).reshape(shape),), {}

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input; the squares are summed at once."""
        volume = run.volume(*inputs)
        return Footprint(keeps_input=True, forward=volume, backward=2 * volume)

    def module(self, *inputs: Shape) -> nn.Module:
        """Distances by one matrix product; `codes` is a buffer."""
        from . import _modules

        return _modules.RBF(codes(self.out_channels))
