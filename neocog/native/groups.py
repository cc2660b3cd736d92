"""Groups of blocks: each has gradients of its own, which are added up in a fixed order once a step.

So threads need not wait for each other while blocks run, and the sums do not depend on how many threads there are.
"""

from __future__ import annotations

from typing import NamedTuple

GROUPS, MOST_GROUPS = 8, 64
"""The most parts that a step's blocks are shared out in, and the most where these cost next to nothing. The number of
threads does not matter to the result."""
GROUP_BYTE, SPARE_BYTE = 50, 200
"""Multiplications of a forward pass that make it worth while to clear, fill and add up a byte of one more group: what
moves it three times takes a tenth of their time then, at 10 GB/s and 100 GFLOP/s; and those beside which it is nothing,
a fortieth."""
SPARE_MEMORY = 2**27
"""Bytes that more groups than `GROUPS` may take together."""


class Grouping(NamedTuple):
    """How many blocks make a group worth its memory, `few`, and beside how many it costs next to nothing, `many`.

    `most` is how many groups there may be of those.
    """

    few: int
    many: int
    most: int

    @classmethod
    def of(cls, numbers: int, macs: int) -> Grouping:
        """For groups that hold so many numbers, and blocks of so many multiplications forwards."""
        few, many = (max(1, -(-byte * 4 * numbers // max(1, macs))) for byte in (GROUP_BYTE, SPARE_BYTE))
        return cls(few, many, min(MOST_GROUPS, max(GROUPS, SPARE_MEMORY // (4 * numbers))))

    def groups(self, blocks: int) -> int:
        """How many groups so many blocks are in, a power of two: threads share them out, and share evenly.

        Two where there are two blocks, however large.
        """
        most = max(min(blocks, 2), min(blocks // self.few, GROUPS), min(blocks // self.many, self.most))
        return 1 << (most.bit_length() - 1)
