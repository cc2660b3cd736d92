"""Training: a network and a data set become a Model, with a folder that shows how, and from which it can go on."""

from __future__ import annotations

from .resuming import resume as resume
from .seeds import train_seeds as train_seeds
from .session import train as train
from .sweep import find_lr as find_lr

__all__ = ["find_lr", "resume", "train", "train_seeds"]
