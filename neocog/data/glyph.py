"""A stranger's picture of a digit -> the way the training digits stand in their frame.

Sets such as MNIST hold light strokes on an even dark ground, scaled into a box and centred by mass (LeCun et al.,
1998, section III-A). A photo, scan or drawing is brought to that in four steps:

1. the ground is a smooth surface through the colours that the border and most of the picture have;
2. ink is what differs from it, along the one direction in colour space that most of the difference has, so that
   neither polarity nor colour matters; below the ground's own unevenness nothing counts;
3. specks, and frames or shadows that come in from the border, are left out;
4. what remains is cropped, thickened where it would be a hairline, scaled into the box and centred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..wording import Text
from .resample import Grey, resized

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

WORKING = 640  # the longer side that strokes are looked for at; a larger photo is averaged down
COARSE = 96  # the longer side for the ground's surface and for telling strokes from specks
FAINTEST = 12.0  # grey values by which strokes must differ from the ground
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
INVERTED = Text("inverted", "已反色")
CENTRED = Text("cropped to its strokes and centred in {0}x{1}", "裁到笔画并居中于 {0}x{1}")


@dataclass(frozen=True)
class Glyph:
    """The convention of a set.

    `frame` (H, W); `ground`, its byte value; `box`, the longer side of the strokes; `centre`, where their centre of
    mass is, in pixels from the top left corner; `stroke`, how wide strokes are in pixels.
    """

    frame: tuple[int, int]
    ground: int
    box: int
    centre: tuple[float, float]
    stroke: float

    @classmethod
    def learn(cls, images: Bytes) -> Glyph | None:
        """The convention of grey images (N, H, W, 1); None where they do not share an even dark or light ground."""
        if images.shape[3] != 1 or min(images.shape[1:3]) < 8:
            return None
        some = images[:: max(1, len(images) // 5000), :, :, 0]
        border = np.concatenate([some[:, [0, -1]].ravel(), some[:, :, [0, -1]].ravel()])
        ground = 0 if np.median(border) < 128 else 255
        if (border == ground).mean() < 0.98:
            return None
        ink = np.abs(some.astype(np.float32) - np.float32(ground)) / np.float32(255)
        ink = ink[ink.any(axis=(1, 2))]
        if not len(ink):
            return None
        extents = [max(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in map(_box, ink)]
        centres = np.array([_centre_of_mass(one) for one in ink])
        return cls(
            frame=(images.shape[1], images.shape[2]),
            ground=ground,
            box=int(np.median(extents)),
            centre=(round(float(centres[:, 0].mean()), 2), round(float(centres[:, 1].mean()), 2)),
            stroke=round(float(np.median([_stroke_width(one) for one in ink])), 2),
        )

    def standardise(self, image: Bytes) -> tuple[Bytes, list[Text]]:
        """An image (H, W, C) of any size as one (H', W', 1) like the set's, and what was done to it.

        Raises DataError when there is nothing on the ground.
        """
        if image.shape == (*self.frame, 1) and self._is_one_of_the_set(image[..., 0]):
            return image, []
        ink, dark = find_ink(image)
        strokes = self._fitted(ink[_box(ink)])
        placed = np.rint(255 * self._placed(strokes)).astype(np.uint8)
        notes = [INVERTED] if dark == (self.ground == 0) else []
        notes.append(CENTRED.filled(*self.frame))
        return (placed if self.ground == 0 else 255 - placed)[..., None], notes

    def _is_one_of_the_set(self, grey: Bytes) -> bool:
        """Whether ground, box and centre are already the set's, so that its own images stay as they are."""
        ink = np.abs(grey.astype(np.float32) - np.float32(self.ground)) / np.float32(255)
        border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
        if border.mean() > 0.02 or ink.max() < 0.5:
            return False
        extent = max(part.stop - part.start for part in _box(ink))
        off = np.abs(np.subtract(_centre_of_mass(ink), self.centre)).max()
        return bool(self.box - 2 <= extent <= self.box + 1 and off <= 1.0)

    def _fitted(self, ink: Grey) -> Grey:
        """Strokes (h, w) scaled so that their longer side fills the box, as strong and about as wide as the set's."""
        scale = self.box / max(ink.shape)
        height, width = (max(1, round(n * scale)) for n in ink.shape)
        small = resized(ink[..., None], (height, width))[..., 0]
        lacking = 0.8 * self.stroke - _stroke_width(ink) * scale
        if lacking > 0.2 * self.stroke and scale < 1:
            wider = _widened(ink, round(lacking / scale / 2))
            small = resized(wider[..., None], (height, width))[..., 0]
        strong = float(np.sort(small, axis=None)[-max(1, small.size // 40)])
        return np.asarray(np.clip(small / max(strong, 1e-3), 0, 1))

    def _placed(self, strokes: Grey) -> Grey:
        """Strokes in a frame with their centre of mass where the set's is, as far as they fit."""
        canvas = np.zeros(self.frame, np.float32)
        corner = [
            int(np.clip(round(wanted - own), 0, max(0, outer - inner)))
            for wanted, own, outer, inner in zip(
                self.centre, _centre_of_mass(strokes), self.frame, strokes.shape, strict=True
            )
        ]
        there = canvas[corner[0] : corner[0] + strokes.shape[0], corner[1] : corner[1] + strokes.shape[1]]
        there[:] = strokes[: there.shape[0], : there.shape[1]]
        return canvas


def find_ink(image: Bytes) -> tuple[Grey, bool]:
    """How much each place of an image (H, W, C) is stroke, 0 to 1, and whether strokes are darker than the ground.

    A large image comes back smaller, its longer side `WORKING`. Raises DataError when nothing stands out.
    """
    colours = _shrunk(image.astype(np.float32), WORKING)
    difference = colours - _ground(colours)
    size = np.linalg.norm(difference, axis=2) / np.sqrt(image.shape[2])
    peak = _peak(size)
    if peak < FAINTEST:
        raise _blank(f"the whole image is within {round(float(size.max()))} grey values of its ground")
    direction = _direction(difference[size > 0.5 * peak])
    strength = difference @ direction / np.sqrt(image.shape[2])
    peak = _peak(strength)
    floor = _unevenness(strength, peak)
    if floor > 0.6 * peak:
        raise _blank("its ground is as uneven as anything on it")
    full = float(np.median(strength[strength > 0.5 * peak]))
    ink = np.clip((strength - floor) / (full - floor), 0, 1)
    darker = float(direction @ (LUMINANCE if image.shape[2] == 3 else np.ones(1))) < 0
    return ink * _strokes(ink), darker


def _blank(received: str) -> DataError:
    return DataError("nothing stands out from the ground", received=received, hint="one digit on an even ground")


def _shrunk(image: Grey, longest: int) -> Grey:
    """An image (H, W, C) averaged down, which also averages its noise away."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    return resized(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))))


def _peak(values: Grey) -> float:
    """A high value that a few odd pixels cannot make: the 30th largest, or the upper hundredth of a small image."""
    return float(np.sort(values, axis=None)[-max(1, min(30, values.size // 100))])


def _ground(colours: Grey) -> Grey:
    """The ground's colour at each place (H, W, C): a quadratic surface fitted to what is not ink.

    It starts from the median colour, the border counting as much as the whole, so that neither a frame around the
    picture nor a digit that fills it is mistaken for the ground. Then a constant, a plane and a quadratic surface
    are fitted in turn to the places near the one before.
    """
    coarse = _shrunk(colours, COARSE)
    pixels = coarse.reshape(-1, coarse.shape[2])
    design, border = _polynomials(coarse.shape[0], coarse.shape[1])
    share = np.where(border, 1 + len(border) / border.sum(), 1.0)
    surface = np.tile(_weighted_median(pixels, share), (len(pixels), 1))
    for terms in (1, 3, 6, 6, 6):
        apart = np.abs(pixels - surface).max(axis=1)
        reach = min(3 * _weighted_median(apart[:, None], share)[0], 0.4 * apart.max())
        near = apart <= max(4.0, reach)
        known = design[near, :terms]  # the normal equations: a few unknowns, thousands of places
        factors = np.linalg.lstsq(known.T @ known, known.T @ pixels[near], rcond=None)[0]
        surface = design[:, :terms] @ factors
    full, _ = _polynomials(colours.shape[0], colours.shape[1])
    return np.asarray(full @ factors, np.float32).reshape(colours.shape)


def _polynomials(height: int, width: int) -> tuple[NDArray[np.float64], Mask]:
    """1, y, x, y^2, yx, x^2 at each place (H W, 6), y and x from -1 to 1; and which places are at the border."""
    y, x = (((np.arange(n) + 0.5) * 2 / n - 1) for n in (height, width))
    yy, xx = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    design = np.stack([np.ones_like(yy), yy, xx, yy**2, yy * xx, xx**2], axis=1)
    edge = max(1, min(height, width) // 24)
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) < edge for n in (height, width))
    return design, (rows[:, None] | columns[None]).ravel()


def _weighted_median(values: Grey, weights: NDArray[np.float64]) -> Grey:
    """The median of each column (N, C) -> (C,)."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= weights.sum() / 2
    ordered = np.take_along_axis(values, order, axis=0)
    return np.asarray(np.take_along_axis(ordered, reached.argmax(axis=0)[None], axis=0)[0])


def _direction(differences: Grey) -> Grey:
    """The unit direction in colour space along which ink differs from the ground: (N, C) -> (C,)."""
    _, vectors = np.linalg.eigh(differences.T @ differences)
    main: Grey = vectors[:, -1].astype(np.float32)
    return main if (differences @ main).sum() > 0 else -main


def _unevenness(strength: Grey, peak: float) -> float:
    """How strong a place may look and yet be ground.

    Noise is measured where nothing stands out. Light and texture that the surface misses lie on both sides of it,
    ink on one: the other side shows how far they reach.
    """
    quiet = np.abs(strength[np.abs(strength) < 0.4 * peak])
    noise = 3 * 1.4826 * float(np.median(quiet)) if quiet.size else 0.0
    reach = float(np.percentile(np.clip(-strength, 0, None), 98))
    return max(noise, min(reach, 0.3 * peak))


def _strokes(ink: Grey) -> Mask:
    """Which places belong to strokes, rather than to specks or to what comes in from the border."""
    step = max(1, -(-max(ink.shape) // COARSE))
    cells = _any_in_blocks(ink > 0.5, step)
    labels = connected(cells)
    mass = np.bincount(labels.ravel(), weights=_sum_in_blocks(ink, step).ravel())
    mass[0] = 0.0
    inner = mass.copy()
    inner[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = 0.0
    if inner.max() > 0.1 * mass.max():
        mass = inner
    if mass.max() < 2.0:
        raise _blank("a few specks")
    kept = (mass >= 0.05 * mass.max())[labels]
    around = _grown(kept, 1).repeat(step, axis=0).repeat(step, axis=1)
    return around[: ink.shape[0], : ink.shape[1]]


def _blocks(values: NDArray[np.float32], step: int) -> Grey:
    """(H, W) -> (H / step, step, W / step, step), zero where blocks hang over the edge."""
    height, width = (-(-n // step) for n in values.shape)
    padded = np.pad(values, [(0, m * step - n) for m, n in zip((height, width), values.shape, strict=True)])
    return padded.reshape(height, step, width, step)


def _any_in_blocks(mask: Mask, step: int) -> Mask:
    return np.asarray(_blocks(mask.astype(np.float32), step).max(axis=(1, 3)) > 0)


def _sum_in_blocks(values: Grey, step: int) -> Grey:
    return np.asarray(_blocks(values, step).sum(axis=(1, 3)))


def connected(cells: Mask) -> NDArray[np.int64]:
    """A number for each group of touching cells, diagonals included; 0 where there is none.

    Each cell starts with a number of its own and takes the largest around it until nothing changes. A number is
    also the place of the cell that had it first, so each pass follows it to that cell and takes its new number.
    """
    labels = np.where(cells, np.arange(1, cells.size + 1).reshape(cells.shape), 0)
    while True:
        spread = np.where(cells, _around(labels, 1).max(axis=0), 0)
        spread = np.concatenate([[0], spread.ravel()])[spread]
        if (spread == labels).all():
            return np.unique(labels, return_inverse=True)[1].reshape(cells.shape) + int(cells.all())
        labels = spread


def _around(values: NDArray[np.generic], radius: int) -> NDArray[np.generic]:
    """The array shifted to every place within a square: ((2 radius + 1)^2, H, W)."""
    padded = np.pad(values, radius)
    windows = np.lib.stride_tricks.sliding_window_view(padded, values.shape)
    return windows.reshape(-1, *values.shape)


def _grown(mask: Mask, radius: int) -> Mask:
    return np.asarray(_around(mask, radius).any(axis=0))


def _widened(ink: Grey, radius: int) -> Grey:
    """Strokes wider by `radius` on each side: the largest value within a square."""
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        ink = np.lib.stride_tricks.sliding_window_view(np.pad(ink, pad), 2 * radius + 1, axis=axis).max(axis=-1)
    return ink


def _box(ink: Grey) -> tuple[slice, slice]:
    """The rows and columns that hold ink."""
    inked = ink > 0.12
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _centre_of_mass(ink: Grey) -> tuple[float, float]:
    """Row and column, in pixels from the top left corner; the middle of the first pixel is at 0.5."""
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    mass = rows.sum()
    return tuple(float(((np.arange(len(n)) + 0.5) * n).sum() / mass) for n in (rows, columns))  # type: ignore[return-value]


def _stroke_width(ink: Grey) -> float:
    """Twice the area over the length of the outline, which counts soft edges by how far they rise."""
    padded = np.pad(ink, 1)
    outline = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    return float(2 * ink.sum() / outline)
