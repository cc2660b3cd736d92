"""The gather of a layer that sees all of its input, by weights that no cache holds: they are read once, where they lie.

Weights are rows, one for each input, with a number for every output. A tile of outputs needs a piece of each row, and
outputs too many registers for all. So all tiles go over a strip of rows before the next strip is begun: pieces of a row
follow each other in memory, and each comes while the one before is multiplied. Sums wait in a scratch meanwhile; they
are added up in the order of rows, as they are by other gathers.
"""

from __future__ import annotations

from .expressions import F32, Index, Value, Variable, load, splat
from .gather import Epilogue, Gather, GatherKernel, Weights
from .jit import Machine
from .kernel import Function
from .layout import along
from .tiles import Tile

FAR_BYTES = 1 << 20
"""Weights of more bytes than this are far: in no cache that one core has for itself."""
LINE = 16
"""Numbers of a cache line: so many outputs are a tile, or half as many where registers are few."""
STRIP = 64
"""Rows that a strip has at least: as many lines of weights are on their way at a time."""


class StreamedGatherKernel(GatherKernel):
    """A gather with a further buffer, `scratch`, of a vector for each output."""

    def __init__(self, machine: Machine, gather: Gather, weights: Weights, bias: bool) -> None:
        outputs = LINE if machine.registers > LINE + 1 else LINE // 2
        super().__init__(machine, gather, weights, Tile(outputs, 1, 1), bias)

    def build(self, name: str, buffers: tuple[str, ...], epilogue: Epilogue) -> Function:
        """The function."""
        f = Function(name, ("x", "w", *(("b",) if self.bias else ()), "scratch", *buffers))
        g, tile = self.gather, self.tile
        f.form, f.tile = "streamed gather", tile._asdict()
        for o, outputs in along(f, g.channels_out, tile.channels):
            for k in range(outputs):
                f.store("scratch", o + k, self._start(f, o + k))
        for c, inputs in along(f, g.channels_in, -(-STRIP // g.taps)):
            for o, outputs in along(f, g.channels_out, tile.channels):
                self._add(f, c, inputs, o, outputs)
        for o, outputs in along(f, g.channels_out, tile.channels):
            epilogue(f, o, Index(), Index(), {(k, 0, 0): value for k, value in enumerate(self._held(f, o, outputs))})
        return f

    def _held(self, f: Function, o: Index, outputs: int) -> list[Value]:
        """The sums of a tile as far as they have come."""
        return [f.let(load(self.vector, "scratch", o + k)) for k in range(outputs)]

    def _add(self, f: Function, c: Index, inputs: int, o: Index, outputs: int) -> None:
        """What some inputs add to a tile."""
        g, w = self.gather, self.weights
        sums = [f.variable(value) for value in self._held(f, o, outputs)]
        with f.loop(inputs) as k, f.loop(len(g.rows)) as r, f.loop(len(g.columns)) as s:
            at = (c + k) * g.source.plane + (r + g.rows[0]) * g.source.row + s + g.columns[0]
            self._row_of_weights(f, at, (c + k) * w.channel + r * w.row + s * w.tap + o * w.output, sums)
        for n, sum_ in enumerate(sums):
            f.store("scratch", o + n, sum_.value)

    def _row_of_weights(self, f: Function, x: Index, at: Index, sums: list[Variable]) -> None:
        """One input times its weights, and a request for those of the next tile."""
        f.prefetch(F32, "w", at + len(sums))
        value = f.let(load(self.vector, "x", x))
        for k, sum_ in enumerate(sums):
            f.set(sum_, self.multiply(value, f.let(splat(load(F32, "w", at + k), self.vector.lanes)), sum_.value))
