"""Effective fields -> PNG: for each layer a heat map of influence on the input, the theoretical field around it."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import NeocogError
from ..lettering import font
from .field import LEVEL, EffectiveField

PANEL, STRIP, GAP, COLUMNS = 320, 60, 36, 5  # side of a map, height of a sequence, between panels, panels in a row
MARGIN, LINE, FONT = 36, 26, 19
INK, SOFT, PAPER = "#22262b", "#6a7178", "#ffffff"
IN_THEORY, IN_EFFECT = "#22262b", "#1f6fb5"
HEAT = np.array([(255, 255, 255), (254, 227, 145), (251, 154, 41), (204, 76, 2), (102, 37, 6)], float)
"""Colours from no influence to the largest, equally far apart."""

Pixels = NDArray[np.uint8]
Points = Sequence[tuple[float, float]]


def draw_fields(fields: Sequence[EffectiveField], title: str = "") -> bytes:
    """A PNG file with one panel for each layer, in their order; the same picture for the same fields.

    Each shows the input's pixels coloured by the square root of their influence, which lets weak influence show, the
    theoretical field as a dark rectangle and the edge of the effective field in blue. Raises NeocogError when there is
    no field.
    """
    if not fields:
        raise NeocogError("no layer of this network gives a map and sees more than its own position")
    columns = min(COLUMNS, len(fields))
    rows = -(-len(fields) // columns)
    width, height = _panel_size(fields[0])
    cell = height + 2 * LINE + GAP
    head = MARGIN + (LINE + 14 if title else 0)
    across = max(columns * (PANEL + GAP) - GAP, 2 * PANEL + GAP)
    sheet = Image.new("RGB", (2 * MARGIN + across, head + rows * cell + LINE + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, INK, font(FONT * 1.2, title))
    for k, field in enumerate(fields):
        x, y = MARGIN + k % columns * (PANEL + GAP), head + k // columns * cell
        _captions(pen, x, y, field)
        _panel(sheet, x, y + 2 * LINE, (width, height), field)
    _legend(sheet, pen, MARGIN, sheet.height - MARGIN - LINE)
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _panel_size(field: EffectiveField) -> tuple[int, int]:
    """Width and height of a panel: the input's proportions within a square, or a strip for a sequence."""
    if field.influence.ndim == 1:
        return PANEL, STRIP
    height, width = field.influence.shape
    scale = PANEL / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _captions(pen: ImageDraw.ImageDraw, x: int, y: int, field: EffectiveField) -> None:
    pen.text((x, y), f"{field.row.name}  {field.row.node.layer.token.partition('(')[0]}", INK, font(FONT))
    sees = f"sees {field.theoretical_size:.4g}{' (clipped)' if field.clipped else ''}"
    pen.text((x, y + LINE - 2), f"{sees}, effective {field.size:.1f}: {field.share:.0%}", SOFT, font(FONT * 0.9))


def _panel(sheet: Image.Image, x: int, y: int, size: tuple[int, int], field: EffectiveField) -> None:
    """The heat map with its two outlines, in a frame."""
    influence = np.atleast_2d(field.influence)
    panel = Image.fromarray(heat(np.sqrt(influence))).resize(size, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(panel)
    down, right = size[1] / influence.shape[0], size[0] / influence.shape[1]
    for line in edges(np.atleast_2d(field.seen)):
        pen.line([(i * right, j * down) for j, i in line], IN_EFFECT, 2)
    if field.view is not None:
        (top, bottom), (left, end) = ((0.0, 0.0), *field.view) if field.influence.ndim == 1 else field.view
        corners = (left * right - 2, top * down - 2, (end + 1) * right + 2, (bottom + 1) * down + 2)
        pen.rectangle(corners, None, IN_THEORY, 2)
    sheet.paste(panel, (x, y))
    ImageDraw.Draw(sheet).rectangle((x - 1, y - 1, x + size[0], y + size[1]), None, "#c5c9ce")


def _legend(sheet: Image.Image, pen: ImageDraw.ImageDraw, x: int, y: int) -> None:
    bar = Image.fromarray(heat(np.sqrt(np.linspace(0, 1, 100))[None])).resize((100, 16))
    sheet.paste(bar, (x, y + 3))
    pen.rectangle((x, y + 3, x + 99, y + 18), None, "#c5c9ce")
    x += 110
    for colour, words in (
        ("", "influence, none to largest"),
        (IN_THEORY, "in theory"),
        (IN_EFFECT, f"effective: above {LEVEL:.2%}"),
    ):
        if colour:
            pen.rectangle((x, y + 4, x + 15, y + 17), None, colour, 2)
            x += 24
        pen.text((x, y), words, SOFT, font(FONT * 0.9))
        x += round(font(FONT * 0.9).getlength(words)) + 28


def heat(values: NDArray[np.float64]) -> Pixels:
    """Colours (H, W, 3) of values (H, W) from 0 to 1."""
    at = np.clip(values, 0, 1) * (len(HEAT) - 1)
    channels = [np.interp(at, np.arange(len(HEAT)), HEAT[:, c]) for c in range(3)]
    colours: Pixels = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return colours


def edges(seen: NDArray[np.bool_]) -> list[Points]:
    """The sides, as pairs of corners (row, column), that have a seen pixel on one hand and none on the other."""
    found: list[Points] = []
    padded = np.pad(seen, 1)
    for j, i in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        found.append(((j, i), (j, i + 1)))
    for j, i in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]):
        found.append(((j, i), (j + 1, i)))
    return found
