"""Plan -> the whole page of its figure, heading and legend included: what every printer prints."""

from __future__ import annotations

from dataclasses import dataclass

from ...wording import count_of
from ..plan import Plan
from .layout import FONT, LINE, Box, Figure, Frame, Mark, Text, arranged, moved, text_width
from .parts import KINDS, Parts, Repeat, parts_of

MARGIN, HEAD, LEGEND = 24, 30, 40
COLOURS = dict(zip(KINDS, ("#d9d9d9", "#8fbbe8", "#f3b488", "#a9d6a0", "#d3b3e5", "#f2dc8c"), strict=True))
INK, PAPER, FRAME, FRAMED = "#333333", "#ffffff", "#888888", "#f6f6f6"
TOP, SIDE = 0.6, 0.8
"""How much of its colour the top and the side of a box show; the rest is paper."""


@dataclass(frozen=True)
class Page:
    """Marks on paper of a size, in the order they are drawn. The heading begins at (`MARGIN`, `MARGIN + FONT`)."""

    width: float
    height: float
    marks: tuple[Mark, ...]
    heading: str
    title: str


def page(plan: Plan, title: str = "") -> Page:
    """The page of a plan. `title` stands above the figure, the totals beside the title."""
    parts = parts_of(plan)
    figure, legend = arranged(parts), _legend(parts)
    title = _printable(title)
    totals = f"{count_of(plan.totals['parameters'], 'parameter')}, {count_of(plan.totals['macs'], 'MAC')}"
    heading = f"{_shortened(title)}: {totals}" if title else totals
    width = 2 * MARGIN + max(figure.width, text_width(heading), legend.width)
    height = 2 * MARGIN + HEAD + figure.above + figure.below + LEGEND
    marks = [moved(mark, MARGIN, MARGIN + HEAD + figure.above) for mark in figure.marks]
    marks += [moved(mark, MARGIN, height - MARGIN) for mark in legend.marks]
    marks.sort(key=lambda mark: not isinstance(mark, Frame))  # frames lie below what they hold
    return Page(width, height, tuple(marks), heading, title or str(plan.network))


def _printable(title: str) -> str:
    """The title in characters that XML may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in title)


def _shortened(title: str) -> str:
    return title if len(title) <= 60 else title[:59] + "\u2026"


def _legend(parts: Parts) -> Figure:
    """A small square for each kind of layer that occurs, with its name."""
    marks: list[Mark] = []
    used, x = _kinds(parts), 0.0
    for kind in (kind for kind in KINDS if kind in used):
        marks.append(Box(x, -FONT + 1, FONT, FONT, 0, kind))
        marks.append(Text(x + 18, 0, kind, centred=False))
        x += 18 + text_width(kind) + 20
    return Figure(tuple(marks), x, LINE, 4, x)


def _kinds(parts: Parts) -> set[str]:
    found = set()
    for part in parts:
        if isinstance(part, Repeat):
            found |= _kinds(part.parts)
        else:
            found |= set() if part.passes else {part.kind}
            found |= {kind for arm in part.arms for kind in _kinds(arm)}
    return found
