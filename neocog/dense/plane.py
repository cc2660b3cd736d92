"""An image as a plane of preprocessed pixels, any part of which can be read: what a score map is made from.

What a pixel is, is what it is to the model in training. If the training images were enlarged for the network's input,
so is this one, by the same factor; if ground was put around them, it is put around this one. An image of the training
set's size then becomes exactly the network's input, and its one cell has the scores that classification gives. Grey is
made colour and colour grey as there. A set of light strokes on a dark ground, or of dark ones on light, is recognised
by its glyph: an image whose border is of the other kind is inverted. Nothing is cropped or centred.

`scale` is how many times as large the image is made. 1 leaves its own pixels. `fit` is the rule of classification: the
largest window with the training images' proportions becomes as large as they are, by the share `crop` for photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.decode import PIXELS, SMALLER
from ..data.preprocessing import Preprocessing, with_channels
from ..data.raster import Held, Raster, open_raster
from ..data.resample import resized_part
from ..errors import DataError, NeocogError
from ..spelling import Dims
from .tiles import Block

FIT = "fit"
LEAST, MOST = 1 / 64, 64.0
STRIP = 2**18
"""Pixels that are made numbers at once: it takes many times their bytes."""
Scale = float | str


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, what it is called, and what was done to it when it was read."""

    name: str
    raster: Raster
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Any, pixels: int = PIXELS) -> Picture:
        """A path, of a file of at most so many pixels, or an array of bytes (H, W), (H, W, 1) or (H, W, 3).

        Raises DataError naming it.
        """
        from ..predict.classify import as_image

        if isinstance(source, Picture):
            return source
        if isinstance(source, str | PathLike):
            try:
                raster, notes = open_raster(Path(source), pixels)
            except DataError as error:
                if error.hint == SMALLER:
                    error = DataError(
                        error.rule, where=error.where, received=error.received, hint=f"{SMALLER}, or --max-pixels"
                    )
                raise error from None
            return cls(str(source), raster, tuple(note.en for note in notes))
        return cls("image", Held(as_image(source, "image")))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.raster.shape[:2]


def scale_of(scale: Scale, size: tuple[int, int], preprocessing: Preprocessing) -> float:
    """The factor that a scale is for an image. Raises NeocogError for one that is none."""
    if scale == FIT:
        largest = min(n / m for n, m in zip(size, preprocessing.source, strict=True))
        return 1 / (preprocessing.crop * largest)
    if isinstance(scale, str) or not LEAST <= scale <= MOST:
        raise NeocogError(f"a scale is a number from 1/64 to 64, or {FIT}", received=str(scale)[:40])
    return float(scale)


