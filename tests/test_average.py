"""The moving average of weights, on both engines, against the formula."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Network
from neocog.average import share
from neocog.initialise import initialise
from neocog.native.trainer import NativeTrainer
from neocog.torch_engine.trainer import TorchTrainer

NET = Network.parse("INPUT[6x6x1] -> CONV3-3 -> BN -> TANH -> POOL2 -> FC4")
RNG = np.random.default_rng(6)
X = RNG.standard_normal((20, 1, 6, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 20)
ENGINES = pytest.mark.parametrize("engine", [NativeTrainer, TorchTrainer])


def made(engine, **settings):
    return engine(NET, initialise(NET, 1), loss="cross-entropy", device="cpu", **settings)


def test_early_weights_are_soon_forgotten():
    assert share(0.999, 0) == pytest.approx(0.9)
    assert share(0.999, 90) == pytest.approx(0.09)
    assert share(0.999, 10**6) == pytest.approx(0.001)


@ENGINES
def test_the_average_of_all_weights_and_running_statistics_follows_the_formula(engine):
    averaging, plain = made(engine, ema=0.7), made(engine)
    expected = {name: w.astype(np.float64) for name, w in plain.weights().items()}
    for t in range(8):
        for trainer in (averaging, plain):
            trainer.step(X, LABELS, lr=0.1)
        d = min(0.7, (1 + t) / (10 + t))
        for name, w in plain.weights().items():
            expected[name] = d * expected[name] + (1 - d) * w
    found = averaging.weights()
    for name, a in expected.items():
        np.testing.assert_allclose(found[name], a, rtol=1e-5, atol=1e-6, err_msg=name)
    assert any(not np.allclose(found[name], w, atol=1e-4) for name, w in plain.weights().items())


@ENGINES
def test_scores_are_those_of_the_averaged_weights(engine):
    averaging = made(engine, ema=0.7)
    for _ in range(5):
        averaging.step(X, LABELS, lr=0.1)
    served = engine(NET, averaging.weights(), loss="cross-entropy", device="cpu")
    np.testing.assert_allclose(averaging.scores(X), served.scores(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(averaging.scores(X[:1]), served.scores(X[:1]), rtol=1e-5, atol=1e-6)


@ENGINES
def test_a_loss_that_is_not_finite_leaves_the_average_as_it_is(engine):
    averaging = made(engine, ema=0.7)
    averaging.step(X, LABELS, lr=0.1)
    before = averaging.weights()
    averaging.step(np.full_like(X, np.nan), LABELS, lr=0.1)
    for name, a in averaging.weights().items():
        np.testing.assert_array_equal(a, before[name], err_msg=name)
