"""Parts -> boxes, lines and texts with their places, as plain values. Units are pixels, y grows downwards."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from .parts import Part, Parts, Repeat

FONT, LINE, LETTER = 12, 14, 7.3  # text size, distance of lines, the most that one letter of the fixed font takes
GAP, TURN = 22, 14  # between lanes, and from a fork to the first arrow
RADIUS = 6  # of a circled plus
ROW = 1840  # a longer chain goes on below
LONGEST_WORD = 18
THINNEST = 3  # a slice of a box, on average


@dataclass(frozen=True)
class Box:
    """A volume: the front's left upper corner and size, and how far its far side lies to the right and up.

    `cuts` are where lines across the channels show what it is stacked from, as shares of its width; a vector's
    channels run down its height.
    """

    x: float
    y: float
    width: float
    height: float
    slant: float
    kind: str
    cuts: tuple[float, ...] = ()
    upright: bool = False

    def cut_lines(self) -> Iterator[tuple[tuple[float, float], ...]]:
        """The points of each cut: up the front and over the top, or across the front of a vector."""
        for cut in self.cuts:
            if self.upright:
                y = self.y + cut * self.height
                yield (self.x, y), (self.x + self.width, y)
            else:
                x = self.x + cut * self.width
                yield (x, self.y + self.height), (x, self.y), (x + self.slant, self.y - self.slant)


@dataclass(frozen=True)
class Line:
    """Straight pieces through points; `arrow` puts a head at the end."""

    points: tuple[tuple[float, float], ...]
    arrow: bool = False


@dataclass(frozen=True)
class Text:
    """Words on the base line y, centred at x or beginning there; `full` is what they are short for."""

    x: float
    y: float
    words: str
    full: str = ""
    centred: bool = True


@dataclass(frozen=True)
class Frame:
    """A bracket around a part that repeats."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Plus:
    """The circled plus around (x, y) where branches are added up; `full` is the layer it stands for."""

    x: float
    y: float
    full: str


Mark = Box | Line | Text | Frame | Plus


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
    return _stacked([_in_line(row) for row in _rows([_figure(part) for part in parts])])


def _rows(figures: list[Figure]) -> list[list[Figure]]:
    """Rows at most `ROW` long, of all ways that with the least sum of squares of what the rows leave empty.

    So there are as few as can be, and none is much shorter than the others.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]  # for the first figures: the least sum, and where their last row begins
    for end in range(1, len(figures) + 1):
        ways: list[tuple[float, int]] = []
        width = 0.0
        for start in range(end - 1, -1, -1):
            width += figures[start].width
            if width > ROW and ways:
                break
            ways.append((best[start][0] + max(0.0, ROW - width) ** 2, start))
        best.append(min(ways))
    rows: list[list[Figure]] = []
    end = len(figures)
    while end:
        start = best[end][1]
        rows.append(figures[start:end])
        end = start
    return rows[::-1]


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
    if part.is_side:
        return _side(part)
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


def _side(part: Part) -> Figure:
    """The line goes on; below it the side branch leaves and ends in an arrow with its name."""
    (arm,) = part.arms
    lane = _in_line(map(_figure, arm))
    token = part.tokens[0]
    end = TURN + lane.exit + text_width(token) + 16
    y = GAP + lane.above
    marks: list[Mark] = [Line(((TURN / 2, 0), (TURN / 2, y), (TURN, y)))]
    marks += (moved(mark, TURN, y) for mark in lane.marks)
    marks.append(Line(((TURN + lane.exit, y), (end, y)), arrow=True))
    marks.append(Text((TURN + max(lane.exit, lane.width) + end) / 2, y - 7, token))
    marks.append(Line(((0, 0), (end + GAP, 0))))
    return Figure(tuple(marks), end + GAP, 0, y + lane.below, end + GAP)


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
    if part.adds:
        marks.append(Plus(end - TURN / 2, 0, part.tokens[0]))
    return Figure(tuple(marks), end, lanes[0].above - ys[0], ys[-1] + lanes[-1].below, end)


def _step(part: Part) -> Figure:
    """An arrow with the layers above it, and the volume they give with its size below it."""
    size = str(part.output.channels) if part.output.positions == 1 else str(part.output)
    first = part.kind == "input"
    named = part.tokens[1:] if first or part.adds else part.tokens  # INPUT is its box, ADD its circled plus
    words = [(word, token) for token in named for word in _words(token)]
    box = _box(part)
    overhang = max(0.0, (text_width(size) - box.width) / 2)
    arrow = max([0 if first else 28, overhang + 4, *(text_width(word) + 16 for word, _ in words)])
    marks: list[Mark] = [] if first else [Line(((0, 0), (arrow - 2, 0)), arrow=True)]
    for k, (word, token) in enumerate(reversed(words)):
        marks.append(Text(arrow / 2 - 2, -7 - k * LINE, word, token))
    marks.append(replace(box, x=arrow))
    marks.append(Text(arrow + box.width / 2, box.height / 2 + LINE, size))
    above = max(7 + len(words) * LINE, box.height / 2 + box.slant)
    right = arrow + box.width
    width = right + max(box.slant, overhang) + 2
    leaves = right + min(box.slant, box.height) / 2  # on the right face, however flat the box is
    return Figure(tuple(marks), width, above, box.height / 2 + LINE + 4, leaves)


def _box(part: Part) -> Box:
    """Sides grow with the square root of the spatial size and the logarithm of the channels: 224 and 7 both show."""
    shape = part.output
    vector = shape.positions == 1
    depth = math.log2(1 + shape.channels)
    width, height = (9, 12 + 8 * depth) if vector else (3 + 4 * depth, 8 * math.sqrt(shape.spatial[0]))
    slant = 2.5 * math.sqrt(shape.spatial[1]) if shape.rank == 2 and not vector else 0
    cuts = _cuts(part.slices, height if vector else width)
    return Box(0, -height / 2, width, height, slant, part.kind, cuts, upright=vector)


def _cuts(slices: tuple[int, ...], length: float) -> tuple[float, ...]:
    """Where the slices end, but the last, as shares of the length; none when they are too thin to be seen."""
    total = sum(slices)
    if not slices or length / len(slices) < THINNEST:
        return ()
    return tuple(end / total for end in accumulate(slices[:-1]))


def _words(token: str) -> list[str]:
    """A token as lines: the word with what it is given by place, then its settings by letter.

    Lower-case letters (`eps`, `alpha`, `fit`), biases and the like are left out: they change nothing that is drawn.
    """
    head, _, rest = token.partition("(")
    settings = [s.strip() for s in re.findall(r'(?:[^,"]|"[^"]*")+', rest.removesuffix(")"))]
    by_place = ", ".join(s for s in settings if "=" not in s)
    by_letter = [s for s in settings if re.match("[A-Z]+=", s) and not s.startswith(("BIAS=", "AFFINE="))]
    tables = (re.sub('=".*"', "", s) for s in by_letter)  # a table of maps is named, not written out
    return [_short(word) for word in (f"{head}({by_place})" if by_place else head, ", ".join(tables)) if word]


def _short(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - 1] + "\u2026"
