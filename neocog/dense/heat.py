"""Score maps as pictures: a heat map of a class over the image, the likeliest class everywhere, and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..errors import escaped
from ..lettering import font
from .boxes import Found
from .scoremap import ScoreMap, posterior_of

SIDE = 1024
"""The longer side of a picture, at most, and of an image smaller than half of it, at least half."""
MARGIN, LINE, FONT, SWATCH = 16, 24, 16, 14
INK, SOFT, PAPER = "#22262b", "#6a7178", "#ffffff"
HEAT = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)
"""Colours from probability 0 to 1, dark to light and told apart by all eyes: those of viridis (Smith, van der Walt)."""
KINDS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#4d4d4d"),
    *("#aec7e8", "#ffbb78", "#98df8a", "#ff9896", "#c5b0d5", "#c49c94", "#f7b6d2", "#dbdb8d", "#9edae5", "#c7c7c7"),
)
"""A colour for each class, again from the first on where there are more: Tableau's."""
LISTED = 20

Pixels = NDArray[np.uint8]


def class_picture(one: ScoreMap, name: str) -> bytes:
    """A PNG: the image with the probability of a class over it, one square of a stride for each cell."""
    shares = _probabilities(one)[one.classes.index(name)]
    at = np.clip(shares, 0, 1) * (len(HEAT) - 1)
    colours = np.stack([np.interp(at, np.arange(len(HEAT)), HEAT[:, c]) for c in range(3)], axis=-1)
    sheet, pen, top = _sheet(one, f"{escaped(name)}: probability at each window's middle", 1)
    _over(sheet, one, colours, 0.15 + 0.6 * shares)
    bar = Image.fromarray(np.rint(_ramp(200)).astype(np.uint8)[None]).resize((200, SWATCH))
    sheet.paste(bar, (MARGIN + 24, top + 4))
    pen.text((MARGIN, top), "0", SOFT, font(FONT))
    pen.text((MARGIN + 232, top), "1", SOFT, font(FONT))
    return _png(sheet)


def kinds_picture(one: ScoreMap, background: str | None = None) -> bytes:
    """A PNG: the likeliest class of each cell as its colour, the stronger the likelier; none where it is nothing."""
    shares = _probabilities(one)
    kinds, best = shares.argmax(axis=0), shares.max(axis=0)
    colours = np.array([_rgb(k) for k in range(len(one.classes))], float)[kinds]
    strength = 0.8 * best
    if background is not None:
        strength[kinds == one.classes.index(background)] = 0
    named = [k for k in np.unique(kinds) if one.classes[k] != background]
    rows = _legend_rows(one, [one.classes[k] for k in named[:LISTED]])
    sheet, pen, top = _sheet(one, "likeliest class at each window's middle", len(rows))
    _over(sheet, one, colours, strength)
    _legend(pen, top, rows, one)
    return _png(sheet)


def boxes_picture(one: ScoreMap, found: Sequence[Found]) -> bytes:
    """A PNG: the image with the boxes that were found, each with its class and score."""
    names = [name for name in one.classes if any(box.name == name for box in found)]
    rows = _legend_rows(one, names[:LISTED])
    sheet, pen, top = _sheet(one, f"{len(found)} found", len(rows))
    across, down = _zoom(one)
    for box in reversed(found):
        colour = KINDS[one.classes.index(box.name) % len(KINDS)]
        left, upper, right, lower = box.box
        x, y = MARGIN + left * across, MARGIN + LINE + upper * down
        ends = max(x, MARGIN + right * across - 1), max(y, MARGIN + LINE + lower * down - 1)
        pen.rectangle((x, y, *ends), None, colour, 2)
        label = f"{escaped(box.name)} {box.score:.2f}"
        width = font(FONT * 0.75, label).getlength(label) + 4
        y = y - LINE * 0.6 if y - LINE * 0.6 > MARGIN + LINE else y
        pen.rectangle((x, y, x + width, y + LINE * 0.6), colour)
        pen.text((x + 2, y), label, PAPER, font(FONT * 0.75, label))
    _legend(pen, top, rows, one)
    return _png(sheet)


