"""Line charts as inline SVG: sharp at any size, and coloured by the page's own style sheet, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ..wording import count_of

WIDTH, HEIGHT = 420, 270
COLOURS = 6  # in the style sheet
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 42


class Series(NamedTuple):
    """Points to join by a line. `dots` marks each of them; few points need it, many do not."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


class Mark(NamedTuple):
    """An x to draw a line at, and what it is."""

    x: float
    name: str


def line_chart(
    series: Sequence[Series], x_label: str, percent: bool = False, log: bool = False, mark: Mark | None = None
) -> str:
    """An SVG chart of all series over x from 0; dots show their numbers under the pointer."""
    keys = [(f"s{k % COLOURS}", s.name) for k, s in enumerate(series)] + ([("mark", mark.name)] if mark else [])
    xs = [x for s in series for x, _ in s.points] + ([mark.x] if mark else [])
    ys = [y for s in series for _, y in s.points]
    x_ticks = [t for t in ticks(0.0, max(xs), 6) if t <= max(xs) and (t.is_integer() or max(xs) < 2)]
    y_ticks = log_ticks(min(ys), max(ys)) if log else ticks(min(ys), max(ys), 5)
    plane = _Plane((0.0, max(xs)), (y_ticks[0], y_ticks[-1]), log)
    parts = [_grid(plane, x_ticks, y_ticks, percent)]
    if mark:
        x, _ = plane.at(mark.x, y_ticks[0])
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    parts += [_line(plane, s, k, percent) for k, s in enumerate(series)]
    return _drawing(parts, x_label, keys)


def bar_chart(edges: Sequence[float], counts: Sequence[int], x_label: str) -> str:
    """Counts of what lies between neighbouring edges, shares of 1, on a scale of powers of ten."""
    powers = [10.0**p for p in range(len(str(max(counts))) + 1)]
    plane = _Plane((edges[0], edges[-1]), (0.5, powers[-1]), log=True)
    bars = [
        _bar(plane, (low, high), count, f"{low:.0%} to {high:.0%} sure: {count_of(count, 'answer')}")
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]
    return _drawing([_grid(plane, _FIFTHS, powers, False), *bars], x_label)


def reliability_chart(edges: Sequence[float], bins: Sequence[tuple[float, float, int] | None], x_label: str) -> str:
    """Bars of accuracy between neighbouring edges of confidence, and the diagonal: (confidence, accuracy, how many)."""
    plane = _Plane((edges[0], edges[-1]), (0.0, 1.0), log=False)
    bars = [
        _bar(
            plane,
            (low, high),
            found[1],
            f"{count_of(found[2], 'answer')}, {found[0]:.1%} sure on average, {found[1]:.1%} right",
        )
        for low, high, found in zip(edges, edges[1:], bins, strict=False)
        if found
    ]
    (x1, y1), (x2, y2) = plane.at(0.0, 0.0), plane.at(1.0, 1.0)
    ideal = f'<line class="mark" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'
    return _drawing([_grid(plane, _FIFTHS, _FIFTHS, True), *bars, ideal], x_label)


_FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _bar(plane: _Plane, between: tuple[float, float], value: float, says: str) -> str:
    (x1, y), (x2, _) = plane.at(between[0], value), plane.at(between[1], value)
    _, ground = plane.at(0.0, 10 ** plane.y[0] if plane.log else plane.y[0])
    return (
        f'<rect class="bar" x="{x1 + 1:.1f}" y="{y:.1f}" width="{x2 - x1 - 2:.1f}" height="{max(0.0, ground - y):.1f}">'
        f"<title>{escape(says)}</title></rect>"
    )


def _drawing(parts: Sequence[str], x_label: str, keys: Sequence[tuple[str, str]] = ()) -> str:
    """The parts as one SVG, below it the axis' name and above it the keys: style classes and what they stand for."""
    shown = " ".join(f'<span class="key"><i class="swatch {k}"></i>{escape(name)}</span>' for k, name in keys)
    legend = f'<div class="legend">{shown}</div>' if keys else ""
    label = f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}">{escape(x_label)}</text>'
    names = escape(", ".join(name for _, name in keys) or x_label)
    drawing = "".join(parts)
    return f'{legend}<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{names}">{drawing}{label}</svg>'


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers, evenly spaced, from at or below `low` to at or above `high`: `ticks(0, 9, 5)` is 0, 2, ... 10."""
    span = (high - low) or abs(high) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around positive numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    below = max((t for t in marks if t <= low), default=marks[0])
    above = min((t for t in marks if t >= high), default=marks[-1])
    return [t for t in marks if below <= t <= above]


class _Plane:
    """Data coordinates -> drawing coordinates."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log: bool) -> None:
        self.log = log
        self.x, self.y = x, (self._scale(y[0]), self._scale(y[1]))

    def _scale(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (self._scale(y) - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def number(value: float, percent: bool) -> str:
    """`98.5 %`, `10,000` or the shortest text for the number."""
    if percent:
        return f"{100 * value:.4g} %"
    return f"{value:,.0f}" if value == round(value) and value < 10**6 else f"{value:.4g}"


def _grid(plane: _Plane, x_ticks: Sequence[float], y_ticks: Sequence[float], percent: bool) -> str:
    parts = []
    for value in y_ticks:
        _, y = plane.at(plane.x[0], value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick y" x="{LEFT - 7}" y="{y + 4:.1f}">{number(value, percent)}</text>')
    for value in x_ticks:
        x, _ = plane.at(value, y_ticks[0])
        parts.append(f'<text class="tick x" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}">{value:g}</text>')
    return "".join(parts)


def _line(plane: _Plane, series: Series, k: int, percent: bool) -> str:
    at = [plane.at(x, y) for x, y in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    line = f'<polyline class="line s{k % COLOURS}" points="{path}"/>'
    if not series.dots:
        return line
    dots = (
        f'<circle class="dot s{k % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{escape(series.name)}, {px:g}: '
        f"{number(py, percent)}</title></circle>"
        for (x, y), (px, py) in zip(at, series.points, strict=True)
    )
    return line + "".join(dots)
