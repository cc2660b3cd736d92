"""What is alive when: the bytes that the torch engine holds at each step, so that the fullest has a size and a name.

Memory is a set of blocks, each alive as long as somebody holds it. In training, step by step:

1. **forward**: a layer takes a block for its output, unless that is a view of its input, and what its `footprint`
   says it makes besides. A volume is held by the layers that still have to read it, and by those whose backward pass
   will: a volume that two layers keep is one block.
2. **backward**, in the opposite order: a layer takes blocks for the gradients of its inputs and of its parameters,
   then lets go of the gradient of its output and of all that it kept. Where a volume was read by several layers their
   gradients are added, in place where nobody else holds the first of them.
3. **update**: parameters, their gradients and the optimizer's state, with nothing else left but the batch.

The optimizer's state exists from the first update on, so these are the steps of the second batch. Predicting is the
forward pass alone, with nothing kept: some weights are there twice, as they are and as they are multiplied with, and
normalizations and RELU that run in another layer's pass (`network.fused`) take no memory.

A step may also go through the network in pieces (`recomputing.py`): of all pieces but the last only the volume that
they begin with is kept, and the backward pass computes the rest of a piece again when it comes to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from ..layer import MASTER, Footprint, Pass, Shape
from ..layers.batchnorm import BatchNorm
from ..network import Network, Turn, fused, schedule

TRAINED, PREDICTED = 18 << 10, 10 << 10
"""Bytes that Python and torch keep about a layer besides its arrays: modules, records for autograd, descriptors.

