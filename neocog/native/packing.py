"""Weights brought into the order in which kernels read them: made anew in every step, for weights change.

A gather reads a tile's weights input by input and tap by tap, so that is how they are packed: then they are one run of
memory, which the processor brings near before it is asked for. Where weights lie, in the parameters' layout, the same
run would touch a new cache line for every tap. There is a form for each kind of product: of single numbers, of pairs of
bfloat16, and of matrices for the processor's tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from .expressions import F32, Index, Type, Value, constant, load, load_from, neighbours, pair
from .gather import Gather, Weights
from .kernel import TILE_ROWS, Function
from .layout import along
from .tiled_gather import MATRIX, TiledGather
from .weight_gradient import transposed


class Order(NamedTuple):
    """How weights lie before they are packed: `taps` are their own numbers of a gather's taps, in its order.

    `output`, `input` and `tap` are the steps from one to the next, in numbers.
    """

    taps: tuple[int, ...]
    output: int
    input: int
    tap: int

    def lying(self, gather: Gather, tile: int) -> Weights:
        """The same for a gather that reads them where they lie, in tiles of so many outputs, from its first tap on."""
        first, columns = self.taps[0], len(gather.columns)
        row = self.taps[columns] - first if len(gather.rows) > 1 else 0
        column = self.taps[1] - first if columns > 1 else 0
        return Weights(tile * self.output, self.input, row * self.tap, column * self.tap, self.output)


def packed_weights(gather: Gather, tile: int) -> Weights:
    """How a gather reads what `pack_numbers` or `pack_pairs` wrote."""
    row = gather.taps * tile
    return Weights(gather.channels_in * row, row, len(gather.columns) * tile, tile)


def pack_numbers(name: str, tile: int, gather: Gather, order: Order) -> Function:
    """Weights `w` into `packed`, as [tile][input][tap][output of the tile]."""
    f = Function(name, ("w", "packed"))
    inputs, row = gather.channels_in, gather.taps * tile
    for first, count in along(f, gather.channels_out, tile):
        with f.loop(inputs) as c:
            for k, tap in _numbered(f, order.taps):
                with f.loop(count) as o:
                    at = (first + o) * order.output + c * order.input + tap * order.tap
                    place = (first // tile) * (inputs * row) + c * row + k * tile + o
                    f.store("packed", place, load(F32, "w", at))
    return f


def _numbered(f: Function, taps: tuple[int, ...]) -> Iterator[tuple[Index, Index]]:
    """Taps with their numbers; a loop where they are neighbours, for there may be as many as an image has positions."""
    if taps == tuple(range(len(taps))):
        with f.loop(len(taps)) as k:
            yield k, k
    else:
        yield from ((Index(k), Index(tap)) for k, tap in enumerate(taps))


def pack_pairs(name: str, tile: int, gather: Gather, order: Order) -> Function:
    """Weights `w` into `packed` as `pack_numbers` does, two inputs in each place."""
    f = Function(name, ("w", "packed"))
    inputs, row = gather.channels_in, gather.taps * tile

    def pack_two(first: Index, count: int, c: Index, alone: bool) -> None:
        for k, tap in enumerate(order.taps):
            with f.loop(count) as o:
                at = (first + o) * order.output + c * (2 * order.input) + tap * order.tap
                other = constant(F32, 0.0) if alone else load(F32, "w", at + order.input)
                place = (first // tile) * (-(-inputs // 2) * row) + c * row + k * tile + o
                f.store("packed", place, pair(load(F32, "w", at), other))

    for first, count in along(f, gather.channels_out, tile):
        with f.loop(inputs // 2) as c:
            pack_two(first, count, c, alone=False)
        if inputs % 2:
            pack_two(first, count, Index(inputs // 2), alone=True)
    return f


def pack_tiles(name: str, tiled: TiledGather, order: Order) -> Function:
    """Weights `w` into `packed`: for each 16 outputs, row of taps and piece a matrix; what is missing stays zero.

    Either outputs follow each other in memory, and then taps are in order, or inputs do.
    """
    f = Function(name, ("w", "packed"))
    if order.output == 1:
        _pack_outputs(f, tiled, order)
    else:
        _pack_inputs(f, tiled, order)
    return f


def _pack_outputs(f: Function, tiled: TiledGather, order: Order) -> None:
    """Vectors of outputs are loaded, one for each word of a piece, and transposed."""
    gather, per_row = tiled.gather, tiled.pieces // len(tiled.gather.rows)
    vector, word, pairs, columns = Type("f32", TILE_ROWS), Type("i32", TILE_ROWS), tiled.pairs, len(gather.columns)

    def pair_at(o: Index, tap: Index, p: Index, alone: bool) -> Value:
        at = (o * TILE_ROWS + tap * order.tap + p * (2 * order.input)) // TILE_ROWS
        high = constant(vector, 0.0) if alone else load(vector, "w", at + order.input // TILE_ROWS)
        return f.let(pair(load(vector, "w", at), high))

    def store(o: Index, r: Index, piece: Index, words: list[Value]) -> None:
        at = (o * tiled.pieces + r * per_row + piece) * TILE_ROWS
        for k, row in enumerate(transposed(f, [*words, *[constant(word, 0)] * (TILE_ROWS - len(words))])):
            f.store("packed", at + k, row)

    with f.loop(tiled.blocks) as o, f.loop(len(gather.rows)) as r:
        if gather.channels_in % (2 * TILE_ROWS) == 0:
            with f.loop(columns) as s, f.loop(pairs // TILE_ROWS) as q:
                words = [pair_at(o, r * columns + s, q * TILE_ROWS + k, alone=False) for k in range(TILE_ROWS)]
                store(o, r, s * (pairs // TILE_ROWS) + q, words)
            return
        runs = [list(product([s], range(pairs))) for s in range(columns)]
        if len(tiled.runs) == 1:
            runs = [[place for run in runs for place in run]]
        pieces = [run[k : k + TILE_ROWS] for run in runs for k in range(0, len(run), TILE_ROWS)]
        for piece, places in enumerate(pieces):
            alone = [2 * p + 1 == gather.channels_in for _, p in places]
            words = [pair_at(o, r * columns + s, Index(p), a) for (s, p), a in zip(places, alone, strict=True)]
            store(o, r, Index(piece), words)


def _pack_inputs(f: Function, tiled: TiledGather, order: Order) -> None:
    """Neighbouring inputs are rounded, as many as lie together."""
    gather = tiled.gather
    whole, half = gather.channels_in // 2, TILE_ROWS // 2
    for o, count in along(f, gather.channels_out, TILE_ROWS):
        with f.loop(count) as n:
            to = (o // TILE_ROWS) * (tiled.pieces * MATRIX) + n * TILE_ROWS
            for start, tap in zip(tiled.starts, order.taps, strict=True):
                at = (o + n) * order.output + tap * order.tap
                for p, many, place in _together(f, start, whole):
                    for k, size in along(f, many, half):
                        if size == half:
                            inputs = load_from(Type("f32", TILE_ROWS), "w", at + (p + k) * 2)
                            f.store_to("packed", to + place + k, neighbours(inputs))
                        else:
                            with f.loop(size) as e:
                                first = at + (p + k + e) * 2
                                both = pair(load(F32, "w", first), load(F32, "w", first + 1))
                                f.store("packed", to + place + k + e, both)
                if gather.channels_in % 2:
                    last = pair(load(F32, "w", at + 2 * whole), constant(F32, 0.0))
                    f.store("packed", to + _place(start + whole), last)


def _place(word: int) -> int:
    """Where a word of the first row of matrices lies that are one behind the other."""
    return word // TILE_ROWS * MATRIX + word % TILE_ROWS


def _together(f: Function, start: int, words: int) -> Iterator[tuple[Index, int, Index]]:
    """Words from `start` on, as many at a time as lie together: the first of them, how many, and the place of it."""
    first = min(words, -start % TILE_ROWS)
    if first:
        yield Index(), first, Index(_place(start))
    for k, count in along(f, words - first, TILE_ROWS):
        yield first + k, count, _place(start + first) + k * TILE_ROWS
