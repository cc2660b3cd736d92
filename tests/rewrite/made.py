"""Networks with weights in which nothing is zero or one by chance, and models of them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import numpy as np
from random_networks import network_of

from neocog import Model, Network
from neocog.data import Dataset, Preprocessing
from neocog.initialise import initialise
from neocog.model import Weights
from neocog.reference import forward


def weights_of(network: Network, seed: int = 0) -> Weights:
    """Starting weights with biases and running statistics as training leaves them."""
    rng = np.random.default_rng(seed)
    found = dict(initialise(network, seed, "he"))
    for name, array in found.items():
        if name.endswith(("bias", "running_mean")):
            found[name] = rng.normal(0, 0.3, array.shape).astype(np.float32)
        elif name.endswith("running_var") or (array.ndim == 1 and name.endswith("weight")):
            found[name] = rng.uniform(0.5, 2.0, array.shape).astype(np.float32)
    return found


def drawn(count: int) -> Iterable[tuple[int, Network, Weights]]:
    """Networks drawn at random from all layers that machine code covers, with weights."""
    for seed in range(count):
        network = network_of(Random(seed))
        yield seed, network, weights_of(network, seed)


def convolutions(count: int) -> Iterable[tuple[int, Network, Weights]]:
    """Networks of convolutions with groups and of convolutions side by side, drawn at random, with weights."""
    for seed in range(count):
        random = Random(seed)
        size = "x".join(str(random.randint(5, 9)) for _ in range(random.choice([1, 2])))
        chain = f"fit=floor INPUT[{size}x{random.choice([2, 4, 6])}]"
        for _ in range(random.randint(1, 3)):
            bias, end = random.choice(["yes", "no"]), random.choice(["", " -> RELU", " -> BN -> TANH"])
            options = f"S={random.randint(1, 2)}, D={random.randint(1, 2)}, BIAS={bias}"
            kernel, maps = random.choice([1, 3]), random.choice([2, 4, 6])
            groups = f"CONV{kernel}-{maps}(G={random.choice([1, 2])}, {options})"
            beside = f"CONCAT[CONV{kernel}-{maps}({options}) | CONV{kernel}-2({options})]"
            chain += f" -> {random.choice([groups, groups, beside])}{end}"
        network = Network.parse(f"{chain} -> {random.choice(['FC3', 'CONV1-3'])}")
        yield seed, network, weights_of(network, seed)


def images_for(network: Network, count: int = 3, seed: int = 0) -> np.ndarray:
    shape = network.input_shape
    return np.random.default_rng(seed).standard_normal((count, shape.channels, *shape.spatial), np.float32)


def scores(network: Network, weights: Weights, x: np.ndarray) -> np.ndarray:
    """By the reference, which shares no arithmetic with what the rewrites are verified by."""
    return forward(network, weights, x).output


def difference(before: np.ndarray, after: np.ndarray) -> float:
    """The largest, as a part of the largest output."""
    assert before.shape == after.shape
    return float(np.abs(before - after).max() / max(1e-30, np.abs(before).max()))


def model_of(text: str, seed: int = 0) -> Model:
    """An untrained model for images of noise, with golden ones."""
    network = Network.parse(text)
    rng = np.random.default_rng(seed)
    shape = network.input_shape
    classes = tuple(f"class {k}" for k in range(network.shapes[-1].channels))
    images = rng.integers(0, 256, (6, *shape.spatial, shape.channels), dtype=np.uint8)
    data = Dataset("noise", "train", images, np.arange(6) % len(classes), classes)
    preprocessing = Preprocessing.learn(data, shape)
    return Model(network, weights_of(network, seed), preprocessing, classes, "cross-entropy").with_golden(data)
