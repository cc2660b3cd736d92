"""Dropout as machine code: the reference's masks, whatever the number of threads and wherever training begins."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Network
from neocog.chance import Draws
from neocog.initialise import initialise
from neocog.losses import LOSSES
from neocog.native.trainer import NativeTrainer
from neocog.reference import backward, forward

NET = Network.parse("INPUT[6x6x2] -> DROPOUT(0.2) -> CONV3-8 -> TANH -> DROPOUT(0.5) -> FC4")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((70, 2, 6, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 70)


def trainer(weights=None, **settings):
    return NativeTrainer(NET, weights or initialise(NET, 1), loss="cross-entropy", optimizer="sgd", **settings)


def test_every_step_has_the_references_mask_for_its_seed_and_number():
    made, loss = trainer(seed=11), LOSSES["cross-entropy"]
    for step in range(1, 4):
        before = made.weights()
        trace = forward(NET, before, X, rng=Draws(11, step))
        value, _ = made.step(X, LABELS, lr=1.0)
        np.testing.assert_allclose(value, loss.value(trace.output, LABELS), rtol=1e-5)
        _, gradients = backward(trace, loss.gradient(trace.output, LABELS))
        for name, after in made.weights().items():
            np.testing.assert_allclose(before[name] - after, gradients[name], rtol=1e-3, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_number_of_threads_changes_no_bit(threads):
    alone, together = trainer(threads=1), trainer(threads=threads)
    for _ in range(3):
        assert alone.step(X, LABELS, lr=0.1) == together.step(X, LABELS, lr=0.1)
    for name, array in alone.weights().items():
        np.testing.assert_array_equal(together.weights()[name], array)


def test_training_that_goes_on_from_a_step_draws_what_it_would_have():
    whole = trainer(seed=4)
    for _ in range(2):
        whole.step(X, LABELS, lr=0.1)
    second = trainer(whole.weights(), seed=4)
    second.steps = 2
    assert second.step(X, LABELS, lr=0.1) == whole.step(X, LABELS, lr=0.1)
    for name, array in whole.weights().items():
        np.testing.assert_array_equal(second.weights()[name], array)


def test_another_seed_and_another_step_have_other_masks():
    losses = set()
    for seed, steps in ((0, 0), (1, 0), (0, 1)):
        made = trainer(seed=seed)
        made.steps = steps
        losses.add(made.step(X, LABELS, lr=0.1)[0])
    assert len(losses) == 3


def test_prediction_drops_nothing():
    made = trainer()
    np.testing.assert_allclose(made.scores(X), forward(NET, made.weights(), X).output, rtol=1e-4, atol=1e-5)
    made.step(X, LABELS, lr=0.1)
    np.testing.assert_allclose(made.scores(X), forward(NET, made.weights(), X).output, rtol=1e-4, atol=1e-5)
