"""The notation: text <-> Network. `docs/notation.md` teaches it."""

from __future__ import annotations

from collections.abc import Mapping

from ..network import Network
from .expand import expand
from .family import Family, Member
from .parser import parse_source
from .printer import write

__all__ = ["Family", "Member", "parse", "write"]


def parse(text: str, variables: Mapping[str, int] | None = None) -> Network:
    """The network that a text describes. Raises NotationError (see `Network.parse`)."""
    return expand(text, parse_source(text), variables or {})
