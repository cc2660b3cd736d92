"""A network with weights from elsewhere as a model: how images become its input, and what its classes are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, Preprocessing
from ..errors import NeocogError
from ..losses import default_loss
from ..model import Model
from ..network import Network


def model_of(
    network: Network,
    weights: Mapping[str, NDArray[np.float32]],
    record: Mapping[str, Any],
    *,
    data: Dataset | None,
    classes: Sequence[str] | None,
    known: Preprocessing | None = None,
) -> Model:
    """The model. `data` is the set that the weights were trained on, of which it takes mean, deviation, classes and
    golden images; without it the preprocessing is what is `known`.

    Raises NeocogError where neither says how images become numbers, and for data with other classes.
    """
    count = network.shapes[-1].channels
    if data is not None and len(data.classes) != count:
        raise NeocogError(
            f"the data set tells {len(data.classes):,} classes apart, the network {count:,}", where=data.name
        )
    preprocessing = known if data is None else Preprocessing.learn(data, network.input_shape)
    if preprocessing is None:
        raise NeocogError(
            "nothing here says how images become numbers, which decides what weights answer",
            hint="--data mnist, or the set that they were trained on",
        )
    names = classes or (data.classes if data else [f"class {k}" for k in range(count)])
    made = Model(network, weights, preprocessing, tuple(names), default_loss(network).name, record)
    return made if data is None else made.with_golden(data)
