"""The pictures of lessons: matrices as coloured cells, images, line charts, each with its name, on one sheet.

What has a sign is blue below 0, white at 0 and red above (RdBu of ColorBrewer), lines have the colours of Okabe and Ito
("Color universal design", 2008): people with any colour vision can tell them apart. Words are drawn in the language
asked for, or in English where the system has no font with its characters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont

from .. import lettering
from ..lettering import legible
from ..report.charts import log_ticks, number, ticks
from ..wording import Words
from .lesson import Picture

INK, SOFT, RULE, PAPER, ALARM = "#22262b", "#6a7178", "#dfe2e6", "#ffffff", "#c8571b"
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
_SIGNED = np.array([list(bytes.fromhex(c)) for c in ("2166ac", "92c5de", "f7f7f7", "f4a582", "b2182b")], float)
MARGIN, GAP, TEXT = 24, 26, 15
CELL, IMAGE = 44, 168
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 330, 74, 16, 12, 44
FINE = 2
"""Charts are drawn this much larger and reduced, which smooths slanted lines."""


Drawing = Callable[[str], Image.Image]
"""An image with words on it, in a language."""


class Panel(NamedTuple):
    """An image and its name."""

    name: Words
    image: Image.Image | Drawing

    def drawn(self, language: str) -> tuple[str, Image.Image]:
        """Both in a language."""
        image = self.image if isinstance(self.image, Image.Image) else self.image(language)
        return legible(self.name, language), image


class Line(NamedTuple):
    """Points to join by a line. `dots` marks each of them; few points need it, many do not."""

    name: Words
    points: Sequence[tuple[float, float]]
    dots: bool = False


def sheet(title: Words, rows: Sequence[Sequence[Panel]]) -> Picture:
    """A PNG file: rows of panels under a title; the same bytes for the same panels and language."""
    return partial(_sheet, title, rows)


def _sheet(title: Words, rows: Sequence[Sequence[Panel]], language: str) -> bytes:
    heading, drawn = legible(title, language), [[panel.drawn(language) for panel in row] for row in rows]
    line = round(TEXT * 1.5)
    widths = [sum(_width(*panel) + GAP for panel in row) - GAP for row in drawn]
    named = [line if any(name for name, _ in row) else 0 for row in drawn]
    heights = [max(image.height for _, image in row) + above + GAP for row, above in zip(drawn, named, strict=True)]
    width = max(*widths, round(font(1.15, heading).getlength(heading)))
    page = Image.new("RGB", (width + 2 * MARGIN, sum(heights) - GAP + line + 2 * MARGIN + 6), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN - 6), heading, INK, font(1.15, heading))
    top = MARGIN + line + 6
    for row, above, height in zip(drawn, named, heights, strict=True):
        left = MARGIN
        for name, image in row:
            pen.text((left, top), name, SOFT, font(1, name))
            page.paste(image, (left, top + above))
            left += _width(name, image) + GAP
        top += height
    out = BytesIO()
    page.save(out, "PNG", optimize=True)
    return out.getvalue()


def _width(name: str, image: Image.Image) -> int:
    return max(image.width, round(font(1, name).getlength(name)))


def matrix(
    values: NDArray[Any],
    cell: int = CELL,
    marked: NDArray[np.bool_] | None = None,
    shade: NDArray[np.float64] | None = None,
) -> Image.Image:
    """A matrix (H, W) as cells with their numbers, coloured by them or by `shade`; those `marked` have a frame."""
    height, width = values.shape
    image = Image.new("RGB", (width * cell + 1, height * cell + 1), PAPER)
    pen, colours = ImageDraw.Draw(image), painted(values if shade is None else shade)
    for i, j in np.ndindex(height, width):
        box = (j * cell, i * cell, (j + 1) * cell, (i + 1) * cell)
        pen.rectangle(box, tuple(int(c) for c in colours[i, j]), RULE)
        written = f"{values[i, j]:.3g}"
        dark = colours[i, j].astype(int).sum() < 400
        size = min(1.0, cell * 0.8 / max(1.0, font().getlength(written)))
        pen.text((box[0] + cell / 2, box[1] + cell / 2), written, PAPER if dark else INK, font(size), "mm")
    for i, j in np.argwhere(marked) if marked is not None else ():
        pen.rectangle((j * cell + 1, i * cell + 1, (j + 1) * cell - 1, (i + 1) * cell - 1), None, INK, 3)
    return image


def painted(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours (..., 3) of values: blue, white at 0, red, on a scale that ends at the largest magnitude."""
    at = (values / (float(np.abs(values).max()) or 1.0) / 2 + 0.5) * (len(_SIGNED) - 1)
    channels = [np.interp(at, np.arange(len(_SIGNED)), _SIGNED[:, c]) for c in range(3)]
    colours: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def photo(pixels: NDArray[np.uint8], side: int = IMAGE) -> Image.Image:
    """Pixels (H, W) or (H, W, 3) with their longer side that long; single pixels stay visible."""
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB").resize(size, how)


