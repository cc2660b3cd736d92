"""What is inside a run's network for an image, asked no oftener than a run that learns can afford."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..model import Model
from .attached import Attached
from .records import Allowance
from .running import LOOK_SECONDS, LOOKING, Live
from .scenes import PROBED, Scene, dead_units

Run = Live | Attached

DEAD_LOOKS = 8
"""Looks at a run after which units that never answer are found anew."""


class Picture(NamedTuple):
    """An image as a network's training set has them (h, w, C), its class if known, and what was done to it."""

    pixels: NDArray[np.uint8]
    label: int | None
    notes: tuple[str, ...]


class Inside:
    """What was last seen inside one run, what had been asked, and when looking again is cheap enough."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asked: tuple[dict[str, Any], int, int] | None = None
        self._told: dict[str, Any] = {}
        self._allowance = Allowance(LOOKING, LOOK_SECONDS)
        self._dead: dict[str, float] = {}
        self._dead_at: int | None = None

    def look(
        self, run: Run, source: Mapping[str, Any], picture: Callable[[Model], Picture], first: int, count: int
    ) -> dict[str, Any]:
        """See `Scene.layers`; `source` names the image that `picture` gets. Raises NeocogErrors.

        While the run learns, the same question gets the same answer until looking has become cheap enough again.
        """
        asked = (dict(source), first, count)
        with self._lock:  # who asks meanwhile gets the answer that is being made
            learning = isinstance(run, Live) and run.status == "running"
            if self._asked != asked or not learning or self._allowance.due:
                with self._allowance.spent():
                    self._told = self._seen(run, picture, first, count)
                self._asked = asked
            return self._told

    def _seen(self, run: Run, picture: Callable[[Model], Picture], first: int, count: int) -> dict[str, Any]:
        looks, model = run.state()["looks"], run.model()
        shown = picture(model)
        scene = scene_of(model, shown, shown.label)
        ratios = run.ratios if isinstance(run, Live) else {}
        return {
            "layers": scene.layers(first, count, ratios, self._dead_of(run, model, looks)),
            "total": len(model.network.nodes),
            "looks": looks,
            "notes": list(shown.notes),
            "top": scene.overview().get("top", []),
            "label": None if shown.label is None else model.classes[shown.label],
            "pixels": shown.pixels,
            "gradient": scene.gradients[0][0][0],
        }

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
    return Scene(model.network, model.weights, x, model.loss, label, shown.pixels, model.classes, shown.notes)


def test_images(run: Run) -> Dataset:
    """Images that a run's network has not learned from. Raises NeocogError where there are none."""
    return run.data.test if isinstance(run, Live) else run.test
