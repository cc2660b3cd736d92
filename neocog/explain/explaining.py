"""Images -> maps of what counts for a model's answer, each with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import NeocogError, RunError
from ..wording import Text, Words, joined, said
from . import colours
from .cam import layer_of
from .evidence import Evidence, faithfulness, likeness
from .method import Asked, Attributed, Attribution
from .question import Question, Shown
from .sheet import Bar, Panel, Strip, as_seen
from .subject import Target

TITLE = Text("{0}: {1}", "{0}：{1}")
ANSWER = Text("{0}: {1}{2} (score {3:.3g})", "{0}：{1}{2}（得分 {3:.3g}）")
SURE = Text(", {0:.1%} sure", "，把握 {0:.1%}")
AT = Text(" at {0}", "，读取 {0}")
HOW = Text(
    "{0}{1} ({2}); scale {3} to {4:.2g}, which holds {5:.1%} of the pixels",
    "{0}{1}（{2}）；标尺从 {3} 到 {4:.2g}，涵盖 {5:.1%} 的像素",
)
NOTE = Text("; {0}", "；{0}")
GAP = Text("sum off by {0:.1e} of the score's change; ", "总和与得分的变化相差 {0:.1e}；")
EVIDENCE = Text(
    "evidence: {0}likeness to the map of random weights {1:.2f}{2}; deletion {3:.2f} (random maps {4:.2f}), "
    "insertion {5:.2f} (random {6:.2f})",
    "证据：{0}与随机权重的热图相似度 {1:.2f}{2}；删除 {3:.2f}（随机热图 {4:.2f}），插入 {5:.2f}（随机热图 {6:.2f}）",
)
EDGES = Text("; this method follows the image whatever was learned", "；无论学到了什么，这种方法都跟着图像走")
CLASS, UNIT = Text("class {0}", "类别 {0}"), Text("unit {0} of {1}", "{1} 的单元 {0}")
MAP, ON_IMAGE = Text("map", "热图"), Text("map on the image", "叠在图像上")
POSITIVE, NEGATIVE = Text("positive part", "正的部分"), Text("negative part", "负的部分")
COLOURED = Text("by colour, 0 is grey, to ±{0:.2g}", "按颜色，0 为灰，到 ±{0:.2g}")


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image's map by one method.

    `image` (H, W, C) is what the network saw; `values` (C or 1, H, W) what the method gives for each input value or
    place, and `map` (H, W) one number for each place. `about` is the class, or the unit of a layer; `layer` the one
    whose maps were read, if any; `score` that of the target before it becomes a probability.
    """

    source: str
    image: NDArray[np.uint8]
    method: Attribution
    layer: str | None
    about: Text
    score: float
    probability: float | None
    values: NDArray[np.float32]
    map: NDArray[np.float32]
    evidence: Evidence | None
    notes: tuple[Words, ...] = ()

    @property
    def target(self) -> str:
        """What is explained, in English."""
        return self.about.en

    @property
    def scale(self) -> float:
        """The magnitude that the picture's brightest colour stands for."""
        return colours.scale_of(self.map)

    @property
    def peak(self) -> tuple[int, ...]:
        """The place of the map's largest value: row and column of the network's input."""
        return tuple(int(i) for i in np.unravel_index(int(self.map.argmax()), self.map.shape))

    @property
    def caption(self) -> tuple[Text, ...]:
        """Target, method, layer, normalisation, evidence."""
        sure = "" if self.probability is None else SURE.filled(self.probability)
        where = AT.filled(self.layer) if self.layer else ""
        low = f"-{self.scale:.2g}" if self.method.signed else "0"
        how = HOW.filled(self.method.name, where, self.method.source, low, self.scale, colours.WITHIN)
        return (
            ANSWER.filled(self.source, self.about, sure, self.score),
            joined(how, *map(NOTE.filled, self.notes)),
            *_words(self.method, self.evidence),
        )

    def lines(self, language: str = "en") -> tuple[str, ...]:
        """The caption in a language."""
        return tuple(line.said(language) for line in self.caption)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "file": self.source,
            "method": self.method.name,
            "layer": self.layer,
            "target": self.target,
            "score": self.score,
            "probability": self.probability,
            "signed": self.method.signed,
            "scale": self.scale,
            "peak": list(self.peak),
            "sum": float(self.values.sum(dtype=np.float64)),
            "edge_detector": self.method.edges,
            "evidence": None if self.evidence is None else self.evidence.as_json(),
            "notes": [said(note, "en") for note in self.notes],
        }


def _words(method: Attribution, evidence: Evidence | None) -> tuple[Text, ...]:
    """The evidence as a line of the caption."""
    if evidence is None:
        return ()
    gap, found = "" if evidence.gap is None else GAP.filled(evidence.gap), evidence.faithfulness
    areas = found.deletion, found.random_deletion, found.insertion, found.random_insertion
    return (EVIDENCE.filled(gap, evidence.sanity, EDGES if method.edges else "", *areas),)


