"""Models for tests of exports and runtimes: weights that nobody trained, and golden digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neocog import Model, Network
from neocog.data import Dataset, Preprocessing, load_data
from neocog.initialise import initialise
from neocog.layer import Example
from neocog.layers import LAYERS
from neocog.losses import default_loss

RESIDUAL = (
    "INPUT[28x28x1] -> CONV3-4(S=2, P=1, fit=floor) -> BN -> RELU -> ADD[CONV3-4 -> BN -> RELU | ID] -> "
    "CONCAT[CONV1-3 | POOL3(S=1, P=1) -> CONV1-2] -> GAP -> FC10"
)

LAYER_EXAMPLES = [example for layer in LAYERS for example in layer.examples if example.inputs]


def network_of(example: Example) -> Network:
    """A network around one layer: branches give a join volumes that differ."""
    first, *others = example.inputs
    if not others:
        side = "[ID] -> ID" if example.token.startswith("AUX") else ""
        return Network.parse(f"INPUT[{first}] -> {example.token}{side}")
    arms = [f"CONV1-{text.rpartition('x')[2]}(P=0)" for text in example.inputs]
    return Network.parse(f"INPUT[{first}] -> {example.token}[{' | '.join(arms)}]")


def digits(count: int, split: str = "test") -> Dataset:
    whole = getattr(load_data("mnist"), split)
    return replace(whole, images=whole.images[:count], labels=whole.labels[:count])


def varied(network: Network, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that a layer with wrong statistics, slopes or shifts would show."""
    rng = np.random.default_rng(seed)
    weights = {name: np.asarray(array, np.float32) for name, array in initialise(network, seed).items()}
    for name, array in weights.items():
        if name.endswith(("bias", "running_mean")):
            weights[name] = rng.uniform(-0.3, 0.3, array.shape).astype(np.float32)
        elif name.endswith("running_var") or (name.endswith("weight") and array.ndim == 1):
            weights[name] = rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
    return weights


def made_model(text: str, **changes: object) -> Model:
    """A model that nobody trained, with golden digits."""
    network, data = Network.parse(text), digits(100)
    preprocessing = replace(Preprocessing.learn(data, network.input_shape), **changes)
    model = Model(network, varied(network), preprocessing, data.classes, default_loss(network).name)
    return model.with_golden(data)
