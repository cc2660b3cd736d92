"""Parts -> boxes, lines and texts with their places, as plain values. Units are pixels, y grows downwards."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from ...layer import Shape
from .parts import Part, Parts, Repeat

FONT, LINE, LETTER = 12, 14, 7.3  # text size, distance of lines, the most that one letter of the fixed font takes
GAP, TURN = 22, 14  # between lanes, and from a fork to the first arrow
ROW = 1640  # a longer chain goes on below
LONGEST_WORD = 18


@dataclass(frozen=True)
class Box:
    """A volume: the front's left upper corner and size, and how far its far side lies to the right and up."""

    x: float
    y: float
    width: float
    height: float
    slant: float
    kind: str


@dataclass(frozen=True)
class Line:
    """Straight pieces through points; `arrow` puts a head at the end."""

    points: tuple[tuple[float, float], ...]
    arrow: bool = False


@dataclass(frozen=True)
class Text:
    """Words centred at x on the base line y; `full` is what they stand for, where they are shortened."""

    x: float
    y: float
    words: str
    full: str = ""


@dataclass(frozen=True)
class Frame:
    """A bracket around a part that repeats."""

    x: float
    y: float
    width: float
    height: float


Mark = Box | Line | Text | Frame


@dataclass(frozen=True)
class Figure:
    """Marks between x = 0 and `width`, y = -`above` and `below`. Data enters at (0, 0) and leaves at (`exit`, 0)."""

    marks: tuple[Mark, ...]
    width: float
    above: float
    below: float
    exit: float


def moved(mark: Mark, dx: float, dy: float) -> Mark:
    """The mark elsewhere."""
    if isinstance(mark, Line):
        return replace(mark, points=tuple((x + dx, y + dy) for x, y in mark.points))
    return replace(mark, x=mark.x + dx, y=mark.y + dy)


def text_width(words: str) -> float:
    """The most that words take."""
    return LETTER * len(words)


def arranged(parts: Parts) -> Figure:
    """The whole figure: rows of parts, each joined to the end of the one before."""
    rows: list[list[Figure]] = [[]]
    for figure in map(_figure, parts):
        if rows[-1] and sum(f.width for f in rows[-1]) + figure.width > ROW:
            rows.append([])
        rows[-1].append(figure)
    return _stacked([_in_line(row) for row in rows])


def _stacked(rows: list[Figure]) -> Figure:
    """Rows below each other, a line leading from the end of each to the start of the next."""
    right = max(row.width for row in rows) + (TURN if len(rows) > 1 else 0)
    left = TURN if len(rows) > 1 else 0
    marks: list[Mark] = []
    y = 0.0
    for k, row in enumerate(rows):
        if k:
            before = rows[k - 1]
            turn = y + before.below + GAP / 2
            below = turn + GAP / 2 + row.above
            path = ((left + before.exit, y), (left + right, y), (left + right, turn), (0, turn), (0, below))
            marks.append(Line((*path, (left, below))))
            y = below
        marks += (moved(mark, left, y) for mark in row.marks)
    return Figure(tuple(marks), left + right, rows[0].above, y + rows[-1].below, left + rows[-1].exit)


def _in_line(figures: Iterable[Figure]) -> Figure:
    """One after the other, each end joined to the next beginning."""
    marks: list[Mark] = []
    x = end = above = below = 0.0
    for figure in figures:
        if x > end:
            marks.append(Line(((end, 0), (x, 0))))
        marks += (moved(mark, x, 0) for mark in figure.marks)
        above, below = max(above, figure.above), max(below, figure.below)
        x, end = x + figure.width, x + figure.exit
    return Figure(tuple(marks), x, above, below, end)


def _figure(part: Part | Repeat) -> Figure:
    if isinstance(part, Repeat):
        return _framed(_in_line(map(_figure, part.parts)), part.times)
    if part.passes:
        return _passing(part)
    return _in_line([_fork(part), _step(part)]) if part.arms else _step(part)


