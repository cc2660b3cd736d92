"""Plan -> the parts of its figure: what is one step, what are branches, what repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...layer import Layer, Shape
from ...layers import Auxiliary, Conv
from ...network import Chain, Step
from ..plan import Plan, Row

LONGEST_PERIOD = 16  # parts; a longer pattern would not be seen as one

KINDS = {
    "input": ("INPUT",),
    "convolution": ("CONV", "DECONV", "FILTER", "LOCAL"),
    "pooling": ("POOL", "AVGPOOL", "L2POOL", "STOPOOL", "GAP", "SPP", "SUBSAMPLE"),
    "fully connected": ("FC", "RBF"),
    "joined branches": ("ADD", "CONCAT"),
    "other": (),
}


SIDE = "side output"  # has no box


@dataclass(frozen=True)
class Part:
    """A layer with the activation functions and the like that follow it, and the volume they give.

    With `arms` its layer joins them. `slices` are the channels of the volumes that the output is stacked from: those
    of the arms of a CONCAT, or of the groups of a convolution. A part that passes its input on unchanged (`ID`) is
    drawn as a line, and so is a side output (`AUX`), with its one arm beside the line.
    """

    tokens: tuple[str, ...]
    kind: str
    output: Shape
    arms: tuple[Parts, ...] = ()
    slices: tuple[int, ...] = ()

    @property
    def adds(self) -> bool:
        """Whether the part joins its arms by adding them up."""
        return self.tokens[0] == "ADD"

    @property
    def is_side(self) -> bool:
        """Whether the part only ends a side branch; what follows reads the volume before it."""
        return self.kind == SIDE

    @property
    def passes(self) -> bool:
        """Whether the part is a mere line."""
        return self.tokens == ("ID",)


@dataclass(frozen=True)
class Repeat:
    """Equal parts, one after the other, drawn once."""

    parts: Parts
    times: int


Parts = tuple[Part | Repeat, ...]


def parts_of(plan: Plan) -> Parts:
    """The parts of a plan. Two are equal when their layers and the volumes they give are."""
    return _parts(plan.network.chain, iter(plan.rows))


def _parts(chain: Chain, rows: Iterator[Row]) -> Parts:
    """The parts of a chain; `rows` are taken in running order: those of the arms before that of their join."""
    found: list[Part] = []
    for item in chain:
        arms = () if isinstance(item, Step) else tuple(_parts(arm, rows) for arm in item.arms)
        row = next(rows)
        layer = row.node.layer
        if found and found[-1].kind not in ("input", SIDE) and not arms and _follows(row):
            found[-1] = replace(found[-1], tokens=(*found[-1].tokens, layer.token))
        else:
            found.append(Part((layer.token,), _kind(layer), row.output, arms, _slices(row)))
    return folded(found)


def _follows(row: Row) -> bool:
    """Whether a layer is drawn with the one before it: it looks at each position alone and keeps the size."""
    layer = row.node.layer
    if layer.joins or hasattr(layer, "out_channels") or layer.window(*row.inputs) is not None:
        return False
    return row.inputs == (row.output,)


def _kind(layer: Layer) -> str:
    if isinstance(layer, Auxiliary):
        return SIDE
    return next((kind for kind, ops in KINDS.items() if layer.op in ops), "other")


def _slices(row: Row) -> tuple[int, ...]:
    layer = row.node.layer
    if layer.op == "CONCAT":
        return tuple(volume.channels for volume in row.inputs)
    groups = layer.groups if isinstance(layer, Conv) else 1
    return (row.output.channels // groups,) * groups if groups > 1 else ()


def folded(parts: list[Part]) -> Parts:
    """The parts with runs of equal ones as repeats, the one that saves most at each position."""
    found: list[Part | Repeat] = []
    i = 0
    while i < len(parts):
        saved, period = _best(parts, i)
        if saved:
            found.append(Repeat(folded(parts[i : i + period]), saved // period + 1))
        else:
            found.append(parts[i])
        i += saved + period
    return tuple(found)


def _best(parts: list[Part], i: int) -> tuple[int, int]:
    """How many parts the best repeat from position i saves, and its period, the shortest if several save as much."""
    best, shortest = 0, 1
    for period in range(1, min(LONGEST_PERIOD, (len(parts) - i) // 2) + 1):
        end = i
        while end + period < len(parts) and parts[end] == parts[end + period]:
            end += 1
        saved = (end - i) // period * period
        if saved > best:
            best, shortest = saved, period
    return best, shortest