def grey(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values from 0 to 1 as bytes; what lies outside is black or white."""
    shades: NDArray[np.uint8] = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return shades


def chart(lines: Sequence[Line], x_label: Words, log: bool = False) -> Drawing:
    """Lines over x with a legend; `log` has powers of ten upwards, for numbers above 0."""
    return partial(_chart, lines, x_label, log)


def _chart(lines: Sequence[Line], x_label: Words, log: bool, language: str) -> Image.Image:
    xs, ys = ([point[axis] for one in lines for point in one.points] for axis in (0, 1))
    y_ticks = _powers(min(ys), max(ys)) if log else ticks(min(ys), max(ys), 5)
    plane = _Plane((min(xs), max(xs)), (y_ticks[0], y_ticks[-1]), log)
    image = Image.new("RGB", (WIDTH * FINE, (HEIGHT + 24) * FINE), PAPER)
    pen = ImageDraw.Draw(image)
    counts = all(float(x).is_integer() for x in xs)
    shown = [t for t in ticks(min(xs), max(xs), 6) if min(xs) <= t <= max(xs) and (t.is_integer() or not counts)]
    _grid(pen, plane, shown, y_ticks)
    below = legible(x_label, language)
    pen.text(((LEFT + WIDTH - RIGHT) / 2 * FINE, (HEIGHT - 4) * FINE), below, SOFT, font(FINE, below), "ms")
    left = float(LEFT)
    for k, line in enumerate(lines):
        colour, name = LINES[k % len(LINES)], legible(line.name, language)
        _draw(pen, plane, line, colour)
        pen.line([(left * FINE, (HEIGHT + 12) * FINE), ((left + 18) * FINE, (HEIGHT + 12) * FINE)], colour, 4 * FINE)
        pen.text(((left + 24) * FINE, (HEIGHT + 12) * FINE), name, INK, font(FINE, name), "lm")
        left += 24 + font(1, name).getlength(name) + 18
    return image.reduce(FINE)


def _powers(low: float, high: float) -> list[float]:
    """Marks of a scale of powers of ten, at most about eight of them."""
    found = log_ticks(low, high)
    if len(found) <= 8:
        return found
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = -(-(last - first) // 8)
    return [10.0**power for power in range(first, last + step, step)]


def _draw(pen: ImageDraw.ImageDraw, plane: _Plane, line: Line, colour: str) -> None:
    at = [plane.at(x, y) for x, y in line.points]
    pen.line(at, colour, 2 * FINE, joint="curve")
    for x, y in at if line.dots else ():
        pen.ellipse((x - 4 * FINE, y - 4 * FINE, x + 4 * FINE, y + 4 * FINE), colour)


class _Plane(NamedTuple):
    """Data coordinates -> pixels of the enlarged drawing."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool

    def at(self, x: float, y: float) -> tuple[float, float]:
        low, high, value = (math.log10(v) if self.log else v for v in (*self.y, y))
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (value - low) / ((high - low) or 1)
        return (LEFT + across * (WIDTH - LEFT - RIGHT)) * FINE, (HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)) * FINE


def _grid(pen: ImageDraw.ImageDraw, plane: _Plane, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
    small = font(0.9 * FINE)
    for value in y_ticks:
        _, y = plane.at(plane.x[0], value)
        pen.line([(LEFT * FINE, y), ((WIDTH - RIGHT) * FINE, y)], RULE, FINE)
        pen.text(((LEFT - 8) * FINE, y), number(value, False), SOFT, small, "rm")
    for value in x_ticks:
        x, _ = plane.at(value, y_ticks[0])
        pen.text((x, (HEIGHT - BOTTOM + 8) * FINE), f"{value:g}", SOFT, small, "mt")


def font(size: float = 1.0, text: str = "") -> FreeTypeFont:
    """The letters of lessons, at a multiple of the usual size, which have the characters of a text."""
    return lettering.font(TEXT * size, text)
