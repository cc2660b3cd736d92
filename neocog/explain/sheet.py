"""The one layout of every picture: strips of panels, each with its name, colour bar and caption, on a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from ..errors import NeocogError
from ..lettering import font, legible
from ..measure.field_picture import INK, PAPER, SOFT, Pixels
from ..wording import Text, Words, broken
from . import colours

SMALL, LARGE = 224, 448
"""A panel's longer side: pictures below are enlarged pixel by pixel, pictures above made smaller."""
MARGIN, GAP, LINE, TEXT = 28, 18, 21, 15
BAR = 8
FRAME = "#c5c9ce"
TILE, DOT, WIDE, AROUND = 64, 14, 900, 144
"""The longer side of a tile, the side of a single value, the width of all tiles together, about, and what frames one:
a grey that differs from all colours of values."""
LEAST_WIDTH = 720
SEEN = Text("what the network sees", "网络看到的图像")
PIXELS = 60_000_000


@dataclass(frozen=True)
class Bar:
    """A colour bar: whether values have a sign, and what the end of the colours stands for."""

    signed: bool
    scale: float

    @property
    def ends(self) -> tuple[str, str]:
        """What stands at the left and at the right."""
        return (f"{-self.scale:.2g}" if self.signed else "0"), f"{self.scale:.2g}"


@dataclass(frozen=True, eq=False)
class Panel:
    """A picture (H, W, 3) with its name; `marks` are lines on it, as corners (row, column) in its pixels, with colours.

    `side` is how long its longer side is to be, where that is not a matter of course.
    """

    name: Words
    pixels: Pixels
    bar: Bar | None = None
    marks: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = ()
    side: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Its height and width on the sheet."""
        longest = max(self.pixels.shape[:2])
        wanted = self.side or min(max(longest, SMALL), LARGE)
        height, width = (max(6, round(n * wanted / longest)) for n in self.pixels.shape[:2])
        return height, width

    def shown(self) -> Image.Image:
        """The picture at that size, its marks drawn."""
        height, width = self.size
        enlarged = width >= self.pixels.shape[1]
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
        image = Image.fromarray(np.ascontiguousarray(self.pixels)).resize((width, height), how)
        pen, down, right = ImageDraw.Draw(image), height / self.pixels.shape[0], width / self.pixels.shape[1]
        for colour, corners in self.marks:
            pen.line([(column * right, row * down) for row, column in corners], colour, 2)
        return image


@dataclass(frozen=True, eq=False)
class Strip:
    """Panels side by side, and the lines of text below them."""

    panels: tuple[Panel, ...]
    lines: tuple[Words, ...] = ()


def as_seen(image: Pixels) -> Panel:
    """An image (H, W, 1 or 3) of the size that the network reads."""
    return Panel(SEEN, colours.in_colour(image))


def in_rows(panels: Sequence[Panel], across: int, caption: Words) -> tuple[Strip, ...]:
    """Strips of so many panels, the caption below the last."""
    rows = [tuple(panels[k : k + across]) for k in range(0, len(panels), across)]
    return (*(Strip(row) for row in rows[:-1]), Strip(rows[-1], (caption,)))


def draw(title: Words, strips: Sequence[Strip], language: str = "en") -> bytes:
    """A PNG file; the same bytes for the same strips and language. Raises NeocogError where it would be too large.

    Words are in the language, or in English where the system has no font with its characters.
    """
    width = max([LEAST_WIDTH, *(_width(strip) for strip in strips)]) + 2 * MARGIN
    said = [[legible(line, language) for line in strip.lines] for strip in strips]
    texts = [[part for line in lines for part in _wrapped(line, width - 2 * MARGIN)] for lines in said]
    heights = [_height(strip) + LINE * len(lines) + GAP for strip, lines in zip(strips, texts, strict=True)]
    height = 2 * MARGIN + LINE + sum(heights)
    if width * height > PIXELS:
        hint = "fewer images, layers or units"
        raise NeocogError(f"a picture has at most {PIXELS:,} pixels", received=f"{width}x{height}", hint=hint)
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    heading = cut_to(legible(title, language), width - 2 * MARGIN, TEXT * 1.2)
    pen.text((MARGIN, MARGIN - 8), heading, INK, font(TEXT * 1.2, heading))
    top = MARGIN + LINE
    for strip, lines, height in zip(strips, texts, heights, strict=True):
        bottom = top + _strip(sheet, strip, top, language)
        for k, line in enumerate(lines):
            pen.text((MARGIN, bottom + k * LINE), line, SOFT if k else INK, font(TEXT, line))
        top += height
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _width(strip: Strip) -> int:
    return sum(panel.size[1] + GAP for panel in strip.panels) - GAP


def _height(strip: Strip) -> int:
    bars = any(panel.bar for panel in strip.panels)
    return LINE + max((panel.size[0] for panel in strip.panels), default=0) + (BAR + LINE + 4 if bars else 8)


def _strip(sheet: Image.Image, strip: Strip, top: int, language: str) -> int:
    """Draw the panels; returns the height that they take."""
    pen, left = ImageDraw.Draw(sheet), MARGIN
    for panel in strip.panels:
        height, width = panel.size
        name = cut_to(legible(panel.name, language), width + GAP - 4, TEXT * 0.9)
        pen.text((left, top), name, SOFT, font(TEXT * 0.9, name))
        sheet.paste(panel.shown(), (left, top + LINE))
        pen.rectangle((left - 1, top + LINE - 1, left + width, top + LINE + height), None, FRAME)
        if panel.bar:
            _bar(sheet, panel.bar, left, top + LINE + height + 4, width)
        left += width + GAP
    return _height(strip)


def _bar(sheet: Image.Image, bar: Bar, left: int, top: int, width: int) -> None:
    values = np.linspace(-bar.scale if bar.signed else 0, bar.scale, width)[None]
    shown = colours.painted(np.repeat(values, BAR, axis=0), signed=bar.signed, scale=bar.scale)
    sheet.paste(Image.fromarray(shown), (left, top))
    pen, small = ImageDraw.Draw(sheet), font(TEXT * 0.8)
    pen.rectangle((left - 1, top - 1, left + width, top + BAR), None, FRAME)
    low, high = bar.ends
    pen.text((left, top + BAR + 1), low, SOFT, small)
    pen.text((left + width - small.getlength(high), top + BAR + 1), high, SOFT, small)
    if bar.signed:
        pen.text((left + width / 2 - small.getlength("0") / 2, top + BAR + 1), "0", SOFT, small)


def _wrapped(line: str, width: int) -> list[str]:
    """The line in parts that fit."""
    parts = broken(_on_one_line(line), lambda part: font(TEXT, part).getlength(part) <= width)
    return [cut_to(part, width) for part in parts]


def _on_one_line(text: str) -> str:
    """Without line breaks and other characters that cannot be drawn: a file's name may hold them."""
    return "".join(c if c.isprintable() else "?" for c in text)


