"""What is asked of a method and what it answers, the same for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data import Dataset, Preprocessing
from ..errors import NeocogError
from ..feed import Pixels
from ..model import Model
from ..predict.classify import Standard
from ..wording import Words, said
from .placing import default_layer
from .sheet import Strip, draw
from .subject import Subject, Target


@dataclass(frozen=True, eq=False)
class Question:
    """A model, images, and what about them. What a method does not need is left as it is.

    `layers` are names, `target` a class's name or number, `unit` the number of a map, `data` images with labels,
    `count` how many units, patches or images to show. Raises NeocogError for numbers that mean nothing, and for layers
    that are no tuple of names.
    """

    model: Model
    images: Sequence[Standard] = ()
    layers: tuple[str, ...] = ()
    target: str | int | None = None
    unit: int | None = None
    data: Dataset | None = None
    seed: int = 0
    evidence: bool = True
    count: int | None = None
    device: str = "cpu"
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.layers, str) or not all(isinstance(name, str) for name in self.layers):
            raise NeocogError("layers are names, in a tuple", received=repr(self.layers)[:80], hint='layers=("conv1",)')
        for name, least in (("unit", 0), ("seed", 0), ("count", 1)):
            given = getattr(self, name)
            if given is not None and given < least:
                raise NeocogError(f"{name} is a whole number from {least}", received=f"{name}={given}")

    @cached_property
    def subject(self) -> Subject:
        """The network, ready to be examined."""
        return Subject.of(self.model, self.device, self.memory_limit)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become what the network reads. Raises NeocogError for a network of sequences, which reads none."""
        source = self.model.network.input_shape
        if source.rank != 2:
            hint = "Subject.from_arrays and METHODS, see docs/explain.md"
            raise NeocogError("this network reads sequences, not images", received=f"INPUT[{source}]", hint=hint)
        return self.model.preprocessing

    @cached_property
    def pixels(self) -> Pixels:
        """The images as the network sees them, and how their bytes become numbers."""
        if not len(self.images):
            raise NeocogError("this method needs an image")
        return self.preprocessing.pixels(np.stack([one.pixels for one in self.images]))

    @property
    def fitted(self) -> NDArray[np.uint8]:
        """The images as the network sees them: (N, H, W, C) of its input's size."""
        return self.pixels.images

    @cached_property
    def x(self) -> Tensor:
        """The same as numbers (N, C, H, W)."""
        return self.subject.tensor(self.pixels.numbers(self.fitted))

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the network's input."""
        source = self.model.network.input_shape
        return (source.channels, *source.spatial)

    @cached_property
    def blank(self) -> Pixels:
        """How bytes become numbers, where there is no image to take it from."""
        source, channels = self.preprocessing.source, self.preprocessing.channels
        return self.preprocessing.pixels(np.zeros((1, *source, channels), np.uint8))

    def images_of_data(self) -> Dataset:
        """The data set. Raises NeocogError where none is given, or its images are of another size."""
        if self.data is None:
            raise NeocogError("this method needs a data set", hint="--data mnist, or a folder")
        expected = (*self.preprocessing.source, self.preprocessing.channels)
        if self.data.images.shape[1:] != expected:
            received = "x".join(map(str, self.data.images.shape[1:]))
            raise NeocogError(f"the model was made for images of {'x'.join(map(str, expected))}", received=received)
        return self.data

    def sample(self, most: int, least: int) -> tuple[NDArray[np.int64], Dataset]:
        """So many images of the data set drawn by the seed, `count` where given, and their numbers there, in order.

        Raises NeocogError where these are fewer than the method can do with.
        """
        whole = self.images_of_data()
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(whole))[: self.count or most])
        if len(chosen) < least:
            raise NeocogError(f"this method needs {least} images or more", received=f"{len(chosen)} of {whole.name}")
        return chosen, whole.subset(chosen)

    def inputs(self, dataset: Dataset) -> Iterator[Tensor]:
        """A data set's images as numbers (n, C, H, W), as many at once as memory allows without gradients."""
        for part in self.subject.batches(len(dataset), backward=False):
            pixels = self.preprocessing.pixels(np.asarray(dataset.images[part]))
            yield self.subject.tensor(pixels.numbers(pixels.images))

    def layer(self) -> int:
        """The position of the one layer that is meant: the first named, else the default."""
        return self.positions[0] if self.positions else default_layer(self.subject)

    @cached_property
    def chosen(self) -> list[int]:
        """The class of each image: the target, or the likeliest."""
        if self.target is not None:
            return [class_number(self.model, str(self.target))] * len(self.x)
        return [int(k) for k in self.probabilities.argmax(axis=1)]

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each class (N, K)."""
        return self.subject.probabilities(self.x)

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Where the layers stand."""
        return tuple(self.subject.position(name) for name in self.layers)

    def class_target(self) -> Target:
        """The classes' scores as targets."""
        return self.subject.classes(self.chosen)

    def unit_targets(self, position: int, most: int) -> Target:
        """The unit that is meant, or a layer's first ones: so many, `count` where given. Raises NeocogError."""
        known = self.subject.network.shapes[position].channels
        units = range(min(self.count or most, known)) if self.unit is None else [self.unit]
        return self.subject.units(position, list(units))


@dataclass(frozen=True, eq=False)
class Shown:
    """An answer: strips of a picture under a title, and the same as plain values."""

    title: Words
    strips: tuple[Strip, ...]
    document: dict[str, Any] = field(default_factory=dict)

    def picture(self, language: str = "en") -> bytes:
        """A PNG file. Raises NeocogError where it would be too large."""
        return draw(self.title, self.strips, language)

    def lines(self, language: str = "en") -> list[str]:
        """What stands below the strips."""
        return [said(line, language) for strip in self.strips for line in strip.lines]


def class_number(model: Model, target: str) -> int:
    """The number of a class that is named, or given by its number. Raises NeocogError."""
    if target in model.classes:
        return model.classes.index(target)
    if target.isdecimal() and target.isascii() and len(target) < 10 and int(target) < len(model.classes):
        return int(target)
    near = [] if target.lstrip("-").isdecimal() else get_close_matches(target, model.classes, n=3)
    hint = ", ".join(near) or f"{', '.join(model.classes[:10])}; or 0 to {len(model.classes) - 1}"
    raise NeocogError("the model knows no such class", received=target[:80], hint=hint)
