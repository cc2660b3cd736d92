"""Published networks, with random weights: every make of network is explained, at its own size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neocog import Network, zoo
from neocog.explain import BY_NAME, Subject
from neocog.explain.method import Asked
from neocog.initialise import initialise

DENSE = """def dense(k) = CONCAT[ BN -> RELU -> CONV3-k(BIAS=no) | ID ]
INPUT[16x16x3] -> CONV3-8 -> [dense(6)]*4 -> BN -> RELU -> CONV1-16 -> AVGPOOL2 -> [dense(6)]*4
-> BN -> RELU -> GAP -> FC10"""
NAMES = (
    *("neocognitron", "lenet1", "lenet5", "lenet5-relu", "convnetjs-cifar10", "nin", "all-cnn-c", "resnet20"),
    *("preact-resnet110", "alexnet", "spp-net", "resnet18", "resnet50", "googlenet"),
)
METHODS = ("gradient", "guided-backprop", "grad-cam", "hires-cam", "lrp")


def check(network):
    weights = initialise(network)
    subject = Subject.from_arrays(network, weights, "map" if network.nodes[-1].layer.op == "RBF" else "cross-entropy")
    shape = network.input_shape
    drawn = np.random.default_rng(0).standard_normal((1, shape.channels, *shape.spatial), np.float32)
    x = subject.tensor(drawn)
    subject = subject.randomised(x, 0)
    for name in METHODS:
        found = BY_NAME[name].attribute(subject, x, Asked(subject.classes([1])))
        assert found.values.shape[2:] == shape.spatial
        assert torch.isfinite(found.values).all(), name
        assert found.gap is None or found.gap.max() < 1e-2, (name, found.gap)


def test_a_densely_connected_network_is_explained():
    check(Network.parse(DENSE))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_networks_of_the_zoo_are_explained(name):
    check(zoo(name))
