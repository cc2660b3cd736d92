"""What became of each array when weights were read: matched, of another shape, missing, or not needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...network import Network
from ...wording import count_of
from .namemap import NameMap, Place
from .state import State, Stored


class Mismatch(NamedTuple):
    """An array whose shape or type is not ours."""

    name: str
    shape: str
    foreign_name: str
    foreign: str


class Missing(NamedTuple):
    """An array of ours that is not in the state dict, and the name under which it should have been."""

    name: str
    foreign_name: str


class Unused(NamedTuple):
    """An array of the state dict that the network has no place for, and why, where that is known."""

    name: str
    why: str


@dataclass(frozen=True)
class Report:
    """How a state dict fits a network. Names are ours (`conv1.weight`) unless they are called foreign.

    `network` is the zoo's name and `layout` the one in which the state dict was taken to be; `ignored` are entries
    that are no arrays; `notes` say what else was done or should be known.
    """

    network: str
    layout: str
    matched: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    missing: tuple[Missing, ...]
    unused: tuple[Unused, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every array of the network has its value."""
        return not self.mismatched and not self.missing

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Our arrays that got no value."""
        return (*(one.name for one in self.mismatched), *(one.name for one in self.missing))

    def unused_by_reason(self) -> dict[str, list[str]]:
        """The names of unused arrays by why they are; under "" those that nobody expected."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name, why in self.unused:
            found[why].append(name)
        return dict(found)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "network": self.network,
            "layout": self.layout,
            "complete": self.complete,
            "matched": list(self.matched),
            "mismatched": [one._asdict() for one in self.mismatched],
            "missing": [one._asdict() for one in self.missing],
            "unused": [one._asdict() for one in self.unused],
            "ignored": list(self.ignored),
            "notes": list(self.notes),
        }


def compare(one: NameMap, network: Network, state: State) -> Report:
    """How a state dict fits a network under a map, by names, shapes and types alone: no value is read."""
    places = one.places(network)
    found = {name: state.arrays[place.name] for name, place in places.items() if place.name in state.arrays}
    matched = {name: stored for name, stored in found.items() if fits(stored, places[name])}
    used = {place.name for place in places.values()}
    return Report(
        network=one.network,
        layout=one.layout,
        matched=tuple(matched),
        mismatched=tuple(
            Mismatch(name, str(Stored("float32", places[name].shape, stored.read)), places[name].name, str(stored))
            for name, stored in found.items()
            if name not in matched
        ),
        missing=tuple(Missing(name, place.name) for name, place in places.items() if name not in found),
        unused=tuple(Unused(name, one.why_unused(name)) for name in state.arrays if name not in used),
        ignored=state.ignored,
        notes=(*state.notes, *_converted(matched), *filter(None, [one.note])),
    )


def fits(stored: Stored, place: Place) -> bool:
    """Whether an array can stand in a place."""
    return stored.shape == place.shape and stored.is_floating


def _converted(matched: Mapping[str, Stored]) -> list[str]:
    """What other types were made float32."""
    counts = Counter(stored.dtype for stored in matched.values())
    del counts["float32"]
    return [
        f"converted to float32 from {dtype}: {count:,} of {count_of(len(matched), 'array')}"
        for dtype, count in counts.items()
    ]
