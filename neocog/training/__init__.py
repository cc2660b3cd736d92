"""Training: a network and a data set become a Model, with a folder that shows how."""

from __future__ import annotations

from .seeds import train_seeds as train_seeds
from .session import train as train
from .sweep import find_lr as find_lr

__all__ = ["find_lr", "train", "train_seeds"]