def explain(question: Question, method: Attribution) -> list[Explanation]:
    """A map for each image, and for each layer named where the method reads a layer. Raises NeocogError."""
    with question.subject.working():
        layers: Sequence[int | None] = question.positions or (None,)
        return [found for layer in layers for found in _explained(question, method, layer)]


def _explained(question: Question, method: Attribution, layer: int | None) -> list[Explanation]:
    subject, x = question.subject, question.x
    target, read = _target(question, method, layer)
    if method.layer == "reads" and read is None:
        read = layer_of(subject, Asked(target))
    asked = Asked(target, read, question.seed)
    found = method.attribute(subject, x, asked)
    maps = found.maps(signed=method.signed)
    if not np.isfinite(maps).all():
        raise RunError("the network's values overflow, so there is no map", where=method.name)
    evidence = _evidence(question, method, asked, found, maps) if question.evidence else [None] * len(x)
    scores, values = subject.scores(x, target).tolist(), found.values.detach().float().cpu().numpy()
    of_class = target.position == subject.end
    return [
        Explanation(
            source=image.name,
            image=question.fitted[k],
            method=method,
            layer=None if read is None else subject.network.nodes[read].name,
            about=_name(question, target, k),
            score=scores[k],
            probability=float(question.probabilities[k, question.chosen[k]]) if of_class else None,
            values=values[k],
            map=maps[k],
            evidence=evidence[k],
            notes=(*image.notes, *found.notes[k : k + 1]),
        )
        for k, image in enumerate(question.images)
    ]


def _target(question: Question, method: Attribution, layer: int | None) -> tuple[Target, int | None]:
    """What is explained, and the layer that is read for it.

    A unit is one of the layer's where the method reads none; where no unit is named, it is the strongest of each image.
    Raises NeocogError for units that are the classes.
    """
    subject = question.subject
    if layer is None or method.layer != "unit":
        return question.class_target(), layer
    if layer >= subject.end:
        where = subject.network.nodes[layer].name
        raise NeocogError("the units of this layer are the classes", where=where, hint="a target, and no layer")
    if question.unit is not None:
        return subject.units(layer, [question.unit] * len(question.x)), None
    return subject.units(layer, _strongest(question, layer)), None


def _strongest(question: Question, layer: int) -> list[int]:
    """For each image the layer's map with the largest value."""
    strongest: list[int] = question.subject.volume(question.x, layer).flatten(2).amax(2).argmax(1).tolist()
    return strongest


def _name(question: Question, target: Target, image: int) -> Text:
    if target.position == question.subject.end:
        return CLASS.filled(question.model.classes[question.chosen[image]])
    return UNIT.filled(target.maps[image], question.subject.network.nodes[target.position].name)


def _evidence(
    question: Question, method: Attribution, asked: Asked, found: Attributed, maps: NDArray[np.float32]
) -> list[Evidence | None]:
    subject, x = question.subject, question.x
    other = randomised_maps(question, method, asked, x)
    return [
        Evidence(
            gap=None if found.gap is None else float(found.gap[k]),
            sanity=likeness(maps[k], other[k]),
            faithfulness=faithfulness(subject, x[k : k + 1], asked.target.of(slice(k, k + 1)), maps[k], question.seed),
        )
        for k in range(len(x))
    ]


def randomised_maps(question: Question, method: Attribution, asked: Asked, x: Tensor) -> NDArray[np.float32]:
    """The maps (N, *size) that a network with random weights gives."""
    random = question.subject.randomised(x, question.seed + 1)
    return method.attribute(random, x, asked).maps(signed=method.signed)


def show(question: Question, method: Attribution) -> Shown:
    """The maps as a picture: a strip for each image."""
    found = explain(question, method)
    strips = tuple(Strip(_panels(one), one.caption) for one in found)
    title = TITLE.filled(method.name, method.says)
    return Shown(title, strips, {"explanations": [one.as_json() for one in found]})


def _panels(found: Explanation) -> tuple[Panel, ...]:
    """The image, the map, the map on the image; of single values, their parts by sign and colour too."""
    signed, bar = found.method.signed, Bar(found.method.signed, found.scale)
    panels = (
        as_seen(found.image),
        Panel(MAP, colours.painted(found.map, signed=signed, scale=found.scale), bar),
        Panel(ON_IMAGE, colours.overlaid(found.image, found.map, signed=signed, scale=found.scale), bar),
    )
    of_values = found.values.shape[0] == found.image.shape[2] and found.method.layer == "unit"
    return (*panels, *_parts(found.values)) if of_values else panels


def _parts(values: NDArray[np.float32]) -> tuple[Panel, ...]:
    """Values (C, H, W) by their sign, each part on its own scale, and by colour where there are three."""
    panels = []
    for name, part in ((POSITIVE, values), (NEGATIVE, -values)):
        strength = part.clip(min=0).max(axis=0)
        own = Bar(False, colours.scale_of(strength))
        panels.append(Panel(name, colours.painted(strength, signed=False, scale=own.scale), own))
    if len(values) == 3:
        panels.append(Panel(COLOURED.filled(colours.scale_of(values)), colours.around_grey(values)))
    return tuple(panels)
