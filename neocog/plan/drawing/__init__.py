"""Plan -> a figure in the classic style: volumes as boxes, the layers on the arrows between them."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import NeocogError
from ..plan import Plan
from .page import Page, page
from .png import to_png
from .svg import to_svg

__all__ = ["draw"]

PRINTERS: dict[str, Callable[[Page], bytes]] = {".svg": to_svg, ".png": to_png}
"""How a page becomes a file, by what the file's name ends in."""


def draw(plan: Plan, suffix: str = ".svg", title: str = "") -> bytes:
    """The figure of a plan as the content of a file whose name ends so: `.svg`, or `.png` of twice the size in pixels.

    `title` stands above the figure, the totals beside the title. Raises NeocogError for another suffix, and for a
    PNG that would be too large to be opened.
    """
    if suffix.lower() not in PRINTERS:
        raise NeocogError(
            "a figure is an SVG or PNG file, so a name ending in .svg or .png is needed", received=suffix or "no suffix"
        )
    return PRINTERS[suffix.lower()](page(plan, title))
