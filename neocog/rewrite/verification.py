"""How far two models' outputs are apart: what makes a rewrite a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError
from ..model import Model
from ..network import Network
from ..wording import count_of
from .contract import Outputs, Rewrite
from .parts import Weights

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
        compared = count_of(self.images, "image") + (f", {self.golden} of them golden" if self.golden else "")
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


def verified(
    old: Model, new: Model, rewrite: Rewrite, settings: Mapping[str, Any]
) -> tuple[Verification, tuple[float, float] | None]:
    """How the outputs of the new model compare; and the mean output of the layer that the rewrite names, before and
    after, where both have it.

    Raises RewriteError where they differ by more than the rewrite allows, or are nothing to compare.
    """
    x = samples(old)
    watched = _watched(old.network, new.network, settings.get("layer"))
    before, mean = outputs(old.network, old.weights, x, watched)
    after, new_mean = outputs(new.network, new.weights, x, watched)
    before, after = _comparable(old, rewrite, settings, before, after)
    largest = float(np.abs(before).max())
    error = float(np.abs(after - before).max()) / (largest or 1.0)
    if rewrite.tolerance is not None and error > rewrite.tolerance:
        raise RewriteError(
            f"{rewrite.name} would change what the network computes, so there is no new model",
            received=f"a largest difference of {error:.1e} of the largest output, for {rewrite.tolerance} allowed",
        )
    if not np.isfinite(new.scores(x[:FEWEST])).all():
        raise RewriteError(f"{rewrite.name} gives outputs that are not finite in float32, so there is no new model")
    golden = 0 if old.golden is None else len(old.golden[0])
    same = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    golden_error = _golden_error(old, new, rewrite, settings)
    found = Verification(len(x), golden, rewrite.tolerance, error, largest, same, golden_error)
    return found, None if mean is None or new_mean is None else (mean, new_mean)


def _comparable(
    old: Model, rewrite: Rewrite, settings: Mapping[str, Any], before: Outputs, after: Outputs
) -> tuple[Outputs, Outputs]:
    """What of both outputs stands for the same. Raises RewriteError where they have other shapes, or no numbers."""
    for whose, one in (("the old model", before), (rewrite.name, after)):
        if not np.isfinite(one).all():
            raise RewriteError(f"{whose} gives outputs that are not finite, so there is no new model")
    before, after = rewrite.aligned(old.network, before, after, settings)
    if before.shape != after.shape:
        raise RewriteError(
            f"{rewrite.name} would give outputs of another shape", received=f"{after.shape[1:]} for {before.shape[1:]}"
        )
    return before, after


def _golden_error(old: Model, new: Model, rewrite: Rewrite, settings: Mapping[str, Any]) -> float | None:
    """The largest difference of the golden answers as predictions are made; None without golden images."""
    if old.golden is None or new.golden is None:
        return None
    pair = (old.answers(old.golden[0]), new.golden[1])
    before, after = _comparable(old, rewrite, settings, *(one.astype(np.float64) for one in pair))
    return float(np.abs(before - after).max())


def _watched(old: Network, new: Network, layer: str | None) -> str | None:
    """The layer that a rewrite names, if both networks have it."""
    names = [{node.name for node in network.nodes} for network in (old, new)]
    return layer if layer is not None and all(layer in one for one in names) else None


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
