"""Training: a network and a data set become a Model, with a folder that shows how."""

from __future__ import annotations

from .session import train as train

__all__ = ["train"]
