"""From image bytes to a network's input, the same at training, evaluation and prediction; it travels with the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ModelFileError
from ..feed import Pixels
from ..layer import Shape
from ..wording import Text
from .dataset import BLOCK, Dataset, Told, in_memory, nbytes, silence
from .dataset import Images as Stored
from .decode import MEGAPIXELS
from .glyph import LUMINANCE, Glyph
from .resample import resized

Images = NDArray[np.uint8]
GREYED, COLOURED = Text("colour made grey", "彩色转为灰度"), Text("grey made colour", "灰度转为彩色")
MIDDLE = Text("middle resized to {0}x{1}", "取中部，缩放到 {0}x{1}")
PART = Text("middle {0:.3g}% resized to {1}x{2}", "取中部 {0:.3g}%，缩放到 {1}x{2}")
STATISTICS_BYTES = 2**28
"""Of a larger set, mean and deviation are those of every second image, every third and so on, up to so many bytes."""


class Fitting(NamedTuple):
    """How training images come into the network's input: each pixel `repeats` times along both axes, or made smaller,
    to `size` (h, w); then with their first pixel at `corner` on a `ground` of one byte for each channel.
    """

    repeats: int
    size: tuple[int, int]
    corner: tuple[int, int]
    ground: tuple[int, ...]


@dataclass(frozen=True)
class Preprocessing:
    """Bytes (N, h, w, C) -> x (N, C, H, W): fitted into the network's input, minus mean, over deviation.

    `source` is the size (h, w) of the training images, `size` (H, W) of the network's input; `mean` and `std` are
    of the training images, for each channel, on a scale of 0 to 1. `glyph` is the set's convention where it has
    one: see data/glyph.py. Of a photograph that is no training image, `crop` is how much of each side counts: 0.875
    is the usual 224 of 256 pixels, which leaves out the rim as ImageNet's scores are measured.
    """

    size: tuple[int, int]
    source: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    glyph: Glyph | None = None
    crop: float = 1.0

    @classmethod
    def learn(cls, dataset: Dataset, shape: Shape, told: Told = silence) -> Preprocessing:
        """What suits a training set and a network's input shape. `told` hears of images that must be read for it.

        Raises DataError for a network whose input is no image.
        """
        if shape.rank != 2:
            raise DataError("images need an input of height, width and channels", received=f"INPUT[{shape}]")
        mean, std = mean_and_deviation(dataset.images, told)
        # what was a photograph is fitted as others will be; drawings in memory may follow a convention
        glyph = None if dataset.reading else Glyph.learn(np.asarray(dataset.images[:: _step(dataset.images)]))
        return cls(
            size=(shape.spatial[0], shape.spatial[1]),
            source=(dataset.images.shape[1], dataset.images.shape[2]),
            mean=tuple(round(float(m), 6) for m in mean),
            std=tuple(round(float(max(s, 1e-3)), 6) for s in std),
            glyph=glyph,
        )

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return len(self.mean)

    def pixels(self, images: Images) -> Pixels:
        """Images (N, h, w, C) of the training set's size, fitted into the network's input, to be numbers."""
        return self.numbers(images if self.fits else self._fitted(images))

    def numbers(self, images: Images) -> Pixels:
        """Images (N, H, W, C) of any size, taken as they are, to be numbers."""
        return Pixels(images, *self.coding)

    @property
    def coding(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What a byte is multiplied by and what is then added, for each channel: 1/(255 std), -mean/std."""
        scale = [1 / (255 * s) for s in self.std]
        shift = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        return np.array(scale, np.float32), np.array(shift, np.float32)

    @property
    def fits(self) -> bool:
        """Whether training images have the size of the network's input already."""
        return self.source == self.size

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """Images (N, h, w, C) of the training set's size as x (N, C, H, W)."""
        pixels = self.pixels(images)
        return pixels.numbers(pixels.images)

    @property
    def fitting(self) -> Fitting:
        """Where training images stand in the network's input, and on what.

        They are enlarged by the largest whole factor that fits, or made smaller until they fit.
        """
        (height, width), (h, w) = self.size, self.source
        scale = min(height / h, width / w)
        size = (max(1, round(h * scale)), max(1, round(w * scale))) if scale < 1 else (h * int(scale), w * int(scale))
        corner = ((height - size[0]) // 2, (width - size[1]) // 2)
        ground = (self.glyph.ground,) * self.channels if self.glyph else tuple(round(255 * m) for m in self.mean)
        return Fitting(max(1, int(scale)), size, corner, ground)

    def _fitted(self, images: Images) -> Images:
        """Images in the middle of the network's input, on their ground."""
        repeats, (h, w), (top, left), ground = self.fitting
        if repeats > 1:
            images = images.repeat(repeats, axis=1).repeat(repeats, axis=2)
        elif images.shape[1:3] != (h, w):
            images = _bytes(resized(images, (h, w)))
        padded = np.empty((len(images), *self.size, self.channels), np.uint8)
        padded[:] = ground
        padded[:, top : top + h, left : left + w] = images
        return padded

    @property
    def enlargement(self) -> float:
        """By how much training images were enlarged, a whole number, or made smaller for the network's input."""
        smaller = min(n / m for n, m in zip(self.size, self.source, strict=True))
        return min(smaller, float(self.fitting.repeats))

    def standardise(self, image: Images) -> tuple[Images, list[Text]]:
        """One image (H, W, 1 or 3) of any size as one of the training set's (h, w, C), and what was done to it.

        Raises DataError when there is nothing to read on it.
        """
        if self.glyph:
            return self.glyph.standardise(image)
        notes: list[Text] = []
        if image.shape[2] != self.channels:
            image = with_channels(image, self.channels)
            notes.append(GREYED if self.channels == 1 else COLOURED)
        if image.shape[:2] != self.source:
            image = _bytes(resized(_middle(image, self.source, self.crop), self.source))
            notes.append(MIDDLE.filled(*self.source) if self.crop == 1 else PART.filled(100 * self.crop, *self.source))
        return image, notes

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the model file."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Any) -> Preprocessing:
        """The inverse of `as_json`. Raises ModelFileError for values that make no sense."""
        try:
            made = cls(
                size=_pair(values["size"]),
                source=_pair(values["source"]),
                mean=_within(-10, 10, values["mean"]),
                std=_within(1e-6, 10, values["std"]),
                glyph=_glyph(values["glyph"]),
                crop=_within(1e-3, 1, [values.get("crop", 1.0)])[0],  # older files have none
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ModelFileError("the preprocessing is damaged") from None
        if len(made.mean) != len(made.std) or len(made.mean) not in (1, 3):
            raise ModelFileError("the preprocessing is damaged: one mean and deviation for each channel")
        if made.glyph and (made.glyph.frame != made.source or made.channels != 1):
            raise ModelFileError("the preprocessing is damaged: its frame is not the images' size")
        return made


def mean_and_deviation(images: Stored, told: Told = silence) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the bytes in each channel (C,), on a scale of 0 to 1: from how often each byte occurs."""
    counts, values = np.zeros((images.shape[3], 256)), np.arange(256) / 255.0
    for block in _sampled(images, told):
        for channel, count in enumerate(counts):
            count += np.bincount(block[..., channel].ravel(), minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    return mean, np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))


def _sampled(images: Stored, told: Told) -> Iterator[Images]:
    """All images or, of a large set, some, in blocks: counting widens bytes to words, and files take time to read."""
    rows = range(0, len(images), _step(images))
    together = max(1, BLOCK * len(images) // nbytes(images))
    for start in range(0, len(rows), together):
        some = rows[start : start + together]
        yield np.asarray(images[some.start : some.stop : some.step])
        if not in_memory(images):
            told("reading for mean and deviation", start + len(some), len(rows))


def _step(images: Stored) -> int:
    """Every which image statistics are of."""
    return -(-nbytes(images) // STATISTICS_BYTES)


def _pair(values: Any) -> tuple[int, int]:
    first, second = (int(v) for v in values)
    if min(first, second) < 1 or first * second > MEGAPIXELS * 10**6:
        raise ValueError
    return first, second


def _within(low: float, high: float, values: Any) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if not all(low <= v <= high for v in numbers):  # a NaN is not
        raise ValueError
    return numbers


def _glyph(values: Any) -> Glyph | None:
    if values is None:
        return None
    frame = _pair(values["frame"])
    row, column = _within(0, max(frame), values["centre"])
    (stroke,) = _within(1e-3, max(frame), [values["stroke"]])
    ground, box = int(values["ground"]), int(values["box"])
    if ground not in (0, 255) or not 0 < box <= max(frame):
        raise ValueError
    return Glyph(frame, ground, box, (row, column), stroke)


def _bytes(values: NDArray[np.float32]) -> Images:
    return np.rint(values).astype(np.uint8)


def with_channels(image: Images, channels: int) -> Images:
    """An image (H, W, 1 or 3) in grey or in colour."""
    return np.repeat(image, 3, axis=2) if channels == 3 else _bytes(image @ LUMINANCE)[..., None]


def _middle(image: Images, like: tuple[int, int], crop: float) -> Images:
    """The middle part with the proportions of `like`: the share `crop` of each side of the largest there is."""
    height, width = image.shape[:2]
    scale = crop * min(height / like[0], width / like[1])
    h, w = max(1, round(like[0] * scale)), max(1, round(like[1] * scale))
    top, left = (height - h) // 2, (width - w) // 2
    return image[top : top + h, left : left + w]