def _framed(inner: Figure, times: int) -> Figure:
    """A bracket with the number of times above it."""
    pad, label = 8, f"x {times}"
    above, below = inner.above + pad, inner.below + pad
    frame = Frame(pad / 2, -above, inner.width + pad, above + below)
    marks = (frame, Text(pad / 2 + frame.width / 2, -above - 5, label), Line(((0, 0), (pad, 0))))
    end = inner.width + 2 * pad
    lead = Line(((pad + inner.exit, 0), (end, 0)))
    return Figure((*marks, *(moved(m, pad, 0) for m in inner.marks), lead), end, above + 5 + LINE, below, end)


def _passing(part: Part) -> Figure:
    words = part.tokens[0]
    width = text_width(words) + 20
    return Figure((Line(((0, 0), (width, 0))), Text(width / 2, -6, words)), width, 6 + LINE, 4, width)


def _fork(part: Part) -> Figure:
    """Parallel lanes; data enters and leaves halfway between the first and the last."""
    lanes = [_in_line(map(_figure, arm)) for arm in part.arms]
    ys = [0.0]
    for upper, lower in pairwise(lanes):
        ys.append(ys[-1] + upper.below + GAP + lower.above)
    middle = ys[-1] / 2
    ys = [y - middle for y in ys]
    end = 2 * TURN + max(lane.width for lane in lanes)
    marks: list[Mark] = []
    for y, lane in zip(ys, lanes, strict=True):
        marks.append(Line(((0, 0), (TURN, 0), (TURN, y))))
        marks += (moved(mark, TURN, y) for mark in lane.marks)
        marks.append(Line(((TURN + lane.exit, y), (end - TURN / 2, y), (end - TURN / 2, 0), (end, 0))))
    return Figure(tuple(marks), end, lanes[0].above - ys[0], ys[-1] + lanes[-1].below, end)


def _step(part: Part) -> Figure:
    """An arrow with the layers above it, and the volume they give with its size below it."""
    size = str(part.output.channels) if part.output.positions == 1 else str(part.output)
    words = [] if part.kind == "input" else [(word, token) for token in part.tokens for word in _words(token)]
    box = _box(part.output, part.kind)
    overhang = max(0.0, (text_width(size) - box.width) / 2)
    arrow = max([28 if words else 0, overhang + 4, *(text_width(word) + 16 for word, _ in words)])
    marks: list[Mark] = [Line(((0, 0), (arrow - 2, 0)), arrow=True)] if words else []
    for k, (word, token) in enumerate(reversed(words)):
        marks.append(Text(arrow / 2 - 2, -7 - k * LINE, word, token))
    marks.append(replace(box, x=arrow))
    marks.append(Text(arrow + box.width / 2, box.height / 2 + LINE, size))
    above = max(7 + len(words) * LINE, box.height / 2 + box.slant)
    right = arrow + box.width
    width = right + max(box.slant, overhang) + 2
    return Figure(tuple(marks), width, above, box.height / 2 + LINE + 4, right + box.slant / 2)


def _box(shape: Shape, kind: str) -> Box:
    """Sides grow with the square root of the spatial size and the logarithm of the channels: 224 and 7 both show."""
    if shape.positions == 1:
        return _front(9, 12 + 8 * math.log2(1 + shape.channels), 0, kind)
    width = 3 + 4 * math.log2(1 + shape.channels)
    slant = 2.5 * math.sqrt(shape.spatial[1]) if shape.rank == 2 else 0
    return _front(width, 8 * math.sqrt(shape.spatial[0]), slant, kind)


def _front(width: float, height: float, slant: float, kind: str) -> Box:
    return Box(0, -height / 2, width, height, slant, kind)


def _words(token: str) -> list[str]:
    """A token as lines: the word, then its settings without those that change no size."""
    head, _, rest = token.partition("(")
    settings = re.findall(r'(?:[^,"]|"[^"]*")+', rest.removesuffix(")"))
    shown = [s.strip() for s in settings if not s.strip().startswith(("BIAS=", "fit="))]
    return [_short(word) for word in (head, ", ".join(shown)) if word]


def _short(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - 1] + "\u2026"
