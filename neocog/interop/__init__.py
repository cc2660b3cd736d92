"""Networks and weights from elsewhere: torch modules as networks, other libraries' weights both ways."""

from __future__ import annotations

from .from_torch import Imported as Imported
from .from_torch import from_torch as from_torch
from .from_torch import network_of as network_of
from .weights import export_weights as export_weights
from .weights import import_weights as import_weights
