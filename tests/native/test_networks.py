"""Whole networks as machine code against the reference: scores, loss and the gradient of every weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neocog import Network, ShapeError, zoo
from neocog.initialise import initialise
from neocog.losses import LOSSES
from neocog.native.engine import NativeNetwork
from neocog.native.jit import Machine
from neocog.native.stages import stages_of, uncovered
from neocog.reference import backward, forward

EXACT = 1e-5


def drawn(network, seed):
    rng = np.random.default_rng(seed)
    weights = initialise(network, seed)
    return {k: (w + 0.1 * rng.standard_normal(w.shape)).astype(np.float32) for k, w in weights.items()}


def batch_for(network, count, seed):
    rng = np.random.default_rng(seed)
    shape = network.input_shape
    x = rng.standard_normal((count, shape.channels, *shape.spatial)).astype(np.float32)
    return x, rng.integers(0, network.shapes[-1].channels, count)


def assert_agrees(network, count=21, threads=1, seed=0, on=None):
    """Scores, and the gradients that one step of plain descent with rate 1 subtracts."""
    weights, (x, labels) = drawn(network, seed), batch_for(network, count, seed)
    compiled = NativeNetwork(network, threads, nesterov=False, on=on)
    compiled.write_weights(weights)
    trace = forward(network, weights, x)
    loss = LOSSES["cross-entropy"]
    assert far(compiled.score(x), trace.output) < EXACT
    value, right = compiled.train(x, labels, 1.0, 0.0, 0.0)
    np.testing.assert_allclose(value, loss.value(trace.output, labels), rtol=EXACT)
    assert right == (trace.output.argmax(axis=1) == labels).sum()
    _, gradients = backward(trace, loss.gradient(trace.output, labels))
    after = compiled.read_weights()
    for name, gradient in gradients.items():
        assert far(weights[name] - after[name], gradient) < EXACT + 1e-6 / np.linalg.norm(gradient), name
    compiled.close()


def far(found, expected):
    """The norm of the difference, relative to that of what is expected."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    "text",
    [
        "INPUT[5x6x2] -> FC4",
        "INPUT[5x6x2] -> FC17 -> RELU -> FC4(BIAS=no)",
        "INPUT[8x8x1] -> CONV3-3 -> RELU -> POOL2 -> FC4",
        "INPUT[8x8x1] -> CONV3-3 -> POOL2 -> RELU -> FC4",
        "INPUT[8x9x1] -> CONV3-3 -> TANH -> CONV3-5 -> SIGMOID -> FC9 -> SCALEDTANH -> FC4",
        "fit=floor INPUT[19x17x3] -> CONV3-7(S=2) -> RELU -> CONV5-13 -> LRELU(0.1) -> CONV4-33(S=3, P=2) -> FC21",
        "fit=ceil INPUT[8x8x3] -> CONV3-7(S=2, P=0) -> RELU -> CONV3-4(S=2, P=0) -> FC5",
        "INPUT[8x8x4] -> CONV3-8(G=2) -> RELU -> CONV3-8(G=4, D=2) -> POOL2 -> FC4",
        "INPUT[9x7x2] -> CONV1x3-4(S=1x2, P=0x1, FLIP=yes) -> RELU -> CONV3x1-20(D=2x1) -> FLATTEN -> FC4",
        "fit=floor INPUT[7x7x2] -> CONV2-6(S=3, P=1) -> RELU -> CONV1-9(S=2) -> FC3",  # no window reads some inputs
        "INPUT[40x3] -> CONV5-8 -> RELU -> POOL2 -> CONV3-16 -> RELU -> FC4",
        "INPUT[6x6x2] -> CONV3-40 -> RELU -> CONV3-33 -> RELU -> FC5",
        "INPUT[8x8x1] -> ID -> CONV8-12(P=0) -> RELU -> CONV1-6 -> FC3",
    ],
)
def test_scores_loss_and_gradients_are_the_references(text):
    assert_agrees(Network.parse(text))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_vectors_of_any_length_agree(lanes):  # NEON, AVX2 and AVX-512 have these
    text = "INPUT[10x8x3] -> CONV3-20 -> RELU -> POOL2 -> CONV3-37(S=2, P=1, fit=floor) -> TANH -> FC5"
    assert_agrees(Network.parse(text), on=Machine(lanes, registers=16))


