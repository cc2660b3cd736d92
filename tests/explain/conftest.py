"""Small models of every make, and pictures to explain."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Model, Network
from neocog.data import Preprocessing
from neocog.explain import Subject
from neocog.initialise import initialise
from neocog.measure.field import settle
from neocog.torch_engine import build, read_weights

NETS = {
    "lenet": "INPUT[20x20x1] -> CONV5-6 -> RELU -> POOL2 -> CONV5-8(P=0) -> RELU -> POOL2 -> FC16 -> RELU -> FC4",
    "lenet 1998": "INPUT[20x20x1] -> CONV5-4(P=0) -> SCALEDTANH -> SUBSAMPLE2 -> SCALEDTANH"
    ' -> CONV3-3(P=0, TABLE="0 1; 1 2 3; 0 3") -> SCALEDTANH -> FC16 -> SCALEDTANH -> FC4',
    "vgg": "INPUT[16x24x3] -> [[CONV3-6 -> BN -> RELU]*2 -> POOL2]*2 -> FC12 -> RELU -> DROPOUT -> FC4 -> SOFTMAX",
    "googlenet": "INPUT[18x14x3] -> CONV3-6 -> RELU -> LRN"
    " -> CONCAT[CONV1-3 | CONV3-3 -> RELU | POOL3(S=1, P=1) -> CONV1-2]"
    " -> RELU -> AUX(0.3)[GAP -> FC4] -> CONCAT[CONV3-4 | CONV1-2] -> RELU -> GAP -> FC4",
    "resnet": "def block(k) = ADD[CONV3-k(BIAS=no) -> BN -> RELU -> CONV3-k(BIAS=no) -> BN | ID] -> RELU\n"
    "INPUT[16x16x3] -> CONV3-6(BIAS=no) -> BN -> RELU -> block(6) -> ADD[CONV3-8(S=2, fit=floor, BIAS=no) -> BN"
    " | SHORTCUT(K=8)] -> RELU -> block(8) -> GAP -> FC4",
}


def model_of(text: str, seed: int = 1, weights=None, std: float = 0.25) -> Model:
    """A model with random weights, whose normalizations have statistics of their own."""
    network = Network.parse(text)
    height, width, channels = network.input_shape.as_list()
    if weights is None:
        module = build(network, weights=initialise(network, seed))
        settle(module, np.random.default_rng(seed).standard_normal((8, channels, height, width)).astype(np.float32))
        weights = read_weights(module)
        rng = np.random.default_rng(seed)
        for name in weights:
            if name.endswith("bias"):
                weights[name] = rng.normal(0, 0.1, weights[name].shape).astype(np.float32)
    preprocessing = Preprocessing((height, width), (height, width), (0.5,) * channels, (std,) * channels)
    classes = tuple(f"class {k}" for k in range(network.shapes[-1].channels))
    loss = "nll" if network.nodes[-1].layer.op == "SOFTMAX" else "cross-entropy"
    return Model(network, weights, preprocessing, classes, loss)


def images_for(model: Model, count: int = 3, seed: int = 0) -> np.ndarray:
    """Noise with some structure: (N, H, W, C) bytes."""
    height, width, channels = model.network.input_shape.as_list()
    rng = np.random.default_rng(seed)
    coarse = (
        rng.integers(0, 256, (count, -(-height // 4), -(-width // 4), channels)).repeat(4, axis=1).repeat(4, axis=2)
    )
    return (0.6 * coarse[:, :height, :width] + 0.4 * rng.integers(0, 256, (count, height, width, channels))).astype(
        np.uint8
    )


@pytest.fixture(scope="session", params=NETS)
def model(request) -> Model:
    return model_of(NETS[request.param])


@pytest.fixture(scope="session")
def images(model) -> np.ndarray:
    return images_for(model)


@pytest.fixture(scope="session")
def subject(model) -> Subject:
    return Subject.of(model)


@pytest.fixture(scope="session")
def x(subject, model, images):
    return subject.tensor(model.preprocessing(images))
