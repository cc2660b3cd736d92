"""What lies where in a program's memory, and which layer a call works for: for people who read the program."""

from __future__ import annotations

from typing import NamedTuple

from ..network import Network
from .expressions import Access
from .layout import Volume
from .part import Part
from .program import Call, Program, Region
from .stages import Input, Stage
from .weighted import WeightedPart

LAYERS_OWN = ("weights", "packed", "gradients", "sums", "arena")
"""Buffers that say which layer a call works for, the surest first."""
MOST_NAMES = 3


class _Named(NamedTuple):
    """Where something may begin in a buffer, and the layer that it belongs to."""

    buffer: str
    starts: range
    name: str
    layer: str


class Places:
    """The names of a program's memory: `conv1.y` for a volume, `conv1.weight` for parameters, packed or not.

    y are a layer's values, d the gradient for them, g that for its sums.
    """

    def __init__(self, program: Program) -> None:
        self.lanes = program.machine.lanes
        self._named: list[_Named] = []
        for part in program.parts:
            self._name_volumes(part)
        for region in program.regions:
            self._name_parameters(region)
        late = (call for segment in program.segments for call in segment.packs)
        for call in (*program.packs, *late):
            start = call.buffers["packed"].at.constant
            for source in self._find(call.buffers["w"]):
                self._named.append(_Named("packed", range(start, start + 1), source.name, source.layer))

    def _name_volumes(self, part: Part) -> None:
        layer, lanes = layer_of(part), self.lanes
        for name, volume in vars(part).items():
            if isinstance(volume, Volume):  # each of its channels may be where a group of channels begins
                start, plane = volume.offset * lanes, volume.plane * lanes
                channels = range(start, start + volume.channels * plane, plane)
                self._named.append(_Named("arena", channels, f"{layer}.{name}", layer))
        if isinstance(part, WeightedPart) and part.where:
            start, plane = part.where * lanes, part.y.positions * lanes // 4
            channels = range(start, start + max(1, part.y.channels * plane))
            self._named.append(_Named("arena", channels, f"{layer}.where", layer))

    def _name_parameters(self, region: Region) -> None:
        layer = region.name.partition(".")[0]
        for buffer in ("weights", "gradients", "velocity", "squares", "there"):
            numbers = range(region.start, region.start + region.size)
            self._named.append(_Named(buffer, numbers, region.name, layer))
        if region.sums is not None:
            vectors = range(region.sums * self.lanes, (region.sums + region.rows * region.count) * self.lanes)
            self._named.append(_Named("sums", vectors, region.name, layer))

    def _find(self, access: Access) -> list[_Named]:
        buffer, at = access.buffer, access.at.constant
        return [one for one in self._named if one.buffer == buffer and at in one.starts]

    def name(self, access: Access) -> str:
        """What begins there; empty where nothing more is to be said than the buffer's name."""
        names = [one.name for one in self._find(access)]
        return " or ".join(names[:MOST_NAMES]) + (" or others" if len(names) > MOST_NAMES else "")

    def layer(self, call: Call) -> str:
        """The layer whose parameters a call reads or makes gradients for, else the one whose values it has."""
        own = {name: call.buffers[name] for name in call.function.buffers}
        accesses = [access for buffer in LAYERS_OWN for access in own.values() if access.buffer == buffer]
        found = [names[0].layer for access in accesses if len(names := self._find(access)) == 1]
        return found[0] if found else ""


def layer_of(part: Part) -> str:
    """The name of the first layer of a part's stage."""
    return first_layer(part.stage, part.program.network)


def first_layer(stage: Stage, network: Network) -> str:
    """The name of the first layer of a stage."""
    return network.nodes[0].name if isinstance(stage, Input) else stage.node.name


def kind_of(call: Call) -> str:
    """What a call's function is for: `sums`, `weights`, `inputs`, ..."""
    return call.function.name.rpartition("_")[0]
