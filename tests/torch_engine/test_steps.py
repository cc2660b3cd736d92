"""What a step may be told beside its images: shares of labels, parts of a batch, a limit, factors."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Network
from neocog.feed import Shares
from neocog.initialise import initialise
from neocog.losses import LOSSES, CrossEntropy
from neocog.reference import backward, forward
from neocog.torch_engine.trainer import TorchTrainer

NET = Network.parse("INPUT[6x6x1] -> CONV3-3 -> TANH -> POOL2 -> FC4")
NORMED = Network.parse("INPUT[6x6x1] -> CONV3-3 -> BN -> TANH -> POOL2 -> FC4")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((8, 1, 6, 6)).astype(np.float32)
LABELS, OTHERS = RNG.integers(0, 4, (2, 8))


def trainer(network=NET, **settings):
    given = {"loss": "cross-entropy", "device": "cpu", "optimizer": "sgd", "momentum": 0.0, **settings}
    return TorchTrainer(network, initialise(network, 1), **given)


def taken_down(made, **how):
    """How far a step of learning rate 1 moves each array."""
    before = made.weights()
    value, right = made.step(X, LABELS, 1.0, **how)
    return {name: before[name] - array for name, array in made.weights().items()}, value, right


def gradients(loss=LOSSES["cross-entropy"], labels=LABELS, rows=slice(None)):
    """Of the sum over images, in float64."""
    trace = forward(NET, initialise(NET, 1), X[rows])
    return backward(trace, loss.gradient(trace.output, labels[rows]) * len(X[rows]))[1]


def close(got, expected, rtol=2e-5):
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=rtol, atol=3e-6, err_msg=name)


def test_labels_count_by_their_shares():
    own, theirs = RNG.random((2, 8)).astype(np.float32)
    found, value, _ = taken_down(trainer(), shares=Shares(own, OTHERS, theirs))
    expected = {name: np.zeros_like(array) for name, array in found.items()}
    total, scores = 0.0, forward(NET, initialise(NET, 1), X).output
    for labels, weights in ((LABELS, own), (OTHERS, theirs)):
        for n in range(8):
            one = slice(n, n + 1)
            total += weights[n] * LOSSES["cross-entropy"].value(scores[one], labels[one])
            for name, gradient in gradients(labels=labels, rows=one).items():
                expected[name] = expected[name] + weights[n] * gradient / 8
    close(found, expected)
    np.testing.assert_allclose(value, total / 8, rtol=1e-5)


def test_smoothed_labels_are_learned_from():
    found, value, _ = taken_down(trainer(label_smoothing=0.2))
    close(found, {name: gradient / 8 for name, gradient in gradients(CrossEntropy(0.2)).items()})
    scores = forward(NET, initialise(NET, 1), X).output
    np.testing.assert_allclose(value, CrossEntropy(0.2).value(scores, LABELS), rtol=1e-5)


@pytest.mark.parametrize("parts", [2, 3, 8, 20])
def test_parts_of_a_batch_add_up_to_the_whole(parts):
    whole, in_parts = (taken_down(trainer(accumulate=n)) for n in (1, parts))
    close(in_parts[0], whole[0])
    np.testing.assert_allclose(in_parts[1], whole[1], rtol=1e-6)
    assert in_parts[2] == whole[2]


def test_parts_of_a_batch_are_normalised_apart():
    """With BN the parts do not add up to the whole: each has its own mean, and running statistics take in both."""
    first, second = X[:4], X[4:]
    made = trainer(NORMED, accumulate=2)
    made.step(X, LABELS, 0.0)
    expected = trainer(NORMED)
    for part in (first, second):
        expected.step(part, LABELS[:4], 0.0)
    for name in ("bn1.running_mean", "bn1.running_var"):
        np.testing.assert_allclose(made.weights()[name], expected.weights()[name], rtol=1e-6)


def test_a_gradient_is_shortened_to_the_norm_and_shorter_ones_are_left():
    free, _, _ = taken_down(trainer())
    norm = np.sqrt(sum((array.astype(float) ** 2).sum() for array in free.values()))
    clipped, _, _ = taken_down(trainer(clip=norm / 4))
    close(clipped, {name: array / 4 for name, array in free.items()}, rtol=1e-3)
    close(taken_down(trainer(clip=2 * norm))[0], free)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_factors_are_on_learning_rates_and_0_freezes(optimizer):
    settings = {"optimizer": optimizer, "momentum": 0.9, "weight_decay": 0.1}
    plain, _, _ = taken_down(trainer(**settings))
    factors = {"conv1.weight": 0.0, "conv1.bias": 3.0, "fc1.weight": 0.5}
    found, _, _ = taken_down(trainer(**settings, factors=factors))
    assert not found["conv1.weight"].any()
    close(found, {name: factors.get(name, 1.0) * array for name, array in plain.items()}, rtol=1e-3)


def test_a_frozen_normalization_is_that_of_prediction():
    frozen = {f"bn1.{kind}": 0.0 for kind in ("weight", "bias", "running_mean", "running_var")}
    made = trainer(NORMED, factors=frozen)
    at_prediction = made.scores(X)
    value, _ = made.step(X, LABELS, 0.1)
    np.testing.assert_allclose(value, LOSSES["cross-entropy"].value(at_prediction, LABELS), rtol=1e-5)
    made.scores(X)
    made.step(X, LABELS, 0.1)  # still frozen when training goes on
    start = initialise(NORMED, 1)
    for name in frozen:
        np.testing.assert_array_equal(made.weights()[name], start[name])
    assert (made.weights()["conv1.weight"] != start["conv1.weight"]).any()


def test_a_loss_that_is_not_finite_in_one_part_changes_nothing():
    made = trainer(accumulate=2)
    before, bad = made.weights(), X.copy()
    bad[7] = np.inf
    value, right = made.step(bad, LABELS, 0.1)
    assert not np.isfinite(value)
    assert right == 0
    close(made.weights(), before, rtol=0)
    again = trainer()
    again.steps = 1
    assert made.step(X, LABELS, 0.1) == pytest.approx(again.step(X, LABELS, 0.1))
    close(made.weights(), again.weights())


def test_muon_has_factors_on_every_kind_of_its_parameters():
    settings = {"optimizer": "muon", "momentum": 0.9}
    plain, _, _ = taken_down(trainer(**settings))
    found, _, _ = taken_down(trainer(**settings, factors={"fc1.weight": 0.5, "conv1.bias": 0.0}))
    close(found, {**plain, "fc1.weight": plain["fc1.weight"] / 2, "conv1.bias": 0 * plain["conv1.bias"]}, rtol=1e-4)
    slow = trainer(**settings, factors={"conv1.weight": 0.01})
    start = slow.weights()["conv1.weight"]
    slow.step(X, LABELS, 1.0)
    expected = trainer(**settings)
    expected.step(X, LABELS, 0.01)
    np.testing.assert_allclose(slow.weights()["conv1.weight"], expected.weights()["conv1.weight"], rtol=1e-5)
    assert (slow.weights()["conv1.weight"] != start).any()
