"""Images -> maps of what counts for a model's answer, each with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import NeocogError, RunError
from . import colours
from .cam import layer_of
from .evidence import Evidence, faithfulness, likeness
from .method import Asked, Attributed, Attribution
from .question import Question, Shown
from .sheet import Bar, Panel, Strip
from .subject import Target


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image's map by one method.

    `image` (H, W, C) is what the network saw; `values` (C or 1, H, W) what the method gives for each input value or
    place, and `map` (H, W) one number for each place. `target` is the class, or the unit of a layer; `layer` the one
    whose maps were read, if any; `score` that of the target before it becomes a probability.
    """

    source: str
    image: NDArray[np.uint8]
    method: Attribution
    layer: str | None
    target: str
    score: float
    probability: float | None
    values: NDArray[np.float32]
    map: NDArray[np.float32]
    evidence: Evidence | None
    notes: tuple[str, ...] = ()

    @property
    def scale(self) -> float:
        """The magnitude that the picture's brightest colour stands for."""
        return colours.scale_of(self.map)

    @property
    def peak(self) -> tuple[int, ...]:
        """The place of the map's largest value: row and column of the network's input."""
        return tuple(int(i) for i in np.unravel_index(int(self.map.argmax()), self.map.shape))

    def lines(self) -> tuple[str, ...]:
        """The caption: target, method, layer, normalisation, evidence."""
        sure = "" if self.probability is None else f", {self.probability:.1%} sure"
        where = f" at {self.layer}" if self.layer else ""
        low = f"-{self.scale:.2g}" if self.method.signed else "0"
        notes = "; ".join(self.notes)
        return (
            f"{self.source}: {self.target}{sure} (score {self.score:.3g})",
            f"{self.method.name}{where} ({self.method.source}); scale {low} to {self.scale:.2g}, which holds "
            f"{colours.WITHIN:.1%} of the pixels{'; ' + notes if notes else ''}",
            *_words(self.method, self.evidence),
        )

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
            "notes": list(self.notes),
        }


def _words(method: Attribution, evidence: Evidence | None) -> tuple[str, ...]:
    """The evidence as a line of the caption."""
    if evidence is None:
        return ()
    found = evidence.faithfulness
    gap = "" if evidence.gap is None else f"sum off by {evidence.gap:.1e} of the score's change; "
    edges = "; this method follows the image whatever was learned" if method.edges else ""
    return (
        f"evidence: {gap}likeness to the map of random weights {evidence.sanity:.2f}{edges}; "
        f"deletion {found.deletion:.2f} (random maps {found.random_deletion:.2f}), "
        f"insertion {found.insertion:.2f} (random {found.random_insertion:.2f})",
    )


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
    scores = subject.scores(x, target).tolist()
    values = found.values.detach().float().cpu().numpy()
    names = [_name(question, target, k) for k in range(len(x))]
    return [
        Explanation(
            source=image.name,
            image=question.fitted[k],
            method=method,
            layer=None if read is None else subject.network.nodes[read].name,
            target=names[k],
            score=scores[k],
            probability=float(question.probabilities[k, question.chosen[k]])
            if target.position == subject.end
            else None,
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
    subject, found = question.subject, []
    with torch.no_grad():
        for part in subject.batches(len(question.x), backward=False):
            volume = subject.volumes(question.x[part], {layer})[layer]
            found += volume.flatten(2).amax(2).argmax(1).tolist()
    return found


def _name(question: Question, target: Target, image: int) -> str:
    if target.position == question.subject.end:
        return f"class {question.model.classes[question.chosen[image]]}"
    return f"unit {target.maps[image]} of {question.subject.network.nodes[target.position].name}"


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
    strips = tuple(Strip(_panels(one), one.lines()) for one in found)
    return Shown(f"{method.name}: {method.says}", strips, {"explanations": [one.as_json() for one in found]})


def _panels(found: Explanation) -> tuple[Panel, ...]:
    """The image, the map, the map on the image; of single values, their parts by sign and colour too."""
    signed, bar = found.method.signed, Bar(found.method.signed, found.scale)
    panels = [
        Panel("what the network sees", colours.in_colour(found.image)),
        Panel("map", colours.painted(found.map, signed=signed, scale=found.scale), bar),
        Panel("map on the image", colours.overlaid(found.image, found.map, signed=signed, scale=found.scale), bar),
    ]
    if found.values.shape[0] == found.image.shape[2] and found.method.layer == "unit":
        for name, part in (("positive part", found.values), ("negative part", -found.values)):
            strength = part.clip(min=0).max(axis=0)
            own = Bar(False, colours.scale_of(strength))
            panels.append(Panel(name, colours.painted(strength, signed=False, scale=own.scale), own))
        if found.image.shape[2] == 3:
            name = f"by colour, 0 is grey, to ±{colours.scale_of(found.values):.2g}"
            panels.append(Panel(name, colours.around_grey(found.values)))
    return tuple(panels)
