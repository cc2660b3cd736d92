"""Small models with random weights, and images, for tests of score maps."""

from __future__ import annotations

import numpy as np

from neocog import Model, Network
from neocog.data import Preprocessing
from neocog.initialise import initialise
from neocog.layer import Shape


def model_of(text: str, seed: int = 0, **how) -> Model:
    """Biases and running statistics are random too: zeros would hide what padding does."""
    network = Network.parse(text)
    generator = np.random.default_rng(seed)
    weights = {}
    for name, array in initialise(network, seed, "he").items():
        if name.endswith((".bias", "running_mean")):
            array = generator.normal(0, 0.3, array.shape)
        if name.endswith("running_var"):
            array = generator.uniform(0.5, 2, array.shape)
        weights[name] = array.astype(np.float32)
    shape: Shape = network.input_shape
    size = (shape.spatial[0], shape.spatial[1])
    colours = {"mean": (0.4,) * shape.channels, "std": (0.3,) * shape.channels}
    preprocessing = Preprocessing(size=size, **{"source": size, **colours, **how})
    classes = tuple(f"c{k}" for k in range(network.shapes[-1].channels))
    return Model(network, weights, preprocessing, classes, how.pop("loss", "cross-entropy"))


def picture(height: int, width: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


PADLESS = {
    "chain": (
        "INPUT[12x12x1] -> CONV3-4(P=0) -> RELU -> POOL2 -> CONV2-5(P=0) -> RELU -> POOL2 -> FC6 -> RELU -> FC3",
        25,
        30,
    ),
    "not square": ("INPUT[8x14x3] -> CONV3x5-4(P=0) -> TANH -> POOL2 -> CONV1x2-3(P=0) -> FC4", 15, 31),
    "strided": ("INPUT[15x15x1] -> CONV3-4(S=2, P=0) -> RELU -> CONV3-4(S=2, P=0) -> RELU -> FC3", 31, 27),
    "dilated": ("INPUT[13x13x1] -> CONV3-4(P=0, D=2) -> RELU -> POOL3(S=2) -> CONV2-3(P=0, D=2) -> FC3", 20, 23),
    "rows left over": (
        "INPUT[14x14x1] -> CONV3-4(P=0) -> POOL3(S=2, fit=floor) -> RELU -> AVGPOOL2(fit=floor) -> FC3",
        27,
        24,
    ),
    "branches": (
        "INPUT[12x12x3] -> CONV3-4(P=0) -> CONCAT[ CONV2-3(S=2, P=0) | AVGPOOL2 | POOL2 -> CONV1-2 ] -> RELU"
        " -> ADD[ CONV1-9 -> BN | ID ] -> FC3",
        21,
        18,
    ),
    "means": ("INPUT[10x10x1] -> CONV3-4(P=0) -> BN -> RELU -> L2POOL2 -> GAP -> FC3 -> SOFTMAX", 17, 22),
    "flattened": (
        "INPUT[9x9x1] -> CONV2-3(P=0) -> POOL2 -> FLATTEN -> RELU -> DROPOUT(0.5) -> FC4 -> AUX(0.3)[ FC3 ] -> FC3",
        16,
        14,
    ),
    "LeNet-5's end": (
        "INPUT[12x12x1] -> CONV5-4(P=0) -> SUBSAMPLE2 -> SCALEDTANH -> FC84 -> SCALEDTANH -> RBF10",
        21,
        18,
    ),
    "stride in part": ("INPUT[13x13x1] -> CONV5-4(S=4, P=0) -> RELU -> CONV2-3(P=0) -> FC3", 30, 26),
}
"""Text, height and width of an image."""

PADDED = {
    "VGG": ("INPUT[16x16x3] -> [CONV3-4 -> RELU -> CONV3-4 -> RELU -> POOL2]*2 -> FC6 -> RELU -> FC3", 56, 44),
    "ResNet": (
        "INPUT[16x16x1] -> CONV3-4 -> BN -> RELU"
        " -> ADD[ CONV3-6(S=2, fit=floor) -> BN -> RELU -> CONV3-6 -> BN | SHORTCUT(K=6, S=2) ] -> RELU -> GAP -> FC3",
        48,
        52,
    ),
    "hanging over": (
        "INPUT[15x15x1] -> CONV3-4(S=2, P=1) -> RELU -> POOL3(S=2, fit=ceil) -> CONV3-4 -> RELU"
        " -> POOL2(fit=ceil) -> FC3",
        65,
        57,
    ),
    "AlexNet": (
        "INPUT[23x23x1] -> CONV5-4(S=2, P=0) -> RELU -> LRN -> POOL2 -> CONV3-4(G=2) -> RELU -> CONV3-4"
        " -> POOL2(fit=floor) -> FC3",
        63,
        55,
    ),
}
