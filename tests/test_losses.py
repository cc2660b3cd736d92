"""Losses: hand numbers, gradients against differences, values and gradients against torch, extreme scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from neocog import Network
from neocog.losses import LOSSES, CrossEntropy, Loss, Map, default_loss, one_hot

Y = np.random.default_rng(0).uniform(0.1, 3.0, (5, 4))  # positive, so that nll may have it too
CLASSES = np.array([0, 3, 1, 1, 2])
ALL = [*LOSSES.values(), CrossEntropy(smoothing=0.1), Map(j=20.0)]
every_loss = pytest.mark.parametrize("loss", ALL, ids=str)


def by_differences(loss: Loss, y: np.ndarray, target: np.ndarray, step: float = 1e-6) -> np.ndarray:
    gradient = np.zeros_like(y)
    for at in np.ndindex(y.shape):
        v = np.zeros_like(y)
        v[at] = step
        gradient[at] = (loss.value(y + v, target) - loss.value(y - v, target)) / (2 * step)
    return gradient


def by_torch(loss: Loss, y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    leaf = torch.tensor(y, requires_grad=True)
    value = loss.torch_value(leaf, torch.tensor(target))
    value.backward()
    return value.item(), leaf.grad.numpy()


@every_loss
def test_gradient_is_the_derivative_of_the_value(loss: Loss) -> None:  # fact A3
    assert_allclose(loss.gradient(Y, CLASSES), by_differences(loss, Y, CLASSES), rtol=1e-6, atol=1e-9)


@every_loss
def test_torch_gives_the_same_value_and_gradient(loss: Loss) -> None:  # fact A3
    value, gradient = by_torch(loss, Y, CLASSES)
    assert_allclose(loss.value(Y, CLASSES), value, rtol=1e-12)
    assert_allclose(loss.gradient(Y, CLASSES), gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["sigmoid", "squared"])
def test_targets_may_be_a_number_for_each_output(name: str) -> None:  # fact A3
    loss, target = LOSSES[name], np.random.default_rng(1).integers(0, 2, Y.shape).astype(float)
    value, gradient = by_torch(loss, Y, target)
    assert_allclose(loss.value(Y, target), value, rtol=1e-12)
    assert_allclose(loss.gradient(Y, target), gradient, rtol=1e-12)
    assert_allclose(loss.gradient(Y, target), by_differences(loss, Y, target), rtol=1e-6, atol=1e-9)
    assert loss.value(Y, CLASSES) == loss.value(Y, one_hot(CLASSES, 4))


@every_loss
def test_loss_is_the_mean_over_the_batch(loss: Loss) -> None:  # fact A5: averaged over the batch
    alone = [loss.value(Y[i : i + 1], CLASSES[i : i + 1]) for i in range(len(Y))]
    assert_allclose(loss.value(Y, CLASSES), np.mean(alone), rtol=1e-12)


def test_cross_entropy_of_equal_scores_is_log_k() -> None:
    assert_allclose(LOSSES["cross-entropy"].value(np.zeros((2, 10)), [3, 7]), math.log(10))
    assert_allclose(LOSSES["cross-entropy"].gradient([[0.0, 0.0]], [1]), [[0.5, -0.5]])


def test_smoothing_shares_a_part_of_the_target_among_all_classes() -> None:
    y = np.log([[0.7, 0.2, 0.1]])
    expected = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
    assert_allclose(CrossEntropy(smoothing=0.3).value(y, [0]), expected)


def test_sigmoid_by_hand() -> None:
    y = [[0.0, math.log(3.0)]]  # probabilities 1/2 and 3/4
    assert_allclose(LOSSES["sigmoid"].value(y, [[1.0, 0.0]]), math.log(2) + math.log(4))
    assert_allclose(LOSSES["sigmoid"].gradient(y, [[1.0, 0.0]]), [[-0.5, 0.75]])


def test_one_output_says_class_one_or_not() -> None:  # binary cross-entropy
    loss = LOSSES["sigmoid"]
    y = np.array([[0.0], [math.log(3.0)]])
    assert_allclose(loss.posterior(y), [[0.5, 0.5], [0.25, 0.75]])
    assert_allclose(loss.value(y, [1, 0]), (math.log(2) + math.log(4)) / 2)
    assert_allclose(by_torch(loss, y, np.array([1, 0]))[0], loss.value(y, [1, 0]))


def test_squared_by_hand() -> None:  # fact A3: 1/2 |x - y|^2
    assert LOSSES["squared"].value([[1.0, 2.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]]) == (2.5 + 8.0) / 2
    assert_allclose(LOSSES["squared"].gradient([[1.0, 2.0]], [[0.0, 4.0]]), [[1.0, -2.0]])


def test_hinge_by_hand() -> None:  # the example of the CS231n notes: scores 3.2, 5.1, -1.7, the first is right
    assert_allclose(LOSSES["hinge"].value([[3.2, 5.1, -1.7]], [0]), 2.9)
    assert_allclose(LOSSES["hinge"].gradient([[3.2, 5.1, -1.7]], [0]), [[-1.0, 1.0, 0.0]])


def test_map_is_lenets_criterion() -> None:  # LeCun et al., 1998, equation 9
    y, j = np.array([[0.5, 2.0, 3.0]]), 1.0
    expected = 0.5 + math.log(math.exp(-j) + math.exp(-0.5) + math.exp(-2.0) + math.exp(-3.0))
    assert_allclose(Map(j=j).value(y, [0]), expected)


def test_map_stops_pushing_penalties_that_are_larger_than_j() -> None:
    near, far = Map(j=5.0).gradient([[0.0, 2.0, 30.0]], [0])[0, 1:]
    assert near < -0.05
    assert abs(far) < 1e-10


@every_loss
def test_posterior_is_a_distribution_whose_largest_is_the_predicted_class(loss: Loss) -> None:  # fact A6
    y = Y / Y.sum(axis=1, keepdims=True) if loss.name == "nll" else Y
    best = y.argmin(axis=1) if loss.name == "map" else y.argmax(axis=1)
    assert_allclose(loss.posterior(y).sum(axis=1), 1.0)
    assert loss.posterior(y).min() >= 0
    assert_allclose(loss.posterior(y).argmax(axis=1), best)


def test_posterior_of_a_classifier_is_softmax() -> None:  # fact A6
    expected = torch.softmax(torch.tensor(Y), 1).numpy()
    assert_allclose(LOSSES["cross-entropy"].posterior(Y), expected)
    assert_allclose(LOSSES["map"].posterior(-Y), expected)


@every_loss
@pytest.mark.parametrize("size", [1e4, 1e300])
def test_no_score_overflows(loss: Loss, size: float) -> None:
    y = np.array([[size, 0.0, -size], [-size, size, 0.0]]) if loss.name != "squared" else np.full((2, 3), 1e4)
    target = np.array([0, 1])
    assert np.isfinite(loss.value(y, target))
    assert np.isfinite(loss.gradient(y, target)).all()
    assert np.isfinite(loss.posterior(y)).all()


def test_a_probability_of_zero_costs_much_but_not_everything() -> None:
    loss, y = LOSSES["nll"], np.array([[0.0, 1.0]])
    value, gradient = by_torch(loss, y, np.array([0]))
    assert_allclose(loss.value(y, [0]), 30 * math.log(10))
    assert_allclose(value, loss.value(y, [0]))
    assert_allclose(gradient, loss.gradient(y, [0]))
    assert np.isfinite(by_torch(loss, y.astype(np.float32), np.array([0]))[0])


@pytest.mark.parametrize(
    ("last", "name"), [("FC10", "cross-entropy"), ("FC10 -> SOFTMAX", "nll"), ("FC84 -> RBF10", "map")]
)
def test_default_loss_follows_from_the_last_layer(last: str, name: str) -> None:
    assert default_loss(Network.parse(f"INPUT[4x4x1] -> {last}")).name == name


def test_losses_are_found_by_their_names() -> None:
    assert list(LOSSES) == ["cross-entropy", "sigmoid", "squared", "hinge", "map", "nll"]
    assert all(loss.name == name for name, loss in LOSSES.items())
