"""Data: labelled images in memory, where they come from, and how they become a network's input."""

from __future__ import annotations

from .dataset import Dataset as Dataset
from .dataset import Splits as Splits
from .preprocessing import Preprocessing as Preprocessing
from .sources import load_data as load_data
from .sources import load_split as load_split

__all__ = ["Dataset", "Preprocessing", "Splits", "load_data", "load_split"]
