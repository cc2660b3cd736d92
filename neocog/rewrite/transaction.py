"""A rewrite as a transaction: a new model whose outputs were compared with the old one's, or an error and no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError, RewriteError, ShapeError
from ..model import Model, weight_shapes
from ..network import Network
from ..plan.difference import Difference, difference
from .contract import Option, Outputs, Rewrite
from .parts import Rewritten, Weights
from .table import REWRITES

FEWEST, MOST, WORK = 2, 256, 4e9
"""How many random images are compared, besides the golden ones: as many as take so many MACs together."""
CHUNK_VALUES = 2**22
"""About how many values the volumes of the images have that are computed together; of one image they may have more."""


@dataclass(frozen=True)
class Verification:
    """How far the new outputs are from the old ones, computed by torch in float64 with the stored weights.

    `error` is the largest difference as a part of the largest output; `golden_error` is that of the stored answers, in
    float32 as predictions are made. `tolerance` is None where the rewrite is no equality by nature. `same_class` is
    the share of images, or positions of maps, whose largest output stays the same one's.
    """

    images: int
    golden: int
    tolerance: float | None
    error: float
    largest: float
    same_class: float
    golden_error: float | None

    def line(self) -> str:
        """In words."""
        compared = f"{self.images} images, {self.golden} of them golden" if self.golden else f"{self.images} images"
        found = f"largest difference {self.error:.1e} of the largest output"
        if self.tolerance is None:
            return f"not equal by nature: {found}, {self.same_class:.1%} keep their class ({compared})"
        return f"equal: {found}, at most {self.tolerance:.0e} allowed ({compared})"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "equal": self.tolerance is not None,
            "images": self.images,
            "golden": self.golden,
            "tolerance": self.tolerance,
            "error": self.error,
            "largest_output": self.largest,
            "same_class": self.same_class,
            "golden_error": self.golden_error,
        }


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
    notes = tuple(rewrite.notes(model.network, model.weights, **settings))
    changed = rewrite.change(model.network, model.weights, **settings)
    _check(changed)
    found = difference(model.network.plan(), changed.network.plan())
    verification, means = _compared(model, changed, rewrite, settings)
    classes = rewrite.classes(model.classes, settings)
    entry = {"name": rewrite.name, "options": _plain(settings), "verification": verification.as_json()}
    earlier = model.record.get("rewrites")
    record = {**model.record, "rewrites": [*(earlier if isinstance(earlier, list) else []), entry]}
    made = replace(model, network=changed.network, weights=changed.weights, classes=classes, record=record)
    if model.golden is not None:
        images = model.golden[0]
        made = replace(made, golden=(images, made.scores(made.preprocessing(images))))
    return made, Report(rewrite.name, _plain(settings), found, verification, notes, means)


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
    if not isinstance(value, str):
        return value
    try:
        return option.kind(value)
    except NeocogError:
        raise
    except ValueError as error:
        raise NeocogError(f"{option.flag} is {option.what}", received=value[:60], hint=str(error)[:120]) from None


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
    """Settings as JSON has them; those left out are not mentioned, nor are models."""
    found = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    return {name: value for name, value in found.items() if isinstance(value, int | float | str | list)}


def _compared(
    model: Model, changed: Rewritten, rewrite: Rewrite, settings: Mapping[str, Any]
) -> tuple[Verification, tuple[float, float] | None]:
    x = samples(model)
    watched = _watched(model.network, changed.network, settings.get("layer"))
    before, mean = outputs(model.network, model.weights, x, watched)
    after, new_mean = outputs(changed.network, changed.weights, x, watched)
    before, after = rewrite.aligned(model.network, before, after, settings)
    if before.shape != after.shape:
        raise RewriteError(
            f"{rewrite.name} would give outputs of another shape", received=f"{after.shape[1:]} for {before.shape[1:]}"
        )
    largest = float(np.abs(before).max())
    error = float(np.abs(after - before).max()) / (largest or 1.0)
    if not np.isfinite(error):
        raise RewriteError(f"{rewrite.name} would give outputs that are not finite, so there is no new model")
    if rewrite.tolerance is not None and error > rewrite.tolerance:
        raise RewriteError(
            f"{rewrite.name} would change what the network computes, so there is no new model",
            received=f"a largest difference of {error:.1e} of the largest output, for {rewrite.tolerance} allowed",
        )
    golden = 0 if model.golden is None else len(model.golden[0])
    same = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    golden_error = _golden_error(model, changed, rewrite, settings)
    verification = Verification(len(x), golden, rewrite.tolerance, error, largest, same, golden_error)
    return verification, None if mean is None or new_mean is None else (mean, new_mean)


def _watched(old: Network, new: Network, layer: str | None) -> str | None:
    """The layer that a rewrite names, if both networks have it."""
    names = [{node.name for node in network.nodes} for network in (old, new)]
    return layer if layer is not None and all(layer in one for one in names) else None


def _golden_error(model: Model, changed: Rewritten, rewrite: Rewrite, settings: Mapping[str, Any]) -> float | None:
    """The largest difference of the golden answers as predictions are made; None without golden images."""
    if model.golden is None:
        return None
    x = model.preprocessing(model.golden[0])
    made = replace(model, network=changed.network, weights=changed.weights)
    before, after = (one.scores(x).astype(np.float64) for one in (model, made))
    before, after = rewrite.aligned(model.network, before, after, settings)
    return float(np.abs(before - after).max())


def samples(model: Model) -> NDArray[np.float32]:
    """What outputs are compared on: the golden images as the network reads them, and standard normal values."""
    shape, macs = model.network.input_shape, model.network.plan().totals["macs"]
    count = max(FEWEST, min(MOST, int(WORK / max(1, macs))))
    drawn = np.random.default_rng(0).standard_normal((count, shape.channels, *shape.spatial), np.float32)
    return drawn if model.golden is None else np.concatenate([model.preprocessing(model.golden[0]), drawn])


def outputs(
    network: Network, weights: Weights, x: NDArray[np.float32], watched: str | None = None
) -> tuple[Outputs, float | None]:
    """The network's outputs in float64, (N, K) or (N, K, *size), and the mean of the watched layer's."""
    import torch

    from ..torch_engine import build

    module = build(network, weights=weights).double().eval()
    means: list[float] = []
    if watched is not None:
        module.get_submodule(watched).register_forward_hook(lambda layer, inputs, y: means.append(float(y.mean())))
    size = max(1, CHUNK_VALUES // sum(shape.elements for shape in network.shapes))
    chunks = np.array_split(x, -(-len(x) // size))
    with torch.inference_mode():
        parts = [module(torch.from_numpy(chunk).double()).numpy() for chunk in chunks]
    sizes = [len(chunk) for chunk in chunks]
    return np.concatenate(parts), float(np.average(means, weights=sizes)) if means else None
