"""A page -> PNG, drawn with Pillow and the typeface that comes with it: the same picture on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from ...errors import NeocogError
from ...lettering import font
from .layout import FONT, RADIUS, Box, Frame, Line, Mark, Plus, Text, text_width
from .page import COLOURS, FRAME, FRAMED, INK, MARGIN, PAPER, SIDE, TOP, Page

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SCALE = 2  # pixels to a unit of the layout: sharp on a fine screen, readable at half size
FINE = 2  # the picture is drawn this much larger again and reduced, which smooths slanted lines
BAND = 200  # units of height drawn at a time, so that memory stays small for the tallest figure
LETTERS = FONT * 0.88  # letters of this typeface are wider than those that the layout reckons with
LARGEST = 80_000_000  # pixels; programs that show pictures refuse ones not much larger

Points = tuple[tuple[float, float], ...]


def to_png(page: Page) -> bytes:
    """The page as a PNG file of twice its size in pixels. Raises NeocogError when that is too large to be opened."""
    from PIL import Image

    width, height = round(page.width * SCALE), round(page.height * SCALE)
    if width * height > LARGEST:
        raise NeocogError(
            "this figure is too large for a PNG file",
            received=f"{width:,} x {height:,} pixels",
            hint="a name ending in .svg",
        )
    picture = Image.new("RGB", (width, height), PAPER)
    for top in range(0, height, BAND * SCALE):
        band = _band(page, top / SCALE, width)
        picture.paste(band.crop((0, 0, width, min(band.height, height - top))), (0, top))
    out = BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _band(page: Page, top: float, width: int) -> Image:
    """The picture from the height `top` on."""
    from PIL import Image, ImageDraw

    band = Image.new("RGB", (width * FINE, BAND * SCALE * FINE), PAPER)
    pen = _Pen(ImageDraw.Draw(band), top)
    pen.write(MARGIN, MARGIN + FONT, page.heading, "ls", LETTERS * 1.15)
    for mark in page.marks:
        above, below = _heights(mark)
        if above - FONT <= top + BAND and below + FONT >= top:
            pen.draw(mark)
    return band.reduce(FINE)


def _heights(mark: Mark) -> tuple[float, float]:
    """The uppermost and the lowest height that a mark reaches, but for the strokes and letters there."""
    if isinstance(mark, Line):
        ys = [y for _, y in mark.points]
        return min(ys), max(ys)
    if isinstance(mark, Box | Frame):
        return mark.y - getattr(mark, "slant", 0), mark.y + mark.height
    return mark.y, mark.y


class _Pen(NamedTuple):
    """Draws marks into the band that begins at the height `top`."""

    on: ImageDraw
    top: float

    def draw(self, mark: Mark) -> None:
        match mark:
            case Line():
                self._line(mark)
            case Text():
                self.write(mark.x, mark.y, mark.words, "ms" if mark.centred else "ls")
            case Plus():
                self._plus(mark)
            case Frame():
                self._frame(mark)
            case Box():
                self._box(mark)

    def write(self, x: float, y: float, words: str, anchor: str, size: float = LETTERS) -> None:
        """Words on a base line, a little smaller where they would take more room than was left for them."""
        fine = size * SCALE * FINE
        room = text_width(words) * SCALE * FINE
        if (taken := font(fine, words).getlength(words)) > room:
            fine *= room / taken
        self.on.text(self._place(x, y), words, INK, font(fine, words), anchor)

    def _line(self, line: Line) -> None:
        self._stroke(line.points)
        if line.arrow:
            x, y = line.points[-1]
            self.on.polygon([self._place(*at) for at in ((x - 6, y - 3.5), (x + 1, y), (x - 6, y + 3.5))], INK)

    def _plus(self, plus: Plus) -> None:
        x, y, arm = plus.x, plus.y, RADIUS - 3
        corners = (*self._place(x - RADIUS, y - RADIUS), *self._place(x + RADIUS, y + RADIUS))
        self.on.ellipse(corners, PAPER, INK, SCALE * FINE)
        self._stroke(((x - arm, y), (x + arm, y)))
        self._stroke(((x, y - arm), (x, y + arm)))

    def _frame(self, frame: Frame) -> None:
        right, bottom = frame.x + frame.width, frame.y + frame.height
        corners = (*self._place(frame.x, frame.y), *self._place(right, bottom))
        self.on.rounded_rectangle(corners, 6 * SCALE * FINE, FRAMED)
        for y in (frame.y, bottom):
            for x in _dashes(frame.x, right):
                self._stroke(((x, y), (x + 5, y)), FRAME)
        for x in (frame.x, right):
            for y in _dashes(frame.y, bottom):
                self._stroke(((x, y), (x, y + 5)), FRAME)

    def _box(self, box: Box) -> None:
        x, y, w, h, s = box.x, box.y, box.width, box.height, box.slant
        if s:
            self._face(((x, y), (x + s, y - s), (x + w + s, y - s), (x + w, y)), box, TOP)
            self._face(((x + w, y), (x + w + s, y - s), (x + w + s, y + h - s), (x + w, y + h)), box, SIDE)
        self._face(((x, y), (x + w, y), (x + w, y + h), (x, y + h)), box, 1)
        for points in box.cut_lines():
            self._stroke(points, _faded(INK, 0.6))

    def _face(self, points: Points, box: Box, strength: float) -> None:
        self.on.polygon([self._place(*point) for point in points], _faded(COLOURS[box.kind], strength))
        self._stroke((*points, points[0], points[1]))

    def _stroke(self, points: Points, colour: str = INK) -> None:
        self.on.line([self._place(*point) for point in points], colour, SCALE * FINE, joint="curve")

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return x * SCALE * FINE, (y - self.top) * SCALE * FINE


def _dashes(start: float, end: float) -> Iterator[float]:
    """Where dashes of 5 begin between two rounded corners, a gap of about 3 after each."""
    length = end - start - 12 - 5
    steps = max(1, round(length / 8))
    return (start + 6 + length * k / steps for k in range(steps + 1))


def _faded(colour: str, strength: float) -> str:
    """A colour laid over the paper so thinly that only this share of it shows."""
    mixed = (
        round(int(colour[i : i + 2], 16) * strength + int(PAPER[i : i + 2], 16) * (1 - strength)) for i in (1, 3, 5)
    )
    return "#" + "".join(f"{part:02x}" for part in mixed)
