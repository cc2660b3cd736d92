"""Why a model says what it says: one method, one file. `METHODS` lists them; docs/explain.md shows them.

    found = explain(load("model.safetensors"), ["cat.png"], "grad-cam")
    found[0].map, found[0].evidence
    picture(load("model.safetensors"), "maximise", layers=["conv2"]).picture()      # PNG

Methods that give an image a map of what counted (`Attribution`) answer to `explain`; all of them answer to `picture`.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from ..errors import NeocogError
from ..model import Model
from ..predict.classify import standardised
from . import (
    ablation_cam,
    activations,
    atlas,
    class_image,
    deconvnet,
    deep_dream,
    eigen_cam,
    embedding,
    explaining,
    field_on_image,
    filters,
    grad_cam,
    grad_cam_pp,
    gradient,
    guided_backprop,
    guided_grad_cam,
    hires_cam,
    input_x_gradient,
    integrated_gradients,
    inversion,
    layer_cam,
    lrp,
    maximise,
    occlusion,
    patches,
    score_cam,
    smoothgrad,
    xgrad_cam,
)
from .evidence import Evidence as Evidence
from .explaining import Explanation as Explanation
from .method import Attribution as Attribution
from .method import Method as Method
from .method import View as View
from .method import refuse_unheard
from .question import Question as Question
from .question import Shown as Shown
from .subject import Subject as Subject

METHODS: tuple[Method, ...] = (
    gradient.METHOD,
    guided_backprop.METHOD,
    deconvnet.METHOD,
    input_x_gradient.METHOD,
    input_x_gradient.GUIDED,
    integrated_gradients.METHOD,
    smoothgrad.METHOD,
    smoothgrad.GUIDED,
    occlusion.METHOD,
    lrp.METHOD,
    grad_cam.METHOD,
    grad_cam_pp.METHOD,
    layer_cam.METHOD,
    hires_cam.METHOD,
    hires_cam.BY_ELEMENT,
    xgrad_cam.METHOD,
    score_cam.METHOD,
    ablation_cam.METHOD,
    eigen_cam.METHOD,
    guided_grad_cam.METHOD,
    smoothgrad.BY_NOISE,
    filters.METHOD,
    filters.GRADIENTS,
    activations.METHOD,
    activations.GRADIENTS,
    field_on_image.METHOD,
    maximise.METHOD,
    class_image.METHOD,
    class_image.PLAIN_METHOD,
    deep_dream.METHOD,
    inversion.METHOD,
    patches.METHOD,
    embedding.METHOD,
    embedding.NEIGHBOURS,
    atlas.METHOD,
)
"""Every method there is. A new one is one new file and one new line here."""

BY_NAME = {method.name: method for method in METHODS}


def method_of(name: str) -> Method:
    """The method of that name. Raises NeocogError with the nearest names."""
    if name not in BY_NAME:
        near = get_close_matches(name, BY_NAME, n=3) or ["neocog explain --list"]
        raise NeocogError("there is no such method", received=name[:80], hint=", ".join(near))
    return BY_NAME[name]


def explain(model: Model, sources: Any, method: str = "grad-cam", **question: Any) -> list[Explanation]:
    """What of each image counted for the model's answer, by a method that gives a map.

    `sources` are as in `predict`: files, or byte arrays (H, W), (H, W, 1) or (H, W, 3). `question` may hold what
    `Question` does: `layers` (names), `target` (a class's name or number; else the likeliest of each image), `unit`,
    `seed`, `evidence=False`, `device`, `memory_limit` in bytes. The model is left as it is. Raises NeocogError for a
    method that gives no map, and for what cannot be asked.
    """
    found = method_of(method)
    if not isinstance(found, Attribution):
        raise NeocogError("this method gives a picture, not a map of an image", received=method, hint="picture(...)")
    asked = ask(model, sources, **question)
    refuse_unheard(asked, found)
    return explaining.explain(asked, found)


def picture(model: Model, method: str, sources: Any = (), **question: Any) -> Shown:
    """What any method shows: `.picture()` is a PNG file, in Chinese `.picture("zh")`, `.document` plain values.

    `question` is as in `explain`, and may hold `data`, a data set, and `count`, how many to show. Raises NeocogError,
    also for what is asked and the method would not listen to.
    """
    found, asked = method_of(method), ask(model, sources, **question)
    refuse_unheard(asked, found)
    return shown(asked, found)


def ask(model: Model, sources: Any, **question: Any) -> Question:
    """A question about images. Raises DataError naming the first that cannot be used."""
    return Question(model, standardised(model, sources), **question)


def shown(question: Question, method: Method) -> Shown:
    """The method's answer. What the method does not listen to is left aside."""
    if "image" in method.needs and not question.images:
        raise NeocogError(f"{method.name} needs an image", hint="neocog explain MODEL IMAGE --method ...")
    return explaining.show(question, method) if isinstance(method, Attribution) else method.show(question)
