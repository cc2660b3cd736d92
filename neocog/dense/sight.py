r"""What the cells of a score map stand for and see, in pixels.

Along each axis cell k

    stands for   k j ... k j + W - 1                  the window that a crop of the trained size W would be
    sees         k j + first ... k j + last           the receptive field: start -+ (size - 1)/2 of the plan

with the jump j, the map's stride. A network without padding sees nothing beyond its window. With padding the field is
larger than the window: what are zeros beyond a crop's border are the image's next pixels in a pass over all of it.

Nothing here runs a network: all of it is arithmetic of the plan's whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DataError, NeocogError
from ..network import Network, schedule
from ..spelling import Dims


@dataclass(frozen=True)
class Sight:
    """Along each axis: the window W, the jump j, and the first and last pixel that cell 0 sees, the image's first
    pixel being 0; see the module's formulas.
    """

    window: Dims
    jump: Dims
    first: Dims
    last: Dims

    @classmethod
    def of(cls, network: Network) -> Sight:
        """That of a network which gives one score for each class of an image of its own size.

        Raises NeocogError for one that gives a map, or looks at places that are no whole number of pixels apart.
        """
        if network.shapes[-1].positions > 1:
            raise NeocogError(
                "a score map is made of a network that gives one score for each class, and this one gives a map",
                received=f"{network.shapes[-1]}",
            )
        field = network.plan().rows[-1].field
        jumps = [axis.jump for axis in field]
        if not all(jump is not None and float(jump).is_integer() for jump in jumps):
            raise NeocogError(
                "the outputs look at places that are no whole number of pixels apart, so there is no stride",
                received=f"jumps of {', '.join(str(jump) for jump in jumps)} pixels",
            )
        _check_coarsest(network, jumps)
        reach = [axis.reach for axis in field]
        return cls(
            network.input_shape.spatial,
            tuple(int(jump or 1) for jump in jumps),
            tuple(round(low) for low, _ in reach),
            tuple(round(high) for _, high in reach),
        )

    def at(self, jump: Dims) -> Sight:
        """The same windows, closer together."""
        return replace(self, jump=jump)

    def cells(self, size: Sequence[int]) -> Dims:
        """How many windows lie in an image of that size, one jump apart.

        Raises DataError for an image that is smaller than the window.
        """
        if (lack := max(w / n for n, w in zip(size, self.window, strict=True))) > 1:
            shown, window = ("x".join(map(str, dims)) for dims in (size, self.window))
            raise DataError(
                f"the network looks through a window of {window} pixels, and the image is smaller",
                received=f"{shown} pixels",
                hint=f"a scale {math.ceil(100 * lack) / 100:g} times as large, by --scales",
            )
        return tuple((n - w) // j + 1 for n, w, j in zip(size, self.window, self.jump, strict=True))

    def pixels(self, cells: Sequence[int]) -> Dims:
        """The size of image that so many cells' windows take: W + (n - 1) j."""
        return tuple(w + (n - 1) * j for n, w, j in zip(cells, self.window, self.jump, strict=True))

    def overlap(self) -> tuple[Dims, Dims]:
        """How many cells more a part of the image must have before and after those that are to see no end of it."""
        before = tuple(-(-max(0, -f) // j) for f, j in zip(self.first, self.jump, strict=True))
        beyond = [max(0, last - w + 1) for last, w in zip(self.last, self.window, strict=True)]
        return before, tuple(-(-n // j) for n, j in zip(beyond, self.jump, strict=True))

    def window_of(self, cell: Sequence[int]) -> tuple[slice, ...]:
        """The pixels that a cell stands for."""
        return tuple(slice(k * j, k * j + w) for k, j, w in zip(cell, self.jump, self.window, strict=True))

    def field_of(self, cell: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """The first and the last pixel, on each axis, that a cell sees; beyond the image there is padding."""
        return tuple(
            (k * j + first, k * j + last)
            for k, j, first, last in zip(cell, self.jump, self.first, self.last, strict=True)
        )


def _check_coarsest(network: Network, jumps: Sequence[Any]) -> None:
    """Whether windows one stride apart lie alike on every layer's map on the way.

    Raises NeocogError naming one that is coarser than the stride, as before UPSAMPLE: every second window would lie
    between its values.
    """
    rows = network.plan().rows
    for k in (turn.position for turn in schedule(network, training=False)):
        for axis, jump in zip(rows[k].field, jumps, strict=True):
            if rows[k].output.positions > 1 and axis.jump and not float(jump / axis.jump).is_integer():
                raise NeocogError(
                    f"windows {jump:g} pixels apart do not lie alike on this layer's values, {axis.jump:g} apart",
                    where=f"{rows[k].node.name}, {rows[k].node.layer}",
                )
