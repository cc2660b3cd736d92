"""Questions about a run's network, answered by the methods of `neocog.explain`: a picture, its caption and evidence.

A live run answers between two of its steps, in its own thread: torch's random numbers then stay those of the run.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from ..dense import score
from ..dense.heat import class_picture, kinds_picture
from ..errors import NeocogError
from ..explain import METHODS, Attribution, Question, method_of, shown
from ..predict.classify import Standard
from ..wording import LANGUAGES, Text, said
from .inside import Run, test_images
from .pictures import image
from .running import Live
from .scenes import layers_of, likeliest
from .workshop import Workshop

T = TypeVar("T")

MOST_DATA = 500
"""Test images that methods which look at a data set get."""
MOST_SECONDS = 600
MOST_PIXELS = 4_000_000
"""Of an image that a network is slid over while somebody waits."""
IMAGE = Text("image", "图像")
_ONE = Lock()


def methods() -> list[dict[str, Any]]:
    """What can be asked, as the page offers it: every method that needs no optional package."""
    return [
        {
            "name": one.name,
            "says": {language: one.says.said(language) for language in LANGUAGES},
            "source": one.source,
            "map": isinstance(one, Attribution),
            "image": isinstance(one, Attribution) or "image" in one.needs,
            "layer": one.layer if isinstance(one, Attribution) else "may",
        }
        for one in METHODS
        if isinstance(one, Attribution) or one.extra is None
    ]


def says(workshop: Workshop, name: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's network says of an image, however large the network is. Raises NeocogErrors."""
    run = workshop.run(name)
    model = run.model()
    shown = workshop.picture(run, model, source)
    scores = model.answers(shown.pixels[None]).astype(np.float64)
    return {
        "image": image(shown.pixels),
        "label": shown.label,
        "notes": [note.en for note in shown.notes],
        "classes": list(model.classes),
        "layers": layers_of(model.network),
        "top": likeliest(scores, model.loss, model.classes),
    }


def answer(workshop: Workshop, name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A PNG and what it says, in the language asked for. Raises NeocogErrors for what cannot be asked."""
    run, method = workshop.run(name), method_of(str(asked["method"]))
    needs = ("image",) if isinstance(method, Attribution) else method.needs
    if not isinstance(method, Attribution) and method.extra is not None:
        raise NeocogError("this method needs an optional package", received=method.name, hint="neocog explain")
    model, images, language = run.model(), [], str(asked.get("language", "en"))
    if "image" in needs:
        picture = workshop.picture(run, model, asked["image"])
        images = [Standard(said(IMAGE, language), picture.pixels, ())]  # what was done to it stands beside the answer
    data = None
    if "data" in needs:
        test = test_images(run)
        data = test.subset(np.arange(min(MOST_DATA, len(test))))
    target, layer = asked.get("target"), asked.get("layer")

    def answered() -> dict[str, Any]:
        question = Question(
            model,
            images,
            layers=(str(layer),) if layer else (),
            target=None if target is None else str(target),
            data=data,
            evidence=bool(asked.get("evidence", True)),
        )
        found = shown(question, method)
        png = b64encode(found.picture(language)).decode("ascii")
        title, lines = said(found.title, language), found.lines(language)[:12]
        return {"title": title, "lines": lines, "picture": png, "document": _small(found.document)}

    return between_steps(run, answered)


def dense(workshop: Workshop, name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A network slid over an image that somebody brought: a PNG of one class's probability, or of the likeliest ones.

    Raises NeocogErrors for an image that is not kept or too large, and for a network that cannot slide.
    """
    run, upload = workshop.run(name), workshop.upload(str(asked["upload"]))
    pixels = upload.pixels.shape[0] * upload.pixels.shape[1]
    if pixels > MOST_PIXELS:
        hint = "neocog predict MODEL IMAGE --dense"
        raise NeocogError(
            f"the studio slides over images of up to {MOST_PIXELS:,} pixels", received=f"{pixels:,}", hint=hint
        )
    model, target, stride = run.model(), asked.get("target"), asked.get("stride")
    if target is not None and target >= len(model.classes):
        raise NeocogError(f"classes are numbers from 0 to {len(model.classes) - 1}", received=str(target))

    def answered() -> dict[str, Any]:
        found = score(model, upload.pixels, stride=stride)
        png = kinds_picture(found) if target is None else class_picture(found, model.classes[target])
        return {
            "picture": b64encode(png).decode("ascii"),
            "cells": list(found.cells),
            "stride": list(found.route.stride),
            "crops": found.crops,
            "ratio": found.ratio,
            "seconds": found.seconds,
        }

    return between_steps(run, answered)


def between_steps(run: Run, question: Callable[[], T]) -> T:
    """Ask a live run in its own thread; one question at a time about others."""
    if isinstance(run, Live):
        return run.ask(question).result(timeout=MOST_SECONDS)
    with _ONE:
        return question()


def _small(document: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence of the maps, which the page shows as a table."""
    found = document.get("explanations") or []
    return {
        "explanations": [{"target": one["target"], "layer": one["layer"], "evidence": one["evidence"]} for one in found]
    }
