"""Losses as kernels against `neocog.losses` in float64: value, hits and gradient, alone and behind whole networks."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from neocog import Network
from neocog.initialise import initialise
from neocog.losses import LOSSES, CrossEntropy
from neocog.native.endings import Plain
from neocog.native.engine import NativeNetwork, aligned
from neocog.native.jit import Compiled, Machine, machine
from neocog.native.layout import Volume
from neocog.native.losses import KERNELS, kernel
from neocog.reference import backward, forward

EXACT = 1e-5
BEFORE = 7.0
"""What the results hold when a kernel begins: it adds to them."""


def run(name, scores, labels, lanes=None, smoothing=0.0):
    """Losses, hits and gradients (N, K) of one block of images, and the gradients (lanes, K) of the lanes left over."""
    on = Machine(lanes or machine().lanes, registers=16)
    count, classes = scores.shape
    assert count <= on.lanes
    volume = Volume(classes, 1, 1, 0, row=1, plane=1)
    function = kernel(name, smoothing)("loss", on, volume, Plain(volume, on.lanes))
    held = {name: aligned(size) for name, size in (("scale", 1), ("result", 2 * on.lanes), ("d", classes * on.lanes))}
    held["y"] = aligned(classes * on.lanes)
    held["y"].reshape(classes, on.lanes)[:, :count] = scores.T
    held["labels"] = aligned(on.lanes).view(np.int32)
    held["labels"][:] = -1
    held["labels"][:count] = labels
    held["scale"][0], held["result"][:] = 1 / count, BEFORE
    Compiled([function]).call("loss", [ctypes.c_void_p(held[name].ctypes.data) for name in function.buffers])
    losses, hits = held["result"].reshape(2, on.lanes) - BEFORE
    gradients = held["d"].reshape(classes, on.lanes).T
    assert not losses[count:].any()
    assert not hits[count:].any()
    return losses[:count], hits[:count], gradients[:count], gradients[count:]


def assert_agrees(name, scores, labels, lanes=None, smoothing=0.0):
    """One block against the reference, which takes the mean over images."""
    scores, loss = scores.astype(np.float32), CrossEntropy(smoothing) if smoothing else LOSSES[name]
    losses, hits, gradients, rest = run(name, scores, labels, lanes, smoothing)
    each = [loss.value(scores[n : n + 1], labels[n : n + 1]) for n in range(len(scores))]
    np.testing.assert_allclose(losses, each, rtol=EXACT, atol=2e-6)  # what it was added to has seven digits
    np.testing.assert_allclose(losses.mean(), loss.value(scores, labels), rtol=EXACT, atol=2e-6)
    np.testing.assert_array_equal(hits, loss.posterior(scores).argmax(axis=1) == labels)
    np.testing.assert_allclose(gradients, loss.gradient(scores, labels), rtol=EXACT, atol=1e-6)
    assert not rest.any()


def drawn(name, count, classes, seed):
    """Scores that a network might give, with a right answer for each: probabilities for nll, distances for map."""
    rng = np.random.default_rng(seed)
    scores = 3 * rng.standard_normal((count, classes))
    if name == "nll":
        scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return (np.abs(scores) if name == "map" else scores), rng.integers(0, max(classes, 2), count)


def test_every_loss_has_a_kernel():
    assert list(KERNELS) == list(LOSSES)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("name", LOSSES)
def test_value_hits_and_gradient_are_the_references(name, lanes):
    for left_over, classes, seed in ((0, 10, 0), (1, 3, 1), (lanes - 1, 2, 2), (2, 33, 3)):
        assert_agrees(name, *drawn(name, lanes - left_over, classes, seed), lanes)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_scores_give_the_references_numbers_too(name):
    sizes = np.array([[1, -1, 0], [-1, 1, 0.01], [1, 1, 1], [-1, -1, -1.01]])
    for label in range(3):
        for largest in (80, 500):
            assert_agrees(name, largest * sizes, np.full(4, label))


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_labels_are_smoothed_as_in_the_reference(smoothing):
    for count, classes, seed in ((16, 10, 0), (15, 3, 1), (3, 33, 3)):
        assert_agrees("cross-entropy", *drawn("cross-entropy", count, classes, seed), 16, smoothing)
    sizes = np.array([[1, -1, 0], [-1, 1, 0.01], [1, 1, 1]])
    for largest in (1, 80, 500):
        assert_agrees("cross-entropy", largest * sizes, np.arange(3), smoothing=smoothing)
    losses, *_ = run("cross-entropy", np.array([[0.1, np.inf, 0.2], [0.1, 0.2, 0.3]]), np.zeros(2), smoothing=0.1)
    assert np.isfinite(losses).tolist() == [False, True]


@pytest.mark.parametrize("name", LOSSES)
def test_the_first_of_equal_scores_is_the_guess(name):
    scores = np.array([[0.25, 0.25, 0.25], [0.5, 0.75, 0.75], [0.75, 0.5, 0.5]])
    for label in range(3):
        assert_agrees(name, scores, np.full(3, label))


@pytest.mark.parametrize("name", ["sigmoid", "squared"])
def test_a_single_output_stands_for_the_class_number(name):
    scores = np.array([[-80], [-1.5], [0], [80]])
    for label in (0, 1):
        assert_agrees(name, scores, np.full(4, label))


@pytest.mark.parametrize("score", [12.0, 40.0, 80.0])
def test_what_is_nearly_certain_keeps_its_gradient(score):
    scores = np.array([[score], [-score]], np.float32)
    _, _, gradients, _ = run("sigmoid", scores, np.array([1, 0]))
    np.testing.assert_allclose(gradients[:, 0], [-np.exp(-score) / 2, np.exp(-score) / 2], rtol=EXACT)


def test_probabilities_that_have_rounded_to_nothing_count_as_the_smallest():
    scores = np.array([[0, 1], [1e-35, 1], [1e-29, 1], [-0.5, 1]])
    assert_agrees("nll", scores, np.zeros(4, int))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_not_finite_in_torch_is_not_finite_here(name, label, odd):
    scores = np.array([[0.1, odd, 0.2], [0.1, 0.2, 0.3]], np.float32)
    losses, *_ = run(name, scores, np.array([label, 1]))
    expected = LOSSES[name].torch_value(torch.from_numpy(scores[:1]), torch.tensor([label]))
    assert np.isfinite(float(expected)) or not np.isfinite(losses[0])
    assert np.isfinite(losses[1])


def networks_for(name):
    """Networks whose outputs are what the loss expects."""
    start = "INPUT[6x6x2] -> CONV3-5 -> TANH -> POOL2"
    ends = ["FC17 -> TANH -> FC3(BIAS=no) -> SIGMOID"] if name in ("nll", "squared") else []  # probabilities
    if name != "nll":
        ends += ["FC17 -> TANH -> FC4(BIAS=no)"]
    if name in ("sigmoid", "squared"):
        ends += ["FC1"]
    return [f"{start} -> {end}" for end in ends]


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in LOSSES for text in networks_for(name)])
def test_a_step_through_a_network_follows_the_references_gradient(name, text):
    network, rng = Network.parse(text), np.random.default_rng(4)
    weights = {k: w.astype(np.float32) for k, w in initialise(network, 3).items()}
    x = rng.standard_normal((21, 2, 6, 6)).astype(np.float32)
    labels = rng.integers(0, max(2, network.shapes[-1].channels), 21)
    compiled = NativeNetwork(network, 2, "sgd", name)
    compiled.write_weights(weights)
    value, right = compiled.train(x, labels, 1.0, 0.0, 0.0)
    trace, loss = forward(network, weights, x), LOSSES[name]
    np.testing.assert_allclose(value, loss.value(trace.output, labels), rtol=EXACT)
    assert right == (loss.posterior(trace.output).argmax(axis=1) == labels).sum()
    _, gradients = backward(trace, loss.gradient(trace.output, labels))
    after = compiled.read_weights()
    compiled.close()
    for key, gradient in gradients.items():
        off = np.linalg.norm(weights[key] - after[key] - gradient)
        assert off < EXACT * np.linalg.norm(gradient) + 1e-6, key