Measured on networks of 12 to 438 layers; on the deepest it is 6 % of what predicting takes.
"""


class Moment(NamedTuple):
    """The bytes alive while a layer is at work; `phase` is forward, again (recomputing), backward or update."""

    phase: str
    layer: str
    bytes: int


@dataclass(frozen=True)
class Timeline:
    """Every moment of a step in order. `parts` says how many bytes of the fullest are held for each layer."""

    moments: tuple[Moment, ...]
    parts: dict[str, int]

    @property
    def peak(self) -> Moment:
        """The fullest moment, the first of several."""
        return max(self.moments, key=lambda moment: moment.bytes)


def training(
    network: Network, shapes: Sequence[Shape], run: Pass, optimizer_copies: int, cuts: Sequence[int] = ()
) -> Timeline:
    """A training step: forward, backward and update. `optimizer_copies` is the optimizer's state for a parameter.

    `cuts` are the turns that a new piece begins with, where the step goes through the network in pieces.
    """
    simulation = _Simulation(network, shapes, run, copies=1 + optimizer_copies, cuts=cuts)
    simulation.forward()
    simulation.backward()
    return simulation.tape.timeline([node.name for node in network.nodes])


def inference(network: Network, shapes: Sequence[Shape], run: Pass) -> Timeline:
    """A forward pass for the scores alone."""
    simulation = _Simulation(network, shapes, run, copies=1)
    simulation.forward()
    return simulation.tape.timeline([node.name for node in network.nodes])


class _Block:
    """A piece of memory, taken for the node at position `owner`."""

    __slots__ = ("holders", "owner", "size")

    def __init__(self, owner: int, size: int) -> None:
        self.owner, self.size, self.holders = owner, size, 1


class _Tape:
    """Takes and gives back blocks, and writes down what is alive at each moment."""

    def __init__(self, owned: Sequence[int]) -> None:
        self.changes = list(enumerate(owned))  # (owner, bytes)
        self.alive = sum(owned)
        self.moments: list[tuple[str, int, int]] = []  # (phase, position, bytes)
        self.peak = (-1, 0, 0)  # bytes, workspace in them, number of changes before them

    def take(self, owner: int, size: int) -> _Block:
        self._change(owner, size)
        return _Block(owner, size)

    def hold(self, block: _Block) -> _Block:
        block.holders += 1
        return block

    def drop(self, block: _Block) -> None:
        block.holders -= 1
        if block.holders == 0:
            self._change(block.owner, -block.size)

    def mark(self, phase: str, position: int, workspace: int = 0) -> None:
        size = self.alive + workspace
        self.moments.append((phase, position, size))
        if size > self.peak[0]:
            self.peak = (size, workspace, len(self.changes))

    def _change(self, owner: int, size: int) -> None:
        self.alive += size
        self.changes.append((owner, size))

    def timeline(self, names: Sequence[str]) -> Timeline:
        size, workspace, count = self.peak
        moments = tuple(Moment(phase, names[k], size) for phase, k, size in self.moments)
        parts = dict.fromkeys(names, 0)
        for owner, change in self.changes[:count]:
            parts[names[owner]] += change
        parts[next(moment.layer for moment in moments if moment.bytes == size)] += workspace
        return Timeline(moments, parts)


class _Simulation:
    """A network's step, played with blocks instead of arrays."""

    def __init__(
        self, network: Network, shapes: Sequence[Shape], run: Pass, copies: int, cuts: Sequence[int] = ()
    ) -> None:
        self.nodes, self.shapes, self.run = network.nodes, shapes, run
        self.known: dict[tuple[int, tuple[Shape, ...]], Footprint] = {}
        self.counted: dict[tuple[int, tuple[Shape, ...]], tuple[int, int]] = {}
        self.turns = schedule(network, training=run.training)
        self.pieces = [self.turns[a:b] for a, b in pairwise((0, *cuts, len(self.turns)))]
        self.fused = {} if run.training else fused(network)
        self.footprints = {k: self._footprint(k) for k, _ in self.turns}
        self.trained, owned = self._owned(copies)
        self.tape = _Tape(owned)
        self.volumes: dict[int, _Block] = {}
        self.gradients: dict[int, _Block] = {}
        self.kept: dict[int, list[_Block]] = {}
        self.begun: list[_Block] = []  # what each piece that is computed again begins with
        self.channels_first: set[int] = set()  # nodes whose gradient arrives stored so
        self.learns: dict[int, bool] = {}  # whether anything up to this node is trained, so that gradients reach it

    def _footprint(self, k: int) -> Footprint:
        if k in self.fused:
            return Footprint(view=True)
        layer, inputs = self.nodes[k].layer, self._inputs(k)
        key = (id(layer), inputs)  # repeats share their layers, which makes deep networks quick
        if key not in self.known:
            self.known[key] = layer.footprint(self.run, *inputs)
        return self.known[key]

    def _inputs(self, k: int) -> tuple[Shape, ...]:
        return tuple(self.shapes[i] for i in self.nodes[k].inputs)

    def _arrays(self, k: int) -> tuple[int, int]:
        """How many numbers node k owns that are trained, and that are not."""
        layer, inputs = self.nodes[k].layer, self._inputs(k)
        key = (id(layer), inputs)
        if key not in self.counted:
            arrays = layer.parameters(*inputs).values()
            trained = sum(array.size for array in arrays if array.trainable)
            self.counted[key] = trained, sum(array.size for array in arrays) - trained
        return self.counted[key]

    def _owned(self, copies: int) -> tuple[list[int], list[int]]:
        """For each node the bytes of its trained parameters, and of all that it holds from step to step."""
        master = max(MASTER, self.run.value_bytes)
        trained, owned = [], []
        for k in range(len(self.nodes)):
            learned, fixed = (master * count for count in self._arrays(k))
            trained.append(learned)
            owned.append(copies * learned + fixed + (TRAINED if self.run.training else PREDICTED))
        for k, kernels in self._kernels():
            owned[k] += kernels
        for k, size in self._ready(trained):
            owned[k] += size
        owned[0] += batch_bytes(self.shapes[0], self.run)
        return trained, owned

    def _ready(self, trained: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The parameters that prediction has twice, those that a normalization is multiplied into among them."""
        changed = {host for k, host in self.fused.items() if isinstance(self.nodes[k].layer, BatchNorm)}
        for k, footprint in self.footprints.items():
            if not self.run.training:
                yield k, footprint.ready or (trained[k] if k in changed else 0)

    def _kernels(self) -> Iterator[tuple[int, int]]:
        """What oneDNN keeps for the first of all layers that do the same on the same shapes."""
        seen = set()
        for k, footprint in self.footprints.items():
            same = (self.nodes[k].layer, self._inputs(k)) if footprint.kernels else None
            if same and same not in seen:
                seen.add(same)
                yield k, footprint.kernels

    def forward(self) -> None:
        """Each node in its turn. The caller holds the images until the end."""
        self.images = begins = self.tape.take(0, self._images_anew())
        for k, _ in self.turns:
            self.learns[k] = self.trained[k] > 0 or any(self.learns[i] for i in self.nodes[k].inputs)
        *recomputed, last = self.pieces
        for piece in recomputed:
            self.begun.append(self.tape.hold(begins))
            self._through("forward", piece, keeping=False)
            begins = self.volumes[piece[-1].position]
        self._through("forward", last, keeping=self.run.training)
        self.tape.drop(self.images)

    def _through(self, phase: str, piece: Sequence[Turn], *, keeping: bool) -> None:
        """The forward pass of a piece, where `keeping` for the backward pass."""
        for k, dropped in piece:
            footprint = self.footprints[k]
            self.volumes[k] = self._output(k, self.images)
            extra = footprint.extra
            if keeping and self.learns[k]:
                self._keep(k)
                extra = 0
            self.tape.mark(phase, k, extra + footprint.forward)
            for i in dropped:
                self.tape.drop(self.volumes[i])

    def _images_anew(self) -> int:
        """Images come channels first and are copied to channels last, unless that is the same."""
        shape = self.shapes[0]
        return self.run.images * shape.elements * _image_bytes(self.run) if self.run.interleaved(shape) else 0

    def _output(self, k: int, images: _Block) -> _Block:
        inputs = self.nodes[k].inputs
        if inputs and self.footprints[k].view:
            return self.tape.hold(self.volumes[inputs[0]])
        if inputs or self.run.value_bytes < MASTER:  # autocast copies the images too
            return self.tape.take(k, self.run.volume(self.shapes[k]))
        return self.tape.hold(images)

    def _keep(self, k: int) -> None:
        """Hold what the backward pass of node k will read."""
        footprint = self.footprints[k]
        kept = [self.tape.take(k, footprint.extra)]
        if footprint.keeps_input:
            kept += [self.tape.hold(self.volumes[i]) for i in self.nodes[k].inputs]
        if footprint.keeps_output:
            kept.append(self.tape.hold(self.volumes[k]))
        self.kept[k] = kept

    def backward(self) -> None:
        """From the outputs, which are held to the end, back to the first node that learns; then the update."""
        read = {i for k, _ in self.turns for i in self.nodes[k].inputs}
        for k, _ in self.turns:
            if k not in read:
                self.gradients[k] = self.tape.take(k, self.run.volume(self.shapes[k]))
        *recomputed, last = self.pieces
        self._back(last)
        for piece in reversed(recomputed):
            begins = self.begun.pop()
            self._again(piece, begins)
            self._back(piece)
            self.tape.drop(begins)
        self.tape.mark("update", len(self.nodes) - 1)

    def _again(self, piece: Sequence[Turn], begins: _Block) -> None:
        """Compute a piece once more from the volume that it begins with; nobody reads its end."""
        for i in self.nodes[piece[0].position].inputs:
            self.volumes[i] = self.tape.hold(begins)
        self._through("again", piece, keeping=True)
        self.tape.drop(self.volumes[piece[-1].position])

    def _back(self, piece: Sequence[Turn]) -> None:
        """The backward pass of a piece, for which all that it reads has been kept."""
        for k, _ in reversed(piece):
            if k in self.gradients and self.learns[k]:
                self._back_through(k)

    def _back_through(self, k: int) -> None:
        footprint, dy = self.footprints[k], self.gradients.pop(k)
        wanted = [i for i in self.nodes[k].inputs if self.learns[i]]
        if footprint.view or footprint.shares_gradient:
            made = [self.tape.hold(dy) for _ in wanted]
        else:
            made = [self.tape.take(k, self.run.volume(self.shapes[i])) for i in wanted]
        self.tape.take(k, self.trained[k])
        unlike = k in self.channels_first
        self.tape.mark("backward", k, footprint.backward + (footprint.relaid if unlike else 0))
        for block in (*self.kept[k], dy):
            self.tape.drop(block)
        for i, block in zip(wanted, made, strict=True):
            self._add(i, block)
        if footprint.channels_first or (unlike and self.nodes[k].layer.in_place):
            self.channels_first.update(wanted)

    def _add(self, i: int, block: _Block) -> None:
        """One more gradient for the output of node i."""
        before = self.gradients.get(i)
        if before is None:
            self.gradients[i] = block
            return
        if before.holders > 1:
            self.gradients[i] = self.tape.take(i, self.run.volume(self.shapes[i]))
            self.tape.mark("backward", i)
            self.tape.drop(before)
        self.tape.drop(block)


def batch_bytes(shape: Shape, run: Pass) -> int:
    """The images as the caller gave them, and in training their 64-bit labels."""
    return run.images * (shape.elements * _image_bytes(run) + (8 if run.training else 0))


def _image_bytes(run: Pass) -> int:
    """Images are given in float32 unless volumes are larger."""
    return max(MASTER, run.value_bytes)
