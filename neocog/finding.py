"""What a doctor finds: what is the matter, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MOST = 3
"""Places that are shown of more, and twice as many names of a place."""


class Finding(NamedTuple):
    """One matter: its `name`, a sentence, and what to do next.

    `places` are groups of names, as files that hold the same image; most groups have one. What is `grave` breaks
    training or makes its numbers untrue.
    """

    name: str
    says: str
    action: str
    places: tuple[tuple[str, ...], ...] = ()
    grave: bool = False

    def text(self) -> str:
        """`name: says` and two lines more: where, and what to try."""
        where = [f"  {self.where()}"] if self.places else []
        return "\n".join([f"{self.name}: {self.says}", *where, f"  try: {self.action}"])

    def where(self) -> str:
        """The first few places, and how many more there are."""
        rest = f" and {len(self.places) - MOST:,} more" if len(self.places) > MOST else ""
        return ", ".join(_joined(group) for group in self.places[:MOST]) + rest

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**self._asdict(), "places": [list(group) for group in self.places]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """From such plain values."""
        return cls(**{**values, "places": tuple(map(tuple, values["places"]))})


def _joined(group: tuple[str, ...]) -> str:
    rest = (f"{len(group) - 2 * MOST:,} more",) if len(group) > 2 * MOST else ()
    return " = ".join((*group[: 2 * MOST], *rest))
