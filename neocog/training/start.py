"""Fine-tuning: training that starts from the weights of a file, by names and shapes.

The file is a model's, or another library's weights for a network of the zoo (see docs/weights.md). Arrays of the same
name and shape are taken from it. All must be there, but for those of the output layer, which starts afresh where it
tells other classes apart. Images are normalised by the mean and deviation that the weights were trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data import Preprocessing
from ..errors import ModelFileError, NeocogError
from ..files import read_header
from ..initialise import initialise
from ..interop.weights import WeightsError, import_weights
from ..model import load
from ..network import Network
from .fits import outputs_from

Arrays = Mapping[str, NDArray[np.float32]]
SHOWN = 6
"""How many arrays an error names."""


@dataclass(frozen=True)
class Start:
    """Arrays that training starts with, those that start afresh, and the normalization that belongs to the former."""

    name: str
    weights: Arrays
    afresh: tuple[str, ...]
    preprocessing: Preprocessing

    def normalised(self, learned: Preprocessing) -> Preprocessing:
        """The preprocessing of a data set, with the mean and deviation that the weights expect."""
        return replace(learned, mean=self.preprocessing.mean, std=self.preprocessing.std)

    def __str__(self) -> str:
        return f"from {self.name}" + (f", afresh {', '.join(self.afresh)}" if self.afresh else "")


def start_from(path: str, network: Network) -> Start:
    """What a file holds for a network.

    Raises ModelFileError for a file that cannot be used, NeocogError where more than the output layer is missing.
    """
    stored, preprocessing = _stored(path, network)
    own = initialise(network)
    taken = {name: array for name, array in stored.items() if name in own and array.shape == own[name].shape}
    afresh = tuple(name for name in own if name not in taken)
    head = outputs_from(network).name
    if any(name.partition(".")[0] != head for name in afresh):
        more = f" and {len(afresh) - SHOWN} more" if len(afresh) > SHOWN else ""
        raise NeocogError(
            f"{len(afresh)} of the {len(own)} arrays are not there, and not the output layer's alone",
            where=Path(path).name,
            received=f"no {', '.join(_shown(name, stored, own) for name in afresh[:SHOWN])}{more}",
            hint=f"the network that these weights are of, with another {head} at most",
        )
    return Start(Path(path).name, taken, afresh, preprocessing)


def _stored(path: str, network: Network) -> tuple[Arrays, Preprocessing]:
    """The arrays of a file under the network's names, and their preprocessing."""
    if _is_model(Path(path)):
        model = load(path)
        return model.weights, model.preprocessing
    try:
        model, report = import_weights(network, path)
    except WeightsError as error:
        head = outputs_from(network).name
        if not error.report.unmatched or any(name.partition(".")[0] != head for name in error.report.unmatched):
            raise
        model, report = import_weights(network, path, partial=True)
    return {name: model.weights[name] for name in report.matched}, model.preprocessing


def _is_model(path: Path) -> bool:
    try:
        return "neocog" in read_header(path)[0].get("__metadata__", {})
    except (ModelFileError, OSError, ValueError):
        return False  # what it is instead, whoever reads it will say


def _shown(name: str, stored: Arrays, own: Arrays) -> str:
    return f"{name} of {own[name].shape}" + (f" but {stored[name].shape}" if name in stored else "")
