"""The two forms of a convolution of one image: lanes hold channels of the output, or positions of a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from .kernel import F32, Function, Index, Value, constant, largest, load, load_from, shuffle, splat
from .one_image import OneImage, Part, Place


class LanesHoldChannels(OneImage):
    """A vector is some channels of the output at one position. What is beyond the last channel is never read."""

    def _lengths(self) -> tuple[int, int]:
        return self.work.size[1], -(-self.work.channels_out // self.lanes)

    def _pooled_columns(self, right: int) -> int:
        return right

    def _column_step(self) -> int:
        return self.work.stride[1]

    def _first_weight(self, o: Index) -> Index:
        return o * self.lanes

    def _bias(self, o: Index, k: int) -> Value:
        return load_from(self.vector, "b", (o + k) * self.lanes)

    def _weight_bytes(self) -> int:
        return 4 * self.lanes

    def _input(self, at: Index) -> Value:
        return splat(load(F32, "x", at), self.lanes)

    def _weight(self, w: Index, k: int) -> Value:
        return load(self.vector, "w", w // self.lanes + k)

    def _finish(self, f: Function, part: Part, sums: dict[Place, Value]) -> None:
        (o, i, j, tile), (down, right) = part, self.work.ending.pool
        for a, b in product(range(0, tile.rows, down), range(0, tile.columns, right)):
            for k in range(tile.channels):
                value = self._activated(f, [sums[k, a + u, b + v] for u in range(down) for v in range(right)])
                y, x = i // down + a // down, j // right + b // right
                f.store_to("y", self.work.y.at((o + k) * self.lanes, y, x), value)


class LanesHoldPositions(OneImage):
    """A vector is some neighbouring positions of one channel's row; the stride along rows is 1.

    The last vector of a row may reach beyond it: there zeros are stored, which is what margins hold.
    """

    def _lengths(self) -> tuple[int, int]:
        return -(-self.work.size[1] // self.lanes), self.work.channels_out

    def _pooled_columns(self, right: int) -> int:
        return min(right, self.columns)

    def _column_step(self) -> int:
        return self.lanes

    def _first_weight(self, o: Index) -> Index:
        return o

    def _bias(self, o: Index, k: int) -> Value:
        return splat(load(F32, "b", o + k), self.lanes)

    def _weight_bytes(self) -> int:
        return 4

    def _input(self, at: Index) -> Value:
        return load_from(self.vector, "x", at)

    def _weight(self, w: Index, k: int) -> Value:
        return splat(load(F32, "w", w + k), self.lanes)

    def _along_columns(self, f: Function) -> Iterator[tuple[Index, int]]:
        """The last vector is apart from a loop if it reaches beyond the row, for only there lanes are left out."""
        size = self.tile.columns
        looped = (self.columns - (self.work.y.width % self.lanes > 0)) // size
        if looped:
            with f.loop(looped) as k:
                yield k * size, size
        for first in range(looped * size, self.columns, size):
            yield Index(first), min(size, self.columns - first)

    def _finish(self, f: Function, part: Part, sums: dict[Place, Value]) -> None:
        (o, i, j, tile), (down, right) = part, self.work.ending.pool
        for k, a, b in product(range(tile.channels), range(0, tile.rows, down), range(0, tile.columns, right)):
            vectors = range(b, min(b + right, tile.columns))
            largest_ = [self._highest(f, [sums[k, a + u, v] for u in range(down)]) for v in vectors]
            value = self._activated(f, [self._every(right, first, largest_) for first in range(right)])
            y, x = i // down + a // down, j // right + b // right
            f.store_to("y", self.work.y.at(o + k, y, x * self.lanes), self._inside(f, x, value))

    def _highest(self, f: Function, values: Sequence[Value]) -> Value:
        best = values[0]
        for value in values[1:]:
            best = f.let(largest(value, best))
        return best

    def _every(self, step: int, first: int, vectors: Sequence[Value]) -> Value:
        """Lanes first, first + step, ... of vectors side by side. Lanes that are not there hold anything."""
        if step == 1:
            return vectors[0]
        taken = [lane * step + first for lane in range(self.lanes)]
        result = shuffle(vectors[0], vectors[0], [place % self.lanes for place in taken])
        for k, vector in enumerate(vectors[1:], start=1):
            from_it = {lane: place for lane, place in enumerate(taken) if place // self.lanes == k}
            lanes = [self.lanes + from_it[lane] % self.lanes if lane in from_it else lane for lane in range(self.lanes)]
            result = shuffle(result, vector, lanes)
        return result

    def _inside(self, f: Function, x: Index, value: Value) -> Value:
        """Zeros in place of lanes beyond the end of the row."""
        there = self.work.y.width - x.constant * self.lanes
        if x.terms or there >= self.lanes:
            return value
        zero = constant(self.vector, 0.0)
        return shuffle(value, zero, [lane if lane < there else self.lanes for lane in range(self.lanes)])