def test_lenet_and_the_convnetjs_network_agree_too():
    assert_agrees(zoo("lenet5-relu"), 20, threads=2)
    assert_agrees(zoo("convnetjs-cifar10"), 9)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A small network of what this engine covers; sizes odd and even, some windows larger than what they read."""
    rank = draw(st.sampled_from([1, 2]))
    size = "x".join(str(draw(st.integers(3, 11))) for _ in range(rank))
    parts = [f"fit={draw(st.sampled_from(['floor', 'ceil']))} INPUT[{size}x{draw(st.integers(1, 3))}]"]
    for _ in range(draw(st.integers(0, 3))):
        f, k = draw(st.integers(1, 4)), draw(st.integers(1, 19))
        options = f"S={draw(st.integers(1, 3))}, P={draw(st.integers(0, 2))}, D={draw(st.integers(1, 2))}"
        parts.append(f"CONV{f}-{k}({options}, BIAS={draw(st.sampled_from(['yes', 'no']))})")
        if draw(st.booleans()):
            parts.append(draw(st.sampled_from(["RELU", "TANH", "SIGMOID", "LRELU(0.2)", "ID"])))
        if draw(st.booleans()):
            parts.append("POOL2(fit=exact)")
    if draw(st.booleans()):
        parts.append(f"FC{draw(st.integers(1, 20))} -> {draw(st.sampled_from(['RELU', 'TANH']))}")
    return Network.parse(" -> ".join([*parts, f"FC{draw(st.integers(2, 12))}"]))


@settings(max_examples=25, derandomize=True, deadline=None)
@given(networks(), st.integers(1, 20), st.integers(0, 3))
def test_any_network_that_is_covered_agrees(network, count, seed):
    try:
        _ = network.shapes
    except ShapeError:
        assume(False)
    assume(not uncovered(network))
    assert_agrees(network, count, seed=seed)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_number_of_threads_changes_no_bit(threads):
    network = zoo("lenet5-relu")
    x, labels = batch_for(network, 70, 1)

    def trained(count):
        compiled = NativeNetwork(network, count, nesterov=True)
        compiled.write_weights(drawn(network, 2))
        losses = [compiled.train(x, labels, 0.05, 0.9, 1e-3) for _ in range(3)]
        weights = compiled.read_weights()
        compiled.close()
        return losses, weights

    (alone, expected), (together, found) = trained(1), trained(threads)
    assert alone == together
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INPUT[8x8x1] -> CONV3-4 -> BN -> FC3", "no kernel for BN (bn1)"),
        ("INPUT[8x8x1] -> ADD[CONV3-1 | ID] -> FC3", "no kernel for ADD (add1)"),
        ('INPUT[8x8x2] -> CONV3-2(TABLE="0; 1") -> FC3', "conv1"),
        ("INPUT[8x8x2] -> POOL3(S=1) -> FC3", "pool1"),
        ("INPUT[8x8x2] -> RELU -> FC3", "relu1"),
        ("INPUT[8x8x2] -> FLATTEN -> CONV1-3", "no kernel for CONV behind FLATTEN (conv1)"),
        ("INPUT[8x8x2] -> CONV3-2", "ends in a map"),
        ("INPUT[8x8x2] -> FC3 -> RELU", ""),
    ],
)
def test_the_layer_that_is_not_covered_is_named(text, says):
    assert says in uncovered(Network.parse(text))
    assert bool(uncovered(Network.parse(text))) == bool(says)


def test_what_follows_a_convolution_runs_in_its_kernel():
    stages = stages_of(zoo("lenet5-relu"))
    assert [type(stage).__name__ for stage in stages] == ["Input", *["Stage"] * 5]
    assert [stage.ending.pool for stage in stages[1:]] == [(2, 2), (2, 2), (1, 1), (1, 1), (1, 1)]
    assert [stage.ending.activation is not None for stage in stages[1:]] == [True] * 4 + [False]
