"""How many outputs a kernel computes at once: as many as registers hold, chosen by what loads and additions cost.

A tile of `channels` x `rows` x `columns` outputs keeps one accumulator for each. For each weight it loads one vector of
inputs per position and broadcasts one number per channel; the fewer of the two stay in registers. So P positions and O
channels need P O + min(P, O) + 1 registers, and P O multiply-adds share P + O loads.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

from .jit import Machine

SHARED = 3
"""Registers more that pairs of bfloat16 take where rows and columns are several: taps share inputs, which LLVM keeps in
hand for them, while multiply-adds of single precision read them again from memory."""
MOST_COLUMNS, MOST_ROWS = 14, 4
"""Larger tiles are not tried: 14 positions of two channels fill 32 registers, and fewer channels load too much."""
LATENCY = 4.0
"""Cycles until a multiply-add's result can be used again. Two begin in each: fewer than 8 sums wait for themselves."""

# Half cycles of the cost model. It need not know how long a kernel takes, but which of two is the faster.
UNHIDDEN = 0.15
"""Of a load, whatever else goes on: loads share ports and the front of the processor with multiply-adds."""
FINISHING = 2.5
"""Of an output: its first value, the activation function, and the store."""
BEGINNING = 15
"""Of a tile: its loops and addresses."""
VARIANT = 0.01
"""By what share all becomes slower for each further size of tile: its code must be fetched, too."""


class Tile(NamedTuple):
    """Outputs computed together."""

    channels: int
    rows: int
    columns: int


class Work(NamedTuple):
    """What a kernel computes: outputs, and for each of them `inputs` channels times `taps`.

    `fetch` is what it takes at least, in half cycles, to bring one channel's weight from where all of them lie.
    """

    rows: int
    columns: int
    channels: int
    inputs: int
    taps: int
    fetch: float = 0.0


@cache
def best_tile(
    machine: Machine, work: Work, unit: tuple[int, int] = (1, 1), split_columns: bool = False, pairs: bool = False
) -> Tile:
    """The tile that the cost model finds fastest. Rows and columns are multiples of `unit`.

    `split_columns` says that each tile along the columns gets code of its own: few of them then, one row high.
    """
    tiles = [
        Tile(channels, rows, columns)
        for rows in range(unit[0], (unit[0] if split_columns else max(unit[0], min(work.rows, MOST_ROWS))) + 1, unit[0])
        for columns in range(unit[1], max(unit[1], min(work.columns, MOST_COLUMNS)) + 1, unit[1])
        for channels in range(1, work.channels + 1)
        if _fits(machine, rows, columns, channels, pairs) and not (split_columns and work.columns > 4 * columns)
    ]
    return min(tiles or [Tile(1, *unit)], key=lambda tile: cycles(work, tile))


def _fits(machine: Machine, rows: int, columns: int, channels: int, pairs: bool) -> bool:
    shared = SHARED if pairs and min(rows, columns) > 1 else 0
    return rows * columns * channels + min(rows * columns, channels) + 1 + shared <= machine.registers


def cycles(work: Work, tile: Tile) -> float:
    """About how long it takes, in half cycles: whole tiles and the smaller ones at the ends."""
    rows, columns, channels = (
        _parts(total, size)
        for total, size in ((work.rows, tile.rows), (work.columns, tile.columns), (work.channels, tile.channels))
    )
    cycles = sum(_one(work, p, q, o) * m * n * k for p, m in rows for q, n in columns for o, k in channels)
    variants = len(rows) * len(columns) * len(channels)
    return cycles * (1 + VARIANT * (variants - 1))


def _one(work: Work, rows: int, columns: int, channels: int) -> float:
    positions = rows * columns
    loads = positions + channels
    inner = max(positions * channels, loads, 2 * LATENCY, work.fetch * channels) + UNHIDDEN * loads
    side = math.isqrt(work.taps)
    fresh = (rows + side - 1) * (columns + side - 1)  # values that the cache must bring
    return (inner * work.taps + fresh) * work.inputs + FINISHING * positions * channels + BEGINNING


def _parts(total: int, size: int) -> list[tuple[int, int]]:
    """How often a size fits, and what is left: (size, times)."""
    whole = [(size, total // size)] if total >= size else []
    return whole + ([(total % size, 1)] if total % size else [])
