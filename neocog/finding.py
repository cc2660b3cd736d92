"""What a doctor finds: what is the matter, where, and what to do about it."""

from __future__ import annotations

from typing import Any, NamedTuple

MOST = 3
"""Places that are shown of more."""


class Finding(NamedTuple):
    """One matter: its `kind`, a sentence, and what to do next.

    `places` are groups of names, as files that hold the same image; most groups have one. What is `grave` breaks
    training or makes its numbers untrue.
    """

    kind: str
    says: str
    action: str
    places: tuple[tuple[str, ...], ...] = ()
    grave: bool = False

    def text(self) -> str:
        """`kind: says` and two lines more: where, and what to try."""
        lines = [f"{self.kind}: {self.says}"]
        if self.places:
            rest = f" and {len(self.places) - MOST:,} more" if len(self.places) > MOST else ""
            lines.append(f"  {', '.join(' = '.join(group) for group in self.places[:MOST])}{rest}")
        return "\n".join([*lines, f"  try: {self.action}"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**self._asdict(), "places": [list(group) for group in self.places]}
