"""Networks and weights from elsewhere: torch modules read into the notation."""

from __future__ import annotations

from .from_torch import Imported as Imported
from .from_torch import from_torch as from_torch
from .from_torch import network_of as network_of

__all__ = ["Imported", "from_torch", "network_of"]
