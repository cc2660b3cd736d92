"""Optimizers as kernels against torch's, alone and in whole networks."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from neocog import Network
from neocog.initialise import initialise
from neocog.native.engine import NativeNetwork, aligned
from neocog.native.jit import Compiled, Machine
from neocog.native.optimizers import OPTIMIZERS
from neocog.native.trainer import NativeTrainer
from neocog.torch_engine.optimizers import make_optimizer
from neocog.torch_engine.trainer import TorchTrainer

LANES, VECTORS = 8, 5
NET = Network.parse("INPUT[6x6x2] -> CONV3-5 -> TANH -> POOL2 -> CONV3-9 -> TANH -> FC4")
EXACT = 1e-5


def batch(count, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 2, 6, 6)).astype(np.float32), rng.integers(0, 4, count)


class Alone:
    """One optimizer's kernel with memory of its own."""

    def __init__(self, name, w, groups):
        self.optimizer = OPTIMIZERS[name]
        self.function = self.optimizer.kernel("update", Machine(LANES, 16), VECTORS, groups == 1, 1.0)
        self.code, self.groups = Compiled([self.function]), groups
        self.held = {b: aligned(len(w)) for b in ("w", "v", "s")} | {b: aligned(4) for b in ("settings", "loss")}
        self.held["w"][:] = w

    def step(self, step, gradients, *rates, loss=1.0, first=0, last=VECTORS):
        self.held["dw"] = aligned(gradients.size)
        self.held["dw"][:] = gradients.reshape(-1)
        self.held["settings"][:3], self.held["loss"][0] = self.optimizer.rates(step, *rates), loss
        buffers = [ctypes.c_void_p(self.held[b].ctypes.data) for b in self.function.buffers]
        self.code.call("update", [*buffers, *map(ctypes.c_int64, (first, last, self.groups))])


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_updates_of_the_same_gradients_are_torchs(name, groups):
    rng = np.random.default_rng(6)
    w = rng.standard_normal((VECTORS, LANES)).astype(np.float32)
    module = torch.nn.Linear(LANES, VECTORS, bias=False)
    module.weight.data[:] = torch.from_numpy(w)
    expected = make_optimizer(module, name, 0.8, 0.05)
    alone = Alone(name, w.reshape(-1), groups)
    for step in range(1, 11):
        parts = 10.0 ** rng.uniform(-4, 2) * rng.standard_normal((groups, VECTORS, LANES)).astype(np.float32)
        lr = 0.1 / step
        alone.step(step, parts, lr, 0.8, 0.05)
        module.weight.grad = torch.from_numpy(parts.astype(np.float64).sum(0).astype(np.float32))
        expected.param_groups[0]["lr"] = lr
        expected.step()
        np.testing.assert_allclose(
            alone.held["w"].reshape(VECTORS, LANES), module.weight.detach(), rtol=EXACT, atol=1e-6
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_the_share_of_a_thread_is_changed_and_nothing_at_a_loss_that_is_not_finite(name):
    alone = Alone(name, np.ones(VECTORS * LANES), 1)
    ones = np.ones(VECTORS * LANES, np.float32)
    alone.step(1, ones, 0.1, 0.9, 0.1, loss=np.nan)
    alone.step(1, ones, 0.1, 0.9, 0.1, loss=np.inf)
    np.testing.assert_array_equal(alone.held["w"], ones)
    assert not alone.held["v"].any()
    assert not alone.held["s"].any()
    alone.step(1, ones, 0.1, 0.9, 0.1, first=1, last=3)
    changed = alone.held["w"].reshape(VECTORS, LANES) != 1
    np.testing.assert_array_equal(changed, np.isin(np.arange(VECTORS), [1, 2])[:, None] & np.ones(LANES, bool))


@pytest.mark.parametrize("loss", ["cross-entropy", "squared"])
def test_ten_steps_of_adamw_are_those_of_torch(loss):
    weights = initialise(NET, 1)
    native, expected = (
        made(NET, weights, loss=loss, optimizer="adamw", weight_decay=0.1, device="cpu")
        for made in (NativeTrainer, TorchTrainer)
    )
    for step in range(10):
        x, labels = batch(21 - step, step)
        (value, right), (wanted, as_many) = (made.step(x, labels, lr=0.01 / (1 + step)) for made in (native, expected))
        np.testing.assert_allclose(value, wanted, rtol=EXACT)
        assert right == as_many
    for name, array in expected.weights().items():
        np.testing.assert_allclose(native.weights()[name], array, rtol=EXACT, atol=EXACT, err_msg=name)


def test_only_weights_decay():
    weights = {name: np.ones_like(w) for name, w in initialise(NET, 1).items()}
    kept, decayed = ({}, {})
    for found, decay in ((kept, 0.0), (decayed, 0.5)):
        native = NativeTrainer(NET, weights, loss="cross-entropy", optimizer="adamw", weight_decay=decay)
        native.step(*batch(9, 0), lr=0.1)
        found.update(native.weights())
    for name in weights:
        expected = kept[name] - (0.05 if name.endswith("weight") else 0.0)
        np.testing.assert_allclose(decayed[name], expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_factors_are_on_learning_rates_as_in_torch_and_0_freezes(optimizer):
    names = list(initialise(NET, 1))
    factors = {names[0]: 0.0, names[1]: 2.0, names[2]: 0.5}
    settings = {"loss": "cross-entropy", "optimizer": optimizer, "weight_decay": 0.1, "factors": factors}
    native, expected = (
        make(NET, initialise(NET, 1), device="cpu", **settings) for make in (NativeTrainer, TorchTrainer)
    )
    for step in range(4):
        for made in (native, expected):
            made.step(*batch(21 - step, step), lr=0.01)
    np.testing.assert_array_equal(native.weights()[names[0]], initialise(NET, 1)[names[0]])
    for name, array in expected.weights().items():
        np.testing.assert_allclose(native.weights()[name], array, rtol=EXACT, atol=EXACT, err_msg=name)


def test_a_step_that_changes_nothing_does_not_count_for_the_bias_correction():
    found = []
    for odd in (False, True):
        native = NativeTrainer(NET, initialise(NET, 1), loss="cross-entropy", optimizer="adamw")
        for step in range(3):
            x, labels = batch(9, step)
            if odd:
                assert np.isnan(native.step(np.full_like(x, np.nan), labels, lr=0.01)[0])
            native.step(x, labels, lr=0.01)
        found.append(native.weights())
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array)


def test_the_number_of_threads_changes_no_bit_of_adamw():
    found = []
    for threads in (1, 2, 3, 5):
        compiled = NativeNetwork(NET, threads, "adamw")
        compiled.write_weights(initialise(NET, 1))
        losses = [compiled.train(*batch(70, step), 0.01, 0.9, 0.1) for step in range(3)]
        found.append((losses, compiled.read_weights()))
        compiled.close()
    for losses, weights in found[1:]:
        assert losses == found[0][0]
        for name, array in found[0][1].items():
            np.testing.assert_array_equal(weights[name], array)