@dataclass(frozen=True, eq=False)
class Plane:
    """A picture at a scale, as the network sees it.

    `inner` is the size of the picture in it, `rim` how many pixels of ground stand before it, down and across.
    """

    picture: Picture
    preprocessing: Preprocessing
    scale: float

    @cached_property
    def inner(self) -> tuple[int, int]:
        """The picture's size in the plane's pixels."""
        zoom = self.scale * self.preprocessing.enlargement
        height, width = (max(1, round(n * zoom)) for n in self.picture.size)
        return height, width

    @cached_property
    def rim(self) -> tuple[int, int]:
        """The pixels of ground above and left of the picture."""
        return self.preprocessing.fitting.corner

    @cached_property
    def size(self) -> Dims:
        """Height and width of the plane: as much ground around the picture as around training images."""
        whole, inner = self.preprocessing.size, self.preprocessing.fitting.size
        return tuple(n + m - k for n, m, k in zip(self.inner, whole, inner, strict=True))

    @property
    def zoom(self) -> tuple[float, float]:
        """How many of the plane's pixels one of the picture's is, down and across."""
        down, across = (n / m for n, m in zip(self.inner, self.picture.size, strict=True))
        return down, across

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the picture, in words."""
        mine, theirs = self.preprocessing.channels, self.picture.raster.shape[2]
        done = {
            "colour made grey" if mine == 1 else "grey made colour": mine != theirs,
            "inverted": self._inverted,
            f"made {self.inner[1]}x{self.inner[0]} pixels": self.inner != self.picture.size,
            "ground put around it": self.size != self.inner,
        }
        return (*self.picture.notes, *(note for note, holds in done.items() if holds))

    @cached_property
    def _inverted(self) -> bool:
        """Whether the set's ground is dark and the picture's border light, or the other way round."""
        glyph = self.preprocessing.glyph
        if glyph is None:
            return False
        height, width = self.picture.size
        across, down = slice(0, width), slice(0, height)
        border = [
            self.picture.raster.read(rows, columns).mean(axis=2).ravel()
            for rows, columns in (
                (slice(0, 1), across),
                (slice(height - 1, height), across),
                (down, slice(0, 1)),
                (down, slice(width - 1, width)),
            )
        ]
        return bool((np.median(np.concatenate(border)) < 128) == (glyph.ground == 255))

    def read(self, part: Block) -> NDArray[np.float32]:
        """The pixels (C, h, w) of a part, as numbers; ground where there is no picture."""
        rows, columns = part
        width = columns.stop - columns.start
        found = np.empty((self.preprocessing.channels, rows.stop - rows.start, width), np.float32)
        step = max(1, STRIP // width)
        for begin in range(rows.start, rows.stop, step):
            strip = slice(begin, min(begin + step, rows.stop))
            pixels = self.preprocessing.numbers(self._pixels((strip, columns))[None])
            found[:, strip.start - rows.start : strip.stop - rows.start] = pixels.numbers(pixels.images)[0]
        return found

    def _pixels(self, part: tuple[slice, slice]) -> NDArray[np.uint8]:
        """The bytes (h, w, C) of a part."""
        (rows, columns), (top, left) = part, self.rim
        shown = tuple(
            slice(max(0, side.start - before), max(0, min(n, side.stop - before)))
            for side, before, n in zip(part, (top, left), self.inner, strict=True)
        )
        size = (rows.stop - rows.start, columns.stop - columns.start)
        pixels = np.empty((*size, self.preprocessing.channels), np.uint8)
        pixels[:] = self.preprocessing.fitting.ground
        if all(side.stop > side.start for side in shown):
            at = tuple(
                slice(side.start + before - whole.start, side.stop + before - whole.start)
                for side, before, whole in zip(shown, (top, left), part, strict=True)
            )
            pixels[at] = self._shown(shown[0], shown[1])
        return pixels

    def _shown(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """Bytes (h, w, C) of a part of the picture at its size in the plane."""
        if self.inner == self.picture.size:
            return self._bytes(rows, columns)
        factor = round(self.preprocessing.enlargement)
        if self.scale == 1 and factor > 1:
            apart = [np.arange(side.start, side.stop) // factor for side in (rows, columns)]
            own = self._bytes(*(slice(int(places[0]), int(places[-1]) + 1) for places in apart))
            return own[np.ix_(*(places - places[0] for places in apart))]
        made = resized_part(self._bytes, self.picture.size, self.inner, (rows, columns))
        return np.rint(made).astype(np.uint8)

    def _bytes(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """The picture's own pixels (h, w, C), in the set's channels and polarity."""
        pixels = self.picture.raster.read(rows, columns)
        if pixels.shape[2] != self.preprocessing.channels:
            pixels = with_channels(pixels, self.preprocessing.channels)
        return 255 - pixels if self._inverted else pixels

    def box(self, window: Block) -> tuple[float, float, float, float]:
        """Where a part of the plane lies on the picture: left, top, right and bottom in its pixels, from 0 at its edge.

        What lies beyond the picture is not counted.
        """
        (top, bottom), (left, right) = (
            [min(max((end - before) / zoom, 0.0), n) for end in (side.start, side.stop)]
            for side, before, zoom, n in zip(window, self.rim, self.zoom, self.picture.size, strict=True)
        )
        return left, top, right, bottom


def plane(picture: Picture, preprocessing: Preprocessing, scale: Scale = 1.0) -> Plane:
    """A picture as the network sees it at a scale. Raises DataError where it would have too many pixels."""
    made = Plane(picture, preprocessing, scale_of(scale, picture.size, preprocessing))
    if max(made.size) >= 2**31:
        raise DataError("the image would be too large at this scale", where=picture.name, received=f"scale {scale}")
    return made
