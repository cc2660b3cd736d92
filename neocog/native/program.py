"""A network as functions: those that take a block of images forwards and backwards, and those around them.

The program owns what stages share: memory, parameters, the lists of calls. What a stage needs of it and which kernels
it runs is a `Part`; there is one for each kind of stage (`weighted.py`, `blending.py`, `pooling.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network import Network, Node
from . import passes
from .convolution import reach_of_phases
from .expressions import Access, Index
from .gather import Gather
from .groups import Grouping
from .halving import halved_words, pair_channels
from .jit import Machine
from .kernel import Function
from .layout import Arena, Margins, Volume, extent
from .lifetimes import Layout, Use
from .losses import kernel
from .packing import Order, pack_numbers, pack_pairs
from .stages import DRAWING, Single, Stage, Weighted, scored, stages_of, transpose_of

if TYPE_CHECKING:
    from .part import Part

CROWDED = 128
"""Rows so many numbers from each other, or a multiple, share a few sets of a cache: one drives out the other."""


@dataclass(frozen=True)
class Region:
    """Parameters that lie together: `rows` of `count` numbers, each row padded to whole vectors."""

    name: str
    group: int
    start: int
    rows: int
    count: int
    padded: int
    decays: bool
    sums: int | None = None
    """Where the vectors of sums begin in a group's memory, if the gradient is summed over lanes."""
    met: bool = False
    """Whether the gradient is complete in the first group's memory, since threads met for it."""
    trainable: bool = True
    masked: bool = False
    """Whether some weights are not there and stay zero."""

    @property
    def size(self) -> int:
        """How many numbers it holds, padding included."""
        return self.rows * self.padded

    def at(self, buffer: str, further: int = 0) -> Access:
        """Where a buffer with a number for every parameter has its own, or those so many further."""
        return Access(buffer, Index(self.start + further))

    def rows_in(self, memory: NDArray[np.float32]) -> NDArray[np.float32]:
        """Its rows in such a buffer: (rows, padded)."""
        return memory[self.start : self.start + self.size].reshape(self.rows, self.padded)

    def lane_sums(self, lanes: int, further: int = 0) -> Access:
        """Where its vectors of sums lie, or those so many further."""
        return Access("sums", Index(((self.sums or 0) + further) * lanes))


@dataclass(frozen=True)
class Call:
    """A function and where its buffers lie."""

    function: Function
    buffers: dict[str, Access]
    training: bool = False
    """Whether prediction leaves it out."""
    predicting: bool = False
    """Whether training leaves it out."""

    @property
    def places(self) -> tuple[Access, ...]:
        """Where the function's buffers lie, in its order."""
        return tuple(self.buffers[name] for name in self.function.buffers)


@dataclass(frozen=True)
class Meeting:
    """What threads do together before they go on with any block: `rows` shared out among them.

    `build` gets a name and the vectors from one block's arena to the next. Numbers of the function: the first row, the
    one after the last, and how many blocks there are.
    """

    build: Callable[[str, int], Function]
    buffers: dict[str, Access]
    rows: int


class Packing(NamedTuple):
    """Weights that threads bring into the order of reading where they have met, for what follows up to the next time.

    They lie where those lay that were read before.
    """

    call: Call


class Segment(NamedTuple):
    """Calls for each block of images, what threads do where they meet then, and weights that are packed there."""

    calls: list[Call]
    meetings: list[Meeting]
    packs: list[Call]


