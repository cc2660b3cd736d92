"""What lies where in a program's memory, and which layer a call works for: for people who read the program."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple

from .kernel import Access
from .layout import Volume
from .program import Call, Placed, Program, Region

LAYERS_OWN = ("weights", "packed", "gradients", "arena")
"""Buffers that say which layer a call works for, the surest first."""


class _Named(NamedTuple):
    """Where something may begin in a buffer, and the layer that it belongs to."""

    buffer: str
    starts: range
    name: str
    layer: str


class Places:
    """The names of a program's memory: `conv1.y` for a volume, `conv1.weight` for parameters, packed or not."""

    def __init__(self, program: Program) -> None:
        self.lanes = program.machine.lanes
        self._named: list[_Named] = []
        for placed in program.stages:
            self._name_volumes(placed)
        for region in program.regions:
            self._name_parameters(region)
        for call in program.packs:
            source, start = self._find(call.buffers["w"]), call.buffers["packed"].at.constant
            if source:
                self._named.append(_Named("packed", range(start, start + 1), source.name, source.layer))

    def _name_volumes(self, placed: Placed) -> None:
        layer, lanes = layer_of_stage(placed), self.lanes
        for field in fields(placed):
            volume = getattr(placed, field.name)
            if isinstance(volume, Volume):  # each of its channels may be where a group of channels begins
                start, plane = volume.offset * lanes, volume.plane * lanes
                channels = range(start, start + volume.channels * plane, plane)
                self._named.append(_Named("arena", channels, f"{layer}.{field.name}", layer))
        start, plane = placed.where * lanes, placed.y.positions * lanes // 4
        if start:
            channels = range(start, start + max(1, placed.y.channels * plane))
            self._named.append(_Named("arena", channels, f"{layer}.where", layer))

    def _name_parameters(self, region: Region) -> None:
        layer = region.name.partition(".")[0]
        for buffer in ("weights", "gradients", "velocity"):
            numbers = range(region.start, region.start + region.size)
            self._named.append(_Named(buffer, numbers, region.name, layer))
        if region.sums is not None:
            vectors = range(region.sums * self.lanes, (region.sums + region.rows * region.count) * self.lanes)
            self._named.append(_Named("sums", vectors, region.name, layer))

    def _find(self, access: Access) -> _Named | None:
        buffer, at = access.buffer, access.at.constant
        return next((one for one in self._named if one.buffer == buffer and at in one.starts), None)

    def name(self, access: Access) -> str:
        """What begins there; empty where nothing more is to be said than the buffer's name."""
        found = self._find(access)
        return found.name if found else ""

    def layer(self, call: Call) -> str:
        """The layer whose parameters a call reads or makes gradients for, else the one it reads or writes."""
        accesses = [a for buffer in LAYERS_OWN for a in call.buffers.values() if a.buffer == buffer]
        return next((found.layer for access in accesses if (found := self._find(access))), "")


def layer_of_stage(placed: Placed) -> str:
    """The name of a stage's first layer."""
    node = getattr(placed.stage, "node", None)
    return node.name if node else "input"


def kind_of(call: Call) -> str:
    """What a call's function is for: `sums`, `weights`, `inputs`, ..."""
    return call.function.name.rpartition("_")[0]
