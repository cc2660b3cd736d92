"""Training in less memory: the step goes through the network in pieces, and computes most of them twice.

Autograd keeps what each layer's backward pass will read, for all layers at once. Where a network is cut into pieces at
places that only one volume crosses, it is enough to keep the volumes that the pieces begin with: when the backward pass
comes to a piece, its forward pass is made once more. n equal layers in sqrt(n) pieces take memory for 2 sqrt(n) of them
instead of n, for one more forward pass: a third more work.

Source: Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174. Where to cut is found by playing
the step for several numbers of pieces (`timeline.py`) and taking the one that needs the least memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

from ..network import Network, schedule
from . import timeline
from .memory import copies_of, run_of
from .timeline import Timeline


@dataclass(frozen=True)
class Recomputing:
    """The turns of the training schedule that a new piece begins with, and what such a step takes. None: no cuts."""

    cuts: tuple[int, ...]
    training: Timeline


def recomputing(network: Network, batch: int, dtype: str, optimizer: str) -> Recomputing:
    """The pieces with which a training step needs the least memory.

    Raises NeocogError for a batch, dtype or optimizer that is not known.
    """
    run = run_of(batch, dtype, training=True)
    whole = timeline.training(network, network.shapes, run, copies_of(optimizer))
    best = Recomputing((), whole)
    for cuts in dict.fromkeys(_divisions(network, _places(network))):
        found = timeline.training(network, network.shapes, run, copies_of(optimizer), cuts)
        if found.peak.bytes < best.training.peak.bytes:
            best = Recomputing(cuts, found)
    return best


def _places(network: Network) -> list[int]:
    """The turns before which the network can be cut: all that comes later reads one volume, that of the turn before.

    Outputs of the network and of its side branches are read by the loss alone.
    """
    turns = schedule(network, training=True)
    found, alive = [], set[int]()
    read = {i for k, _ in turns for i in network.nodes[k].inputs}
    for t, (k, dropped) in enumerate(turns[:-1]):
        alive = (alive | {k}) - set(dropped)
        if alive & read == {k} and network.nodes[k].inputs:
            found.append(t + 1)
    return found


def _divisions(network: Network, places: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Some ways to cut: into 2, 3, ... pieces of about as many values each."""
    turns = schedule(network, training=True)
    sizes = [network.shapes[k].elements for k, _ in turns]
    total = sum(sizes)
    for pieces in range(2, 2 * isqrt(len(turns)) + 3):
        cuts, held = [], 0
        for t, size in enumerate(sizes):
            if t in places and held >= total / pieces:
                cuts.append(t)
                held = 0
            held += size
        yield tuple(cuts)
