"""Image files or arrays -> the classes a model takes them for."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..feed import Moves, Pixels, moved
from ..losses import LOSSES
from ..model import Model
from ..network import Network
from ..views import NONE, ONE_VIEW, Views
from ..wording import Text

BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The classes an image most likely shows, best first, with their probabilities, and what was done to the image."""

    source: str
    classes: tuple[tuple[str, float], ...]
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The likeliest class."""
        return self.classes[0][0]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        top = [{"class": name, "probability": probability} for name, probability in self.classes]
        return {"file": self.source, "class": self.best, "top": top, "notes": list(self.notes)}


def predict(model: Model, sources: Any, top: int = 5, tta: str = NONE) -> list[Prediction]:
    """Classify one source or several: paths of image files, or byte arrays (H, W), (H, W, 1) or (H, W, 3).

    One array (N, H, W) or (N, H, W, C) is N images. `tta` says by which views: see `neocog.views`. Raises DataError
    naming the first source that cannot be used, NeocogError for views that there are not.
    """
    views = Views.parse(tta)
    if top < 1:
        raise DataError("top is how many classes to give, from 1", received=f"top={top}")
    standard = standardised(model, sources)
    predictions: list[Prediction] = []
    for start in range(0, len(standard), BATCH):
        batch = standard[start : start + BATCH]
        rows = posterior(model, np.stack([image.pixels for image in batch]), views)
        predictions += [
            Prediction(image.name, _top(row, model.classes, top), tuple(note.en for note in image.notes))
            for image, row in zip(batch, rows, strict=True)
        ]
    return predictions


class Standard(NamedTuple):
    """A source's name, its image (h, w, C) as the training set has them, and what was done to it."""

    name: str
    pixels: NDArray[np.uint8]
    notes: tuple[Text, ...]


def standardised(model: Model, sources: Any) -> list[Standard]:
    """What `predict` takes, as images of the training set's size. Raises DataError naming the first it cannot use.

    Each is made small as soon as it is read: many large photos would not fit into memory together.
    """
    single = isinstance(sources, str | PathLike) or (isinstance(sources, np.ndarray) and _is_one_image(sources))
    return [_standard(model, source, k + 1) for k, source in enumerate([sources] if single else sources)]


def _standard(model: Model, source: Any, number: int) -> Standard:
    from ..data.decode import Decoded, decode_noted

    if isinstance(source, str | PathLike):
        name = str(source)
        image = decode_noted(Path(source))
    else:
        name = f"image {number}"
        image = Decoded(as_image(source, name), ())
    try:
        standard, notes = model.preprocessing.standardise(image.pixels)
    except DataError as error:
        raise error.at(name) from None
    return Standard(name, standard, (*image.notes, *notes))


def _is_one_image(array: NDArray[Any]) -> bool:
    return array.ndim < 3 or (array.ndim == 3 and array.shape[2] <= 4)  # fewer columns than any image has


def as_image(source: Any, where: str) -> NDArray[np.uint8]:
    """An array of bytes as an image (H, W, 1 or 3). Raises DataError, by the name `where`, for another."""
    array = np.asarray(source)
    image = array[..., None] if array.ndim == 2 else array
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        received = f"{array.dtype} {array.shape}"
        raise DataError("an image is bytes of shape (H, W), (H, W, 1) or (H, W, 3)", where=where, received=received)
    return image


def check_one_score_each(network: Network) -> None:
    """Raises DataError for a network that gives a map instead of one score for each class."""
    output = network.shapes[-1]
    if output.positions > 1:
        raise DataError(
            "classes need one score each, and the network gives a map of them", received=str(output), hint="--dense"
        )


def class_scores(model: Model, images: NDArray[np.uint8], views: Views = ONE_VIEW) -> NDArray[np.float64]:
    """The network's outputs (N, K) for images (N, h, w, C) of the training set's size, averaged over views.

    Raises DataError for a network that gives a map instead of one score for each class.
    """
    check_one_score_each(model.network)
    if views == ONE_VIEW:
        return model.answers(images).astype(np.float64)

    def answers(pixels: Pixels, moves: Moves | None) -> NDArray[np.float32]:
        return model.scores(pixels.numbers(pixels.images if moves is None else moved(pixels.images, moves)))

    return views.scores(model.preprocessing.pixels(images), answers).astype(np.float64)


def posterior(model: Model, images: NDArray[np.uint8], views: Views = ONE_VIEW) -> NDArray[np.float64]:
    """The probability of each class (N, K) for such images (fact A6)."""
    return np.asarray(LOSSES[model.loss].posterior(class_scores(model, images, views)), np.float64)


def _top(row: NDArray[np.float64], classes: tuple[str, ...], top: int) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-row, kind="stable")[:top]
    return tuple((classes[k], float(row[k])) for k in order)
