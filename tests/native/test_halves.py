"""Products of pairs of bfloat16: exactly what single precision gives for operands that were rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_networks import batch_for, drawn, far

from neocog import Network
from neocog.losses import LOSSES
from neocog.native.engine import NativeNetwork
from neocog.native.expressions import Index, Type, dot, load, neighbours, pair
from neocog.native.jit import Machine
from neocog.native.kernel import Function
from neocog.native.llvm import module
from neocog.reference import backward, forward
from neocog.zoo import text as zoo_text

LOSS = LOSSES["cross-entropy"]


def rounded(values):
    """To bfloat16, to the nearest and ties to even, as torch does it."""
    return torch.from_numpy(np.asarray(values, np.float32)).bfloat16().double().numpy()


def step(network, on=None, threads=1):
    """Scores and gradients of one step, with its weights, images and labels."""
    weights, (x, labels) = drawn(network, 3), batch_for(network, 21, 3)
    compiled = NativeNetwork(network, threads, "sgd", dtype="bfloat16", on=on)
    compiled.write_weights(weights)
    scores = compiled.score(x)
    compiled.train(x, labels, 0.0, 0.0, 0.0)
    gradients = compiled.gradients()
    compiled.close()
    return scores, gradients, weights, x, labels


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize(
    "text",
    ["INPUT[5x4x16] -> CONV5x4-32(P=0)", "INPUT[5x4x9] -> CONV5x4-24(P=0, BIAS=no)", "INPUT[1x1x24] -> FC48"],
)
def test_one_product_is_that_of_rounded_operands(text, lanes):
    network = Network.parse(text)
    scores, gradients, weights, x, labels = step(network, on=Machine(lanes, registers=16))
    name = f"{network.nodes[-1].name}.weight"
    trace = forward(network, {**weights, name: rounded(weights[name])}, rounded(x))
    assert far(scores.reshape(trace.output.shape), trace.output) < 1e-6
    dy = LOSS.gradient(trace.output, labels)
    _, expected = backward(trace, rounded(dy))
    assert far(gradients[name], expected[name]) < 1e-3  # some gradients of scores round to the other neighbour


def test_the_gradient_for_an_input_multiplies_rounded_operands():
    network = Network.parse("INPUT[1x1x1] -> FC32 -> FC16(BIAS=no)")  # one channel has no other to be paired with
    _, gradients, weights, x, labels = step(network)
    x = x.reshape(len(x), -1).astype(float)
    h = x @ weights["fc1.weight"].reshape(32, -1).T + weights["fc1.bias"]
    w = rounded(weights["fc2.weight"]).reshape(16, 32)
    dy = LOSS.gradient((rounded(h) @ w.T), labels)
    expected = rounded(rounded(dy) @ w).T @ rounded(x)
    assert far(gradients["fc1.weight"].reshape(32, -1), expected) < 1e-3


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize(
    ("text", "rounds"),
    [
        ("INPUT[6x8x3] -> CONV3-10", True),
        ("INPUT[7x10x4] -> CONV3-10(S=2x1, P=0)", True),
        ("INPUT[6x7x3] -> CONV3-10", False),  # seven places in a row: the last one has no other to be paired with
        ("INPUT[6x16x3] -> CONV3-10(S=2, fit=floor)", False),  # places that are not beside each other
        ("INPUT[4x4x1] -> CONV1-2", False),  # too few products
    ],
)
def test_pairs_of_images_at_two_places_are_multiplied_where_that_is_worth_it(text, rounds, lanes):
    network, alone = Network.parse(f"{text} -> GAP"), Network.parse(text)
    scores, gradients, weights, x, labels = step(network, on=Machine(lanes, registers=16))
    trace = forward(alone, weights, x)
    dy = LOSS.gradient(scores.reshape(21, -1).astype(float), labels) / trace.output[0, 0].size
    dy = np.broadcast_to(dy[:, :, None, None], trace.output.shape)
    _, exact = backward(trace, dy)
    _, expected = backward(forward(alone, weights, rounded(x)), rounded(dy))
    errors = [far(gradients["conv1.weight"], found["conv1.weight"]) for found in (exact, expected)]
    assert (errors[1] < 1e-5 < errors[0]) if rounds else (errors[0] < 1e-5 < errors[1])


RESNET20 = zoo_text("resnet20").replace("INPUT[32x32", "INPUT[16x16")
"""What is rounded adds up over the depth; a quarter of the positions shows it as well."""


@pytest.mark.parametrize(
    "text",
    [RESNET20, "INPUT[9x9x12] -> CONV3-48(S=2) -> BN -> RELU -> CONV3-17 -> GAP -> FC3"],
    ids=["resnet20", "strided"],
)
def test_a_network_stays_near_single_precision(text):
    network = Network.parse(text)
    scores, gradients, weights, x, labels = step(network, threads=2)
    assert far(scores, forward(network, weights, x).output.reshape(scores.shape)) < 0.05
    trace = forward(network, weights, x, np.random.default_rng(0))
    _, expected = backward(trace, LOSS.gradient(trace.output, labels))
    last = f"{network.nodes[-1].name}.weight"
    assert far(gradients[last], expected[last]) < 0.05


def test_the_number_of_threads_changes_no_bit():
    network = Network.parse("INPUT[8x8x12] -> CONV3-48 -> RELU -> POOL2 -> FC16 -> FC5")
    alone, together = (step(network, threads=count)[:2] for count in (1, 3))
    np.testing.assert_array_equal(alone[0], together[0])
    for name, gradient in alone[1].items():
        np.testing.assert_array_equal(gradient, together[1][name])


def test_the_instruction_for_pairs_is_used_where_a_processor_has_it():
    f, vector = Function("f", ("x",)), Type("f32", 16)
    x = f.let(load(vector, "x", Index()))
    f.store("x", Index(), dot(pair(x, x), pair(x, x), x))
    f.store("x", Index(), neighbours(x))
    assert "dpbf16ps.512" in module([f], dots=True)
    assert "dpbf16ps" not in module([f], dots=False)
