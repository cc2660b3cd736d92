from __future__ import annotations

import numpy as np
import pytest
import torch

from neocog import NeocogError, Network, zoo
from neocog.initialise import initialise
from neocog.losses import LOSSES
from neocog.reference import backward, forward
from neocog.torch_engine import trainer as engine
from neocog.torch_engine.device import pick_device, pick_threads
from neocog.torch_engine.optimizers import make_optimizer
from neocog.torch_engine.trainer import TorchTrainer

NET = Network.parse("INPUT[6x6x1] -> CONV3-3 -> TANH -> POOL2 -> FC4")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((8, 1, 6, 6)).astype(np.float32)
LABELS = RNG.integers(0, 4, 8)


def trainer(network=NET, **settings):
    return TorchTrainer(network, initialise(network, 1), **{"loss": "cross-entropy", "device": "cpu", **settings})


def gradients(weights, x=X, labels=LABELS):
    """By the reference, in float64."""
    trace = forward(NET, weights, x)
    return backward(trace, LOSSES["cross-entropy"].gradient(trace.output, labels))[1]


def close(got, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


def test_a_step_of_sgd_goes_down_the_mean_gradient():  # fact A5
    made = trainer(optimizer="sgd")
    start = made.weights()
    loss, right = made.step(X, LABELS, lr=0.1)
    scores = forward(NET, start, X).output
    np.testing.assert_allclose(loss, LOSSES["cross-entropy"].value(scores, LABELS), rtol=1e-5)
    assert right == (scores.argmax(axis=1) == LABELS).sum()
    close(made.weights(), {name: start[name] - 0.1 * grad for name, grad in gradients(start).items()})


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov"])
def test_momentum_remembers_earlier_gradients(optimizer):
    made = trainer(optimizer=optimizer, momentum=0.8)
    weights = made.weights()
    velocity = {name: np.zeros_like(w) for name, w in weights.items()}
    for _ in range(3):
        made.step(X, LABELS, lr=0.1)
        for name, grad in gradients(weights).items():
            velocity[name] = 0.8 * velocity[name] + grad
            ahead = grad + 0.8 * velocity[name] if optimizer == "nesterov" else velocity[name]
            weights[name] = weights[name] - 0.1 * ahead
    close(made.weights(), weights)


def test_the_first_step_of_adamw_is_the_learning_rate_in_the_direction_of_the_gradient():
    made = trainer(optimizer="adamw", weight_decay=0.5)
    start = made.weights()
    made.step(X, LABELS, lr=0.01)
    for name, grad in gradients(start).items():
        kept = 1 - 0.01 * 0.5 if name.endswith("weight") else 1.0
        expected = kept * start[name] - 0.01 * grad / (np.abs(grad) + 1e-8)
        np.testing.assert_allclose(made.weights()[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_weights_decay_and_biases_do_not():
    made, start = trainer(optimizer="sgd", weight_decay=0.3), trainer().weights()
    made.step(X, LABELS, lr=0.1)
    decay = {name: 0.3 * w if name.endswith("weight") else 0.0 for name, w in start.items()}
    close(made.weights(), {name: start[name] - 0.1 * (grad + decay[name]) for name, grad in gradients(start).items()})


WITH_SIDES = Network.parse(
    "INPUT[6x6x1] -> CONV3-3 -> TANH -> AUX(0.4)[ POOL2 -> FC4 ] -> CONV3-2 -> AUX(2)[FC4] -> FC4"
)


def test_side_outputs_are_learned_from_by_their_weights():
    made = trainer(WITH_SIDES, optimizer="sgd")
    start = made.weights()
    trace = forward(WITH_SIDES, start, X)
    loss = LOSSES["cross-entropy"]
    expected = loss.value(trace.output, LABELS)
    dsides = {}
    for (name, weight), y in zip(WITH_SIDES.side_outputs.items(), trace.side_outputs.values(), strict=True):
        expected += weight * loss.value(y, LABELS)
        dsides[name] = weight * loss.gradient(y, LABELS)
    _, grads = backward(trace, loss.gradient(trace.output, LABELS), dsides)
    value, right = made.step(X, LABELS, lr=0.1)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert right == (trace.output.argmax(axis=1) == LABELS).sum()  # by the network's own scores
    close(made.weights(), {name: start[name] - 0.1 * grad for name, grad in grads.items()})
    assert all(np.abs(grads[name]).max() > 0 for name in ("fc1.weight", "fc2.weight", "fc3.weight"))


def test_side_branches_do_not_run_at_prediction():
    made = trainer(WITH_SIDES)
    ran = []
    for name, layer in made.predicting.named_children():
        layer.register_forward_hook(lambda *_, name=name: ran.append(name))
    scores = made.scores(X)
    assert ran == ["input", "conv1", "tanh1", "conv2", "fc3"]
    np.testing.assert_allclose(scores, forward(WITH_SIDES, made.weights(), X).output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before", ["", "POOL2 -> ", "FILTER(mean) -> "])
def test_groups_of_the_images_themselves_are_normalized(before):  # torch's own module ends the process here
    network = Network.parse(f"INPUT[6x6x4] -> {before}GROUPNORM(G=2) -> FC4")
    x = RNG.standard_normal((8, 4, 6, 6)).astype(np.float32)
    made = trainer(network, optimizer="sgd")
    start = made.weights()
    made.step(x, LABELS, lr=0.1)
    trace = forward(network, start, x)
    _, grads = backward(trace, LOSSES["cross-entropy"].gradient(trace.output, LABELS))
    close(made.weights(), {name: start[name] - 0.1 * grad for name, grad in grads.items()})


def test_norms_and_fixed_arrays_do_not_decay_either():
    network = Network.parse("INPUT[6x6x1] -> CONV3-3 -> BN -> PRELU -> FC84 -> RBF10")
    module = network.build()
    decaying, rest = make_optimizer(module, "sgd", 0.9, 0.1).param_groups
    named = {id(p): name for name, p in module.named_parameters()}
    assert {named[id(p)] for p in decaying["params"]} == {"conv1.weight", "fc1.weight"}
    assert rest["weight_decay"] == 0
    assert {named[id(p)] for p in rest["params"]} >= {"conv1.bias", "bn1.weight", "bn1.bias", "fc1.bias"}


def test_a_loss_that_is_not_finite_changes_nothing():
    made = trainer()
    start = made.weights()
    loss, _ = made.step(np.full_like(X, np.nan), LABELS, lr=0.1)
    assert np.isnan(loss)
    for name, array in made.weights().items():
        np.testing.assert_array_equal(array, start[name])


def test_the_layer_where_numbers_overflow_is_named():
    weights = initialise(NET, 1)
    weights["fc1.weight"] = np.sign(weights["fc1.weight"]) * np.float32(3e38)  # any two of a sign are too much
    broken = TorchTrainer(NET, weights, loss="cross-entropy", device="cpu")
    assert broken.first_non_finite(X * 100) == "fc1"
    assert trainer().first_non_finite(X) is None


def test_a_step_leaves_the_callers_random_numbers_alone():
    made = trainer(Network.parse("INPUT[6x6x1] -> DROPOUT(0.5) -> FC4"))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    made.step(X, LABELS, lr=0.1)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)


def test_chance_inside_the_network_comes_from_seed_and_step():
    network = Network.parse("INPUT[6x6x1] -> DROPOUT(0.5) -> FC4")

    def losses(seed: int) -> list[float]:
        made = trainer(network, seed=seed)
        return [made.step(X, LABELS, lr=1e-12)[0] for _ in range(3)]

    assert losses(1) == losses(1)
    assert len({*losses(1), *losses(2)}) == 6


def test_scores_are_those_of_prediction():
    made = trainer(Network.parse("INPUT[6x6x1] -> DROPOUT(0.5) -> BN -> FC4"))
    made.step(X, LABELS, lr=0.1)
    np.testing.assert_allclose(made.scores(X)[:3], made.scores(X[:3]), rtol=1e-5, atol=1e-6)
    expected = forward(made.module.network, made.weights(), X).output
    np.testing.assert_allclose(made.scores(X), expected, rtol=1e-4, atol=1e-5)


def test_an_optimizer_that_is_not_there_is_refused():
    with pytest.raises(NeocogError, match="optimizer is one of sgd, momentum, nesterov"):
        trainer(optimizer="lion")


def test_a_device_that_is_not_known_is_refused():
    with pytest.raises(NeocogError, match="this device is unknown\n  received: device=gpu\n  try: auto, cpu"):
        pick_device("gpu")


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(NeocogError, match="this device is not there\n  received: device=cuda:99; torch finds"):
        pick_device("cuda:99")


def test_small_steps_run_on_one_thread_and_large_ones_on_all(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert pick_threads(NET, batch_size=64) == 1
    assert pick_threads(zoo("resnet20"), batch_size=64) == 3


def test_the_number_of_threads_is_as_before_afterwards():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        made = trainer()
        made.step(X, LABELS, lr=0.1)
        made.scores(X)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_bfloat16_is_autocast_over_float32_parameters():
    exact, half = (trainer(optimizer="sgd", dtype=dtype) for dtype in ("float32", "bfloat16"))
    rough = half.scores(X)
    assert rough.dtype == np.float32
    assert np.array_equal(rough, torch.from_numpy(rough).bfloat16().float().numpy())  # rounded to 8 bits
    np.testing.assert_allclose(rough, exact.scores(X), rtol=0.05, atol=0.05)
    losses = [made.step(X, LABELS, lr=0.1)[0] for made in (exact, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {p.dtype for p in half.module.parameters()} == {torch.float32}
    before, after = trainer().weights(), half.weights()
    moved = {name: (after[name] - before[name], exact.weights()[name] - before[name]) for name in before}
    for name, (got, wanted) in moved.items():
        np.testing.assert_allclose(got, wanted, rtol=0.2, atol=0.1 * np.abs(wanted).max(), err_msg=name)


def test_a_dtype_that_is_not_there_is_refused():
    with pytest.raises(NeocogError, match="dtype is one of float32, bfloat16"):
        trainer(dtype="float16")


def test_gradients_are_freed_with_the_step_that_made_them():
    made = trainer()
    made.step(X, LABELS, lr=0.1)
    assert all(p.grad is None for p in made.module.parameters())


def test_what_becomes_of_freed_memory_goes_by_what_the_step_needs(monkeypatch):
    asked = []
    monkeypatch.setattr(engine, "keep_memory", asked.append)
    trainer(batch_size=8, optimizer="adamw")
    assert asked == [NET.plan(batch=8, optimizer="adamw").memory["training_bytes"]]
