from __future__ import annotations

import numpy as np
import pytest
import torch

from neocog import Network
from neocog.initialise import initialise
from neocog.torch_engine import muon
from neocog.torch_engine.muon import COEFFICIENTS, OTHERS, orthogonal
from neocog.torch_engine.trainer import TorchTrainer

NET = Network.parse("INPUT[6x6x1] -> CONV3-3 -> TANH -> CONV3-8 -> TANH -> POOL2 -> FC4")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((8, 1, 6, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 8)


def trainer(**settings):
    weights = initialise(NET, 1)
    return TorchTrainer(NET, weights, loss="cross-entropy", device="cpu", optimizer="muon", **settings)


@pytest.mark.parametrize("shape", [(3, 5, 40), (2, 40, 5), (1, 8, 8)])
def test_orthogonal_keeps_singular_vectors_and_brings_values_near_one(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for matrix, made in zip(x.double(), orthogonal(x).double(), strict=True):
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        core = left.T @ made @ right.T
        values = core.diagonal()
        assert values.min() > 0.6
        assert values.max() < 1.3
        assert (core - torch.diag(values)).abs().max() < 0.05  # nothing but bfloat16 off the diagonal


def test_a_turn_is_the_polynomial_of_the_singular_values(monkeypatch):
    monkeypatch.setattr(muon, "TURNS", 1)  # five of them magnify how bfloat16 rounds
    a, b, c = COEFFICIENTS
    values = np.linspace(0.05, 1, 8)
    x = torch.diag(torch.tensor(values, dtype=torch.float32))[None]
    values /= np.linalg.norm(values)
    np.testing.assert_allclose(orthogonal(x)[0].diagonal(), a * values + b * values**3 + c * values**5, atol=0.01)


def test_hidden_weights_keep_their_norm_and_turn_by_the_learning_rate():
    made = trainer()
    start = made.weights()
    made.step(X, LABELS, lr=0.1)
    for name in ("conv1.weight", "conv2.weight"):
        before, after = start[name].ravel(), made.weights()[name].ravel()
        size = np.linalg.norm(before)
        np.testing.assert_allclose(np.linalg.norm(after), size, rtol=1e-5)
        angle = np.arccos(before @ after / size**2)
        assert 0.05 < angle < 0.15, name  # an orthogonal step need not be at right angles to the weight


def test_the_last_layer_and_biases_go_by_adamw():
    made = trainer(weight_decay=0.5)
    start, lr = made.weights(), 0.1
    made.step(X, LABELS, lr=lr)
    for name in ("fc1.weight", "fc1.bias", "conv1.bias"):
        decayed = start[name] * (1 - lr * OTHERS * 0.5 if name == "fc1.weight" else 1)
        moved = np.abs(made.weights()[name] - decayed)
        np.testing.assert_allclose(moved, lr * OTHERS, rtol=1e-3, err_msg=name)  # the first step has the rate's size


def test_momentum_looks_ahead():
    """Two steps by the formula, with the trainer's own gradients."""
    made = trainer(momentum=0.6)
    name, m = "conv2.weight", 0.0
    for _ in range(2):
        before = made.weights()[name]
        parameter = made.module.get_parameter(name)
        caught = []
        handle = parameter.register_post_accumulate_grad_hook(lambda p, caught=caught: caught.append(p.grad.clone()))
        made.step(X, LABELS, lr=0.1)
        handle.remove()
        m = 0.6 * m + caught[0]
        step = orthogonal((caught[0] + 0.6 * m).flatten(1)[None])[0].view_as(m).numpy()
        size = np.linalg.norm(before)
        ahead = before - 0.1 * size * step / np.linalg.norm(step)
        np.testing.assert_allclose(made.weights()[name], ahead * size / np.linalg.norm(ahead), rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_finite_changes_nothing():
    made = trainer()
    made.step(X, LABELS, lr=0.1)
    before = made.weights()
    made.step(np.full_like(X, np.nan), LABELS, lr=0.1)
    for name, w in made.weights().items():
        np.testing.assert_array_equal(w, before[name], err_msg=name)
    made.step(X, LABELS, lr=0.1)  # and the next step is a step like any other
    assert all(np.isfinite(w).all() for w in made.weights().values())
    assert (made.weights()["conv1.weight"] != before["conv1.weight"]).any()


def test_weights_without_a_gradient_stay_as_they_are():
    weights = initialise(NET, 1)
    weights["fc1.weight"][:] = 0.0  # nothing comes back through a last layer of zeros
    made = TorchTrainer(NET, weights, loss="cross-entropy", device="cpu", optimizer="muon")
    made.step(X, LABELS, lr=0.1)
    for name in ("conv1.weight", "conv2.weight"):
        np.testing.assert_allclose(made.weights()[name], weights[name], rtol=1e-5)
    assert (made.weights()["fc1.weight"] != 0).any()


def test_it_learns():
    made = trainer()
    losses = [made.step(X, LABELS, lr=0.05)[0] for _ in range(40)]
    assert losses[-1] < 0.1 * losses[0]
