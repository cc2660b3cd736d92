"""What is inside a run's network for an image, asked no oftener than a run that learns can afford."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..model import Model, Weights
from ..wording import Text
from .attached import Attached
from .pictures import image
from .records import Allowance
from .running import LOOK_SECONDS, LOOKING, Live
from .scenes import PROBED, Scene, dead_units
from .telling import encoded

Run = Live | Attached

DEAD_LOOKS = 8
"""Looks at a run after which units that never answer are found anew."""
MOST_TOLD = 4
"""Questions whose answers are kept: several tabs may each show something else of a run."""


class Picture(NamedTuple):
    """An image as a network's training set has them (h, w, C), its class if known, and what was done to it."""

    pixels: NDArray[np.uint8]
    label: int | None
    notes: tuple[Text, ...]


class Seen(NamedTuple):
    """What was found with some weights, after so many looks of the run: in JSON, as the page gets it."""

    weights: Weights
    looks: int
    content: bytes


class Inside:
    """What was last seen inside one run, for the latest few questions, and when looking again is cheap enough."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told: OrderedDict[str, Seen] = OrderedDict()
        self._allowance = Allowance(LOOKING, LOOK_SECONDS)
        self._dead: dict[str, float] = {}
        self._dead_at: int | None = None

    def look(
        self, run: Run, source: Mapping[str, Any], picture: Callable[[Model], Picture], first: int, count: int
    ) -> Seen:
        """See `Scene.layers`; `source` names the image that `picture` gets. Raises NeocogErrors.

        The same question about the same weights gets the same answer; while the run learns, about newer ones too, until
        looking has become cheap enough again. Pictures and JSON are a part of that cost.
        """
        question = json.dumps([dict(source), first, count])
        with self._lock:  # who asks meanwhile gets the answer that is being made
            model, found = run.model(), self._told.get(question)
            may = not isinstance(run, Live) or run.status != "running" or self._allowance.due
            if found is None or (found.weights is not model.weights and may):
                with self._allowance.spent():
                    found = self._seen(run, model, picture(model), first, count)
                self._told[question] = found
                self._told.move_to_end(question)
                while len(self._told) > MOST_TOLD:
                    self._told.popitem(last=False)
            return found

    def _seen(self, run: Run, model: Model, shown: Picture, first: int, count: int) -> Seen:
        looks, scene = run.state()["looks"], scene_of(model, shown, shown.label)
        ratios = run.ratios if isinstance(run, Live) else {}
        told = {
            "layers": scene.layers(first, count, ratios, self._dead_of(run, model, looks)),
            "total": len(model.network.nodes),
            "looks": looks,
            "notes": [note.en for note in shown.notes],
            "top": scene.overview()["top"],
            "label": None if shown.label is None else model.classes[shown.label],
            "pixels": image(shown.pixels),
        }
        return Seen(model.weights, looks, encoded(told))

    def _dead_of(self, run: Run, model: Model, looks: int) -> dict[str, float]:
        """For each layer the share of units that never answer."""
        if self._dead_at is None or not self._dead_at <= looks < self._dead_at + DEAD_LOOKS:
            images = test_images(run).images
            x = model.preprocessing(np.asarray(images[: min(PROBED, len(images))]))
            self._dead, self._dead_at = dead_units(model.network, model.weights, x), looks
        return self._dead


def scene_of(model: Model, shown: Picture, label: int | None) -> Scene:
    """A picture followed through a model, with the loss for a class."""
    x = model.preprocessing(shown.pixels[None])
    notes = tuple(note.en for note in shown.notes)
    return Scene(model.network, model.weights, x, model.loss, label, shown.pixels, model.classes, notes)


def test_images(run: Run) -> Dataset:
    """Images that a run's network has not learned from. Raises NeocogError where there are none."""
    return run.data.test if isinstance(run, Live) else run.test
