"""A rewrite as a transaction: a new model whose outputs were compared with the old one's, or an error and no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import Any

from ..errors import NeocogError, RewriteError, ShapeError
from ..model import Model, weight_shapes
from ..plan.difference import Difference, difference
from .contract import Option, Rewrite
from .parts import Rewritten
from .table import REWRITES
from .verification import Verification, verified


@dataclass(frozen=True)
class Report:
    """What a rewrite did: the plans of both networks compared, and their outputs."""

    name: str
    options: Mapping[str, Any]
    difference: Difference
    verification: Verification
    notes: tuple[str, ...]
    layer_means: tuple[float, float] | None = None
    """The mean of the output of the layer that the rewrite names, before and after, where it is still there."""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rewrite": self.name,
            "options": dict(self.options),
            "verification": self.verification.as_json(),
            "notes": list(self.notes),
            "layer_means": self.layer_means and list(self.layer_means),
            **self.difference.as_dict(),
        }


def apply(model: Model, name: str, **options: Any) -> tuple[Model, Report]:
    """The model after the rewrite of that name, with new golden answers, and a report: what changed, what it costs,
    and how far outputs agree.

    The model given stays as it is; options may be texts. Raises RewriteError where the rewrite cannot be done, or its
    outputs differ by more than it allows, and NeocogError for a name or option that there is not.

        >>> from neocog import load
        >>> from neocog.rewrite import apply
        >>> model, report = apply(load("lenet.safetensors"), "fc-to-conv")  # doctest: +SKIP
    """
    rewrite = _named(name)
    settings = {one.name: one.default for one in rewrite.options} | _read(rewrite, options)
    if model.is_export:
        raise RewriteError("an export has no weights to rewrite: they are its runtime's", hint="the model file")
    old = replace(model, runtime=None)  # one that was chosen would go on computing the old network
    notes = tuple(rewrite.notes(old.network, old.weights, **settings))
    changed = rewrite.change(old.network, old.weights, **settings)
    _check(changed)
    made = _made(old, changed, rewrite.classes(old, settings))
    found = difference(old.network.plan(), made.network.plan())
    verification, means = verified(old, made, rewrite, settings)
    entry = {"name": rewrite.name, "options": _plain(settings), "verification": verification.as_json()}
    earlier = old.record.get("rewrites")
    record = {**old.record, "rewrites": [*(earlier if isinstance(earlier, list) else []), entry]}
    report = Report(rewrite.name, _plain(settings), found, verification, notes, means)
    return replace(made, record=record), report


def _made(old: Model, changed: Rewritten, classes: tuple[str, ...]) -> Model:
    """The new model, with its own answers to the golden images."""
    made = replace(old, network=changed.network, weights=changed.weights, classes=classes)
    if old.golden is None:
        return made
    images = old.golden[0]
    return replace(made, golden=(images, made.answers(images)))


def _named(name: str) -> Rewrite:
    for rewrite in REWRITES:
        if rewrite.name == name:
            return rewrite
    raise NeocogError("there is no such rewrite", received=name[:40], hint=", ".join(one.name for one in REWRITES))


def _read(rewrite: Rewrite, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, texts being read as what they are."""
    known = {one.name: one for one in rewrite.options}
    if unknown := sorted(options.keys() - known.keys()):
        hint = ", ".join(one.flag for one in rewrite.options) or "it takes none"
        raise NeocogError(f"{rewrite.name} has no such option", received=unknown[0][:40], hint=hint)
    for one in rewrite.options:
        if one.required and options.get(one.name) is None:
            raise NeocogError(f"{rewrite.name} needs {one.flag}", hint=f"{one.flag} X: {one.what}")
    return {name: _value(known[name], value) for name, value in options.items()}


def _value(option: Option, value: Any) -> Any:
    if not isinstance(value, str | PathLike):
        return value
    text = fspath(value)
    try:
        return option.kind(text)
    except NeocogError:
        raise
    except ValueError as error:
        raise NeocogError(f"{option.flag} is {option.what}", received=text[:60], hint=str(error)[:120]) from None


def _check(changed: Rewritten) -> None:
    """Whether the layers can take each other's volumes, and have the weights that they need."""
    try:
        needed = {name: one["shape"] for name, one in weight_shapes(changed.network).items()}
    except ShapeError as error:
        raise RewriteError(
            "the layers behind the change cannot take what it gives", where=error.where, received=error.rule
        ) from None
    there = {name: list(array.shape) for name, array in changed.weights.items()}
    for name in sorted(needed.keys() | there.keys()):
        if needed.get(name) != there.get(name):
            raise RewriteError(
                "the layers behind the change have weights for another volume",
                where=name,
                received=f"{there.get(name)}, where {needed.get(name)} is needed",
            )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them, a model by its fingerprint; those left out are not mentioned."""
    return {name: _as_json(value) for name, value in settings.items() if value is not None}


def _as_json(value: Any) -> Any:
    if isinstance(value, Model):
        return value.fingerprint
    return list(value) if isinstance(value, tuple) else value
