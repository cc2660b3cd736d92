"""Images by what a network sees in them: features of any layer, an index of them, and the nearest to an image."""

from __future__ import annotations

from .features import default_layer as default_layer
from .features import embed as embed
from .index import Index as Index
from .index import load_index as load_index
from .recall import Recall as Recall
from .recall import recall as recall
from .search import Neighbour as Neighbour
from .search import nearest as nearest
from .sources import Source as Source
from .sources import queries_of as queries_of
from .sources import source_of as source_of

__all__ = [
    "Index",
    "Neighbour",
    "Recall",
    "Source",
    "default_layer",
    "embed",
    "load_index",
    "nearest",
    "queries_of",
    "recall",
    "source_of",
]
