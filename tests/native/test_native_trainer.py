from __future__ import annotations

import numpy as np
import pytest

from neocog import Network, RunError
from neocog.initialise import initialise
from neocog.losses import LOSSES
from neocog.native.optimizers import OPTIMIZERS
from neocog.native.program import Call
from neocog.native.trainer import NativeTrainer, not_covered
from neocog.torch_engine.optimizers import OPTIMIZERS as TORCH_OPTIMIZERS
from neocog.torch_engine.trainer import TorchTrainer

NET = Network.parse("INPUT[6x6x1] -> CONV3-3 -> TANH -> POOL2 -> FC4")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((21, 1, 6, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 21)


def both(loss="cross-entropy", **settings):
    network = Network.parse(f"{NET} -> SIGMOID") if loss == "nll" else NET
    weights = initialise(network, 1)
    return [made(network, weights, loss=loss, device="cpu", **settings) for made in (NativeTrainer, TorchTrainer)]


def assert_same_steps(native, torch, atol):
    """Losses, hits, weights and scores over steps of mini-batches that grow smaller."""
    for k in range(4):
        x, labels = X[: 21 - k], LABELS[: 21 - k]
        (value, right), (expected, as_many) = (made.step(x, labels, lr=0.02) for made in (native, torch))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        assert right == as_many
    for name, array in torch.weights().items():
        np.testing.assert_allclose(native.weights()[name], array, rtol=1e-4, atol=atol, err_msg=name)
    np.testing.assert_allclose(native.scores(X), torch.scores(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [("cross-entropy", optimizer) for optimizer in OPTIMIZERS] + [(loss, "nesterov") for loss in LOSSES],
)
def test_steps_are_those_of_torch(loss, optimizer):
    assert_same_steps(*both(loss=loss, optimizer=optimizer, momentum=0.8, weight_decay=0.05), atol=1e-6)


SIDES = Network.parse("INPUT[6x6x1] -> CONV3-3 -> TANH -> AUX(0.4)[ POOL2 -> FC4 ] -> BN -> AUX(2)[FC4] -> FC4")


@pytest.mark.parametrize("loss", ["cross-entropy", "sigmoid", "squared", "hinge"])
def test_steps_with_side_outputs_are_those_of_torch(loss):
    weights = initialise(SIDES, 1)
    native, torch = (
        made(SIDES, weights, loss=loss, device="cpu", weight_decay=0.05) for made in (NativeTrainer, TorchTrainer)
    )
    assert_same_steps(native, torch, atol=2e-6)


def test_prediction_leaves_side_branches_out():
    program = NativeTrainer(SIDES, initialise(SIDES, 1), loss="hinge")._network.program
    calls = [call for call in program.forward if isinstance(call, Call)]
    ran = [call.function.name.partition("_")[0] for call in calls if not call.training]
    left_out = [call.function.name.partition("_")[0] for call in calls if call.training]
    assert [name for name in ran if name != "margins"] == ["load", "sums", "blend", "sums", "scores"]
    assert left_out == ["pool", "sums", "moments", "sums"]


def test_a_loss_that_is_not_finite_changes_nothing():
    native, _ = both()
    start = native.weights()
    loss, right = native.step(np.full_like(X, np.nan), LABELS, lr=0.1)
    assert np.isnan(loss)
    assert right == 0
    for name, array in native.weights().items():
        np.testing.assert_array_equal(array, start[name])
    assert np.isfinite(native.step(X, LABELS, lr=0.1)[0])  # and the velocity is clean


def test_the_layer_where_numbers_overflow_is_named():
    weights = initialise(NET, 1)
    weights["fc1.weight"] = np.sign(weights["fc1.weight"]) * np.float32(3e38)  # any two of a sign are too much
    broken = NativeTrainer(NET, weights, loss="cross-entropy")
    assert broken.first_non_finite(X * 100) == "fc1"
    assert both()[0].first_non_finite(X) is None


def test_losses_and_optimizers_without_kernels_are_named():
    assert not_covered(NET, "huber", "sgd") == "no kernel for the loss huber"
    assert not_covered(NET, "cross-entropy", "lion") == "no kernel for the optimizer lion"


def test_there_is_a_kernel_for_every_loss_and_optimizer_of_training():
    assert {not_covered(NET, loss, optimizer) for loss in LOSSES for optimizer in OPTIMIZERS} == {""}


def test_muon_alone_is_left_to_torch():
    assert set(TORCH_OPTIMIZERS) - set(OPTIMIZERS) == {"muon"}
    assert not_covered(NET, "cross-entropy", "muon") == "no kernel for the optimizer muon"


def test_volumes_that_do_not_fit_are_refused_with_what_is_free(monkeypatch):
    network = Network.parse("INPUT[64x64x3] -> CONV3-16 -> BN -> RELU -> GAP -> FC3")
    trainer = NativeTrainer(network, initialise(network), loss="cross-entropy", threads=1)
    monkeypatch.setattr("neocog.native.engine.available_memory", lambda: 2**20)
    x, labels = np.zeros((64, 3, 64, 64), np.float32), np.zeros(64, np.int64)
    with pytest.raises(RunError) as caught:
        trainer.step(x, labels, 0.1)
    assert "0.0 are free" in caught.value.text()
    assert "engine=torch" in caught.value.text()