class Program:
    """Everything that is compiled for a network. Places are in f32 unless they are said to be in vectors."""

    def __init__(
        self, machine: Machine, network: Network, loss: str, pairs: bool = False, smoothing: float = 0.0
    ) -> None:
        self.machine, self.network, self.loss, self._loss = machine, network, loss, kernel(loss, smoothing)
        self.pairs = pairs  # whether products are of pairs of bfloat16
        self.functions: dict[str, Function] = {}
        self._built: dict[Hashable, Function] = {}
        self.couples = any(node.layer.couples_batch for node in network.nodes)
        """Whether threads meet within a step."""
        self.arena = Arena(short=self.couples)
        self.regions: list[Region] = []
        self.forward: list[Call | Meeting] = []
        self.backward: list[Call | Meeting | Packing] = []
        self.packs: list[Call] = []
        """Of weights that are read on the way forward, or on the way back before threads meet there."""
        self.prepared: list[Call] = []
        """What prediction does once before its blocks."""
        self.parameters = self.sums = self.scratch = self.halved = self.coefficients = 0
        self.between = 0  # numbers that keep rows of parameters apart
        self.packed = 0  # words of memory for packed weights
        self._packing = 0  # those for weights that are read between two meetings
        self._seen, self._met = 0, 0  # steps of the way back that were looked at, and those up to the last meeting
        self.drawing = [node for node in network.nodes if node.layer.op in DRAWING]
        self.parts: list[Part] = []
        self._make_parts(stages_of(network))
        self.last = self.parts[scored(network)]
        self.last.readers += 1  # the loss
        self._forwards(scored(network))
        self.learn_from(self.last)
        for part in reversed(self.parts):
            if part.wants:
                part.backwards()

    @cached_property
    def segments(self) -> list[Segment]:
        """A training step's calls up to each place where threads meet, and what they do there."""
        found = [Segment([], [], [])]
        for step in (*self.forward, *self.backward):
            if isinstance(step, Meeting):
                found[-1].meetings.append(step)
            elif isinstance(step, Packing):
                found[-1].packs.append(step.call)
            elif not step.predicting:
                if found[-1].meetings:
                    found.append(Segment([], [], []))
                found[-1].calls.append(step)
        return found

    @cached_property
    def predictions(self) -> list[Call]:
        """The calls that give a block's scores."""
        return [call for call in self.forward if isinstance(call, Call) and not call.training]

    @cached_property
    def training_layout(self) -> Layout:
        """Where things lie in training."""
        uses = []
        for k, segment in enumerate(self.segments):
            uses += [Use(call.places, k) for call in segment.calls]
            uses += [Use(tuple(meeting.buffers.values()), k, met=True) for meeting in segment.meetings]
        return Layout(self.arena, self.machine.lanes, uses)

    @cached_property
    def predicting_layout(self) -> Layout:
        """Where things lie in prediction."""
        return Layout(self.arena, self.machine.lanes, [Use(call.places, 0) for call in self.predictions])

    def _make_parts(self, stages: list[Stage]) -> None:
        from .parts import part_of  # parts are made of programs

        for k, stage in enumerate(stages):
            readers = [other for other in stages for source in other.sources if source == k]
            self.parts.append(part_of(self, stage, _margins(self.network, readers), len(readers)))

    def _forwards(self, last: int) -> None:
        """All parts' calls; prediction leaves out what the last one does not need: side branches."""
        needed = {last}
        for k in reversed(range(last + 1)):
            needed.update(self.parts[k].stage.sources if k in needed else ())
        for k, part in enumerate(self.parts):
            before = len(self.forward)
            if not part.clears:
                self.forward += self.cleared(part.y)
            part.forwards()
            if k not in needed:
                made = self.forward[before:]
                self.forward[before:] = [replace(c, training=True) if isinstance(c, Call) else c for c in made]
        scores, y = Access("scores", Index()), self.parts[last].y
        store = self.add("scores", lambda name: passes.store_scores(name, self.machine, y))
        self.forward.append(Call(store, {"y": self.at(y), "scores": scores}, predicting=True))

    def learn_from(self, part: Part, side: float | None = None) -> None:
        """Add the loss of a part's scores; of a side output by its weight."""
        sink, sink_places = part.sink()
        function = self.add("loss", lambda name: self._loss(name, self.machine, part.y, sink, side))
        places = {name: Access(name, Index()) for name in ("labels", "scale", "result")}
        self.backward.append(Call(function, places | sink_places | {"y": self.at(part.y)}))
        part.done()

    @property
    def group_numbers(self) -> int:
        """What a group of blocks has for itself: results, gradients, and vectors of sums."""
        return (2 + self.sums) * self.machine.lanes + self.parameters

    @cached_property
    def grouping(self) -> Grouping:
        """How blocks are put into groups."""
        return Grouping.of(self.group_numbers - self.between, self.macs * self.machine.lanes)

    @cached_property
    def macs(self) -> int:
        """Multiplications of an image on its way forward."""
        macs: int = self.network.plan().totals["macs"]
        return macs

    def groups(self, blocks: int) -> int:
        """How many groups so many blocks are in."""
        return self.grouping.groups(blocks)

    # -- what parts ask for ------------------------------------------------------------------------------------

    def at(self, volume: Volume, channel: int = 0) -> Access:
        """Where a volume's channel begins."""
        return self.vectors(volume.offset + channel * volume.plane)

    def vectors(self, start: int) -> Access:
        """A place in the arena, so many vectors from its start."""
        return Access("arena", Index(start * self.machine.lanes))

    def padded(self, count: int, *, apart: bool = False) -> int:
        """The numbers of a row of so many, in whole vectors. Rows that are read side by side are kept `apart`."""
        lanes = self.machine.whole.lanes  # which the plan for few images fills
        padded = count + -count % lanes
        return padded + lanes if apart and padded % CROWDED == 0 else padded

    def region(
        self,
        node: Node,
        name: str,
        rows: int,
        count: int,
        *,
        group: int = 0,
        decays: bool = False,
        by_lanes: bool = False,
        met: bool = False,
        trainable: bool = True,
        masked: bool = False,
        apart: bool = False,
    ) -> Region:
        """Room for a parameter, or a group of it."""
        padded = self.padded(count, apart=apart)
        sums = self.sums if by_lanes else None
        full = f"{node.name}.{name}"
        made = Region(full, group, self.parameters, rows, count, padded, decays, sums, met, trainable, masked)
        self.parameters += made.size
        self.between += rows * (padded - self.padded(count))
        self.sums += rows * count if by_lanes else 0
        self.regions.append(made)
        return made

    def coefficient_rows(self, rows: int, count: int) -> list[Access]:
        """Room for rows of numbers that blocks read and meetings write."""
        padded = count + -count % self.machine.lanes
        start = self.coefficients
        self.coefficients += rows * padded
        return [Access("coefficients", Index(start + k * padded)) for k in range(rows)]

    def chance(self, node: Node) -> dict[str, Access]:
        """What a layer draws with: the words of layers that draw lie in their order, two for each."""
        place = self.drawing.index(node)
        return {"words": Access("words", Index(2 * place)), "numbers": Access("numbers", Index())}

    def add(self, kind: str, build: Callable[[str], Function], key: Hashable = None) -> Function:
        """The function, or an equal one that is there already: layers of equal sizes share their code.

        A `key` holds all that the function depends on, where it takes long to build: the same again is not built.
        """
        if key is not None:
            if (kind, key) not in self._built:
                self._built[kind, key] = self.add(kind, build)
            return self._built[kind, key]
        made = build(kind)
        text = repr((made.buffers, made.numbers, made.body))
        made.name = f"{kind}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return self.functions.setdefault(made.name, made)

    def pack(self, region: Region, tile: int, gather: Gather, order: Order, *, pairs: bool = False) -> Access:
        """Weights in the order of reading, made anew each step, two inputs together for `pairs`."""
        inputs = -(-gather.channels_in // 2) if pairs else gather.channels_in
        words = -(-gather.channels_out // tile) * tile * inputs * gather.taps
        kernel = pack_pairs if pairs else pack_numbers
        return self.packed_by(lambda name: kernel(name, tile, gather, order), region, words)

    def packed_by(self, kernel: Callable[[str], Function], region: Region, words: int) -> Access:
        """Where a kernel writes so many words of a region's weights each step, in the order of reading."""
        for k in range(self._seen, len(self.backward)):
            if isinstance(self.backward[k], Meeting):
                self._met, self._packing = k + 1, 0
        place = Access("packed", Index(self._packing))
        self._packing += words + -words % self.machine.lanes
        self.packed = max(self.packed, self._packing)
        call = Call(self.add("pack", kernel), {"w": region.at("weights"), "packed": place})
        if self._met:
            self.backward.insert(self._met, Packing(call))
        else:
            self.packs.append(call)
        self._seen = len(self.backward)
        return place

    def scratch_of(self, vectors: int) -> Access:
        """Memory of the thread that a kernel uses while it runs, and that holds anything before."""
        self.scratch = max(self.scratch, vectors)
        return Access("scratch", Index())

    def cleared(self, volume: Volume) -> list[Call]:
        """The call that clears a volume's margins before it is made, if that is to be done."""
        if not volume.cleared:
            return []
        function = self.add("margins", lambda name: passes.clear_margins(name, self.machine, volume))
        return [Call(function, {"y": self.at(volume)})]

    def halve(
        self, volume: Volume, kernel: Callable[[str, int, Volume], Function], *, training: bool, behind: int = 0
    ) -> Access:
        """A volume as pairs of bfloat16 where the thread keeps them for a moment; where its first place is.

        They begin so many words `behind` where those begin that are kept as long.
        """
        lanes = self.machine.lanes
        self.halved = max(self.halved, behind + halved_words(volume, lanes))
        function = self.add("halve", lambda name: kernel(name, lanes, volume))
        places = {"x": self.vectors(volume.offset - volume.before), "pairs": Access("halved", Index(behind))}
        (self.backward if training else self.forward).append(Call(function, places))
        per_place = lanes if kernel is pair_channels else lanes // 2
        return Access("halved", Index(behind + volume.before * per_place))


def _margins(network: Network, readers: list[Stage]) -> Margins:
    """The zeros around a volume that its readers need: products read padding as if it were there."""
    margins = Margins()
    for reader in readers:
        if isinstance(reader, Weighted):
            margins = margins.with_(reader.frame.margins(extent(reader.inputs), extent(reader.sums)))
        elif isinstance(reader, Single) and reader.node.layer.op == "DECONV":
            margins = margins.with_(reach_of_phases(transpose_of(network, reader.node)))
    return margins