def _probabilities(one: ScoreMap) -> NDArray[np.float64]:
    """Of as many cells as can be shown; of a larger map every second, every third and so on."""
    step = max(1, -(-max(one.cells) // SIDE))
    return posterior_of(one.model, np.asarray(one.scores[:, ::step, ::step]))


def _zoom(one: ScoreMap) -> tuple[float, float]:
    """How many of the picture's pixels one of the image's is, across and down."""
    height, width = one.plane.picture.size
    longest = max(height, width)
    zoom = SIDE / longest if longest > SIDE else max(1, SIDE // 2 // longest)
    return max(1, round(width * zoom)) / width, max(1, round(height * zoom)) / height


def _shown(one: ScoreMap) -> Image.Image:
    """The image at the picture's size, in colour; of a large one single pixels stand for their surroundings."""
    height, width = one.plane.picture.size
    across, down = _zoom(one)
    size = (round(width * across), round(height * down))
    step = max(1, -(-max(height, width) // (2 * SIDE)))
    raster = one.plane.picture.raster
    if step == 1:
        pixels = raster.read(slice(0, height), slice(0, width))
    else:
        pixels = np.concatenate(
            [raster.read(slice(row, row + 1), slice(0, width))[:, ::step] for row in range(0, height, step)]
        )
    colours = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(colours)).resize(size, Image.Resampling.BOX)


def _sheet(one: ScoreMap, title: str, lines: int) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    """A page with the image, its title, and room for lines below, which begin at the height returned."""
    shown = _shown(one)
    top = MARGIN + LINE + shown.height + 10
    width = max(shown.width, 420) + 2 * MARGIN
    sheet = Image.new("RGB", (width, top + lines * LINE + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 4), title, INK, font(FONT, title))
    sheet.paste(shown, (MARGIN, MARGIN + LINE))
    return sheet, pen, top


def _over(sheet: Image.Image, one: ScoreMap, colours: NDArray[np.float64], strength: NDArray[np.float64]) -> None:
    """Blend cells' colours (rows, columns, 3) over the image, each on the square in the middle of its window."""
    sight = one.route.sight
    across, down = _zoom(one)
    part = tuple(
        slice((w - j) // 2, (w - j) // 2 + n * j) for w, j, n in zip(sight.window, sight.jump, one.cells, strict=True)
    )
    left, top, right, bottom = one.plane.box(part)
    place = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    size = (max(1, place[2] - place[0]), max(1, place[3] - place[1]))
    corner = (MARGIN + place[0], MARGIN + LINE + place[1])
    paint = Image.fromarray(np.rint(colours).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    mask = Image.fromarray(np.rint(255 * np.clip(strength, 0, 1)).astype(np.uint8)).resize(
        size, Image.Resampling.NEAREST
    )
    sheet.paste(paint, corner, mask)


def _legend_rows(one: ScoreMap, names: Sequence[str]) -> list[list[str]]:
    """Class names in lines that fit."""
    room = max(round(one.plane.picture.size[1] * _zoom(one)[0]), 420)
    rows: list[list[str]] = [[]]
    used = 0.0
    for name in names:
        width = SWATCH + 22 + font(FONT, name).getlength(escaped(name))
        if rows[-1] and used + width > room:
            rows.append([])
            used = 0.0
        rows[-1].append(name)
        used += width
    return rows


def _legend(pen: ImageDraw.ImageDraw, top: int, rows: Sequence[Sequence[str]], one: ScoreMap) -> None:
    for k, names in enumerate(rows):
        x, y = float(MARGIN), top + k * LINE
        for name in names:
            pen.rectangle((x, y + 4, x + SWATCH, y + 4 + SWATCH), KINDS[one.classes.index(name) % len(KINDS)])
            pen.text((x + SWATCH + 6, y), escaped(name), INK, font(FONT, name))
            x += SWATCH + 22 + font(FONT, name).getlength(escaped(name))


def _ramp(length: int) -> NDArray[np.float64]:
    at = np.linspace(0, len(HEAT) - 1, length)
    return np.stack([np.interp(at, np.arange(len(HEAT)), HEAT[:, c]) for c in range(3)], axis=-1)


def _rgb(k: int) -> tuple[int, ...]:
    colour = KINDS[k % len(KINDS)]
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _png(sheet: Image.Image) -> bytes:
    out = BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
