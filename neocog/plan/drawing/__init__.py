"""Plan -> a figure in the classic style: volumes as boxes, the layers on the arrows between them."""

from __future__ import annotations

from .svg import draw

__all__ = ["draw"]