def cut_to(text: str, width: float, size: float = TEXT) -> str:
    """The text, its end left out where it is too long."""
    text = _on_one_line(text)
    small = font(size, text + "…")
    while len(text) > 1 and small.getlength(text) > width:
        text = text[: max(1, min(len(text) - 2, int(len(text) * width / small.getlength(text))))] + "…"
    return text


def tiles(name: Words, images: Pixels, bar: Bar | None, columns: int | None = None) -> Panel:
    """Small pictures (n, h, w, 3) as a panel of tiles, enlarged pixel by pixel, so many in a row or as many as fit."""
    height, width = images.shape[1:3]
    side = TILE if max(height, width) > 1 else DOT
    enlarge = max(1, min(side // max(height, width), WIDE // ((columns or 1) * (width + 1))))
    larger = images.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    framed = np.pad(larger, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=AROUND)
    picture = tiled(framed, columns or max(1, min(len(framed), WIDE // (framed.shape[2] + 1))))
    return Panel(name, picture, bar, side=max(picture.shape[:2]))


def tiled(images: Pixels, columns: int, gap: int = 1, ground: int = 255) -> Pixels:
    """Pictures (n, h, w, 3) of one size as one, row by row, so many in a row."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    made = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), ground, np.uint8)
    for k, image in enumerate(images):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        made[top : top + height, left : left + width] = image
    return made
