"""Normalization by hand: the energy around a value, and the statistics of a batch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog.layer import Cost, Shape
from neocog.layers import BatchNorm, LocalResponseNorm

TRAINING = np.random.default_rng(0)


def test_response_normalization_defaults_are_those_of_alexnet():  # fact A2
    norm = LocalResponseNorm()
    assert (norm.size, norm.k, norm.alpha, norm.beta, norm.region) == (5, 2.0, 1e-4, 0.75, "across")


def test_response_normalization_across_maps():  # fact A2: n=3, k=1, alpha=1, beta=1
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    y, _ = LocalResponseNorm(size=3, k=1.0, alpha=1.0, beta=1.0).forward({}, x)
    assert_allclose(y.ravel(), [1 / 6, 2 / 15, 3 / 14], rtol=1e-15)  # 1 + 1+4, 1 + 1+4+9, 1 + 4+9


def test_alpha_multiplies_the_plain_sum_as_in_the_paper():  # fact A2: five equal maps; torch would divide by n
    x = np.full((1, 5, 1, 1), 10.0)
    y, _ = LocalResponseNorm().forward({}, x)
    assert_allclose(y[0, 2, 0, 0], 10 / (2 + 1e-4 * 5 * 100) ** 0.75, rtol=1e-15)
    assert_allclose(y[0, 0, 0, 0], 10 / (2 + 1e-4 * 3 * 100) ** 0.75, rtol=1e-15)


def test_response_normalization_within_a_map():  # fact A2: the sum runs over 3 x 3 positions, zero beyond the border
    x = np.ones((1, 2, 3, 3))
    y, _ = LocalResponseNorm(size=3, k=1.0, alpha=1.0, beta=1.0, region="within").forward({}, x)
    expected = 1 / (1 + np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]))
    assert_allclose(y, [[expected, expected]], rtol=1e-15)


def test_response_normalization_gradient_of_two_maps():  # fact A2: y_1 = x_1 / (1 + x_1^2 + x_2^2)
    norm = LocalResponseNorm(size=3, k=1.0, alpha=1.0, beta=1.0)
    _, cache = norm.forward({}, np.array([1.0, 2.0]).reshape(1, 2, 1))
    (dx,), _ = norm.backward({}, cache, np.array([1.0, 0.0]).reshape(1, 2, 1))
    assert_allclose(dx.ravel(), [1 / 6 - 2 / 36, -4 / 36], rtol=1e-14)


def test_only_normalization_within_a_map_sees_neighbouring_positions():
    x = Shape.of("6x6x4")
    assert LocalResponseNorm().window(x) is None
    assert LocalResponseNorm(region="within").window(x).kernel == (5, 5)


def test_response_normalization_within_a_map_ignores_other_maps():  # fact A2
    norm = LocalResponseNorm(size=3, alpha=0.5, region="within")
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4))
    louder = x * np.array([1.0, 100.0]).reshape(1, 2, 1, 1)
    assert_array_equal(norm.forward({}, x)[0][:, 0], norm.forward({}, louder)[0][:, 0])


X = np.array([[[1.0, 3.0]], [[5.0, 7.0]]])  # (2, 1, 2): mean 4, variance 5, unbiased 20/3
START = {"weight": np.ones(1), "bias": np.zeros(1), "running_mean": np.zeros(1), "running_var": np.ones(1)}


def test_training_normalizes_by_the_batch():  # fact A2
    params = START | {"weight": np.array([2.0]), "bias": np.array([10.0])}
    y, _ = BatchNorm(eps=1e-12).forward(params, X, rng=TRAINING)
    assert_allclose(y, 10 + 2 * (X - 4) / np.sqrt(5), rtol=1e-12)


def test_training_moves_the_running_statistics_by_a_share():  # fact A2
    norm = BatchNorm(momentum=0.25)
    _, cache = norm.forward(START, X, rng=TRAINING)
    moved = norm.updated(START, cache)
    assert_allclose(moved["running_mean"], [0.75 * 0 + 0.25 * 4])
    assert_allclose(moved["running_var"], [0.75 * 1 + 0.25 * 20 / 3])


def test_inference_uses_the_running_statistics_and_moves_nothing():  # fact A2
    params = START | {"running_mean": np.array([1.0]), "running_var": np.array([4.0])}
    y, cache = BatchNorm(eps=1e-12).forward(params, X)
    assert_allclose(y, (X - 1) / 2, rtol=1e-9)
    assert BatchNorm().updated(params, cache) == {}
    (dx,), _ = BatchNorm().backward(params, cache, np.ones_like(X))
    assert_allclose(dx, np.full(X.shape, 0.5), rtol=1e-9)


def test_images_depend_on_each_other_only_in_training():  # fact A2
    together, alone = BatchNorm().forward(START, X)[0], BatchNorm().forward(START, X[:1])[0]
    assert_array_equal(together[:1], alone)
    together, alone = (BatchNorm().forward(START, x, rng=TRAINING)[0] for x in (X, X[:1]))
    assert np.abs(together[:1] - alone).max() > 0.1


def test_in_training_no_gradient_changes_the_mean_or_the_scale():  # fact A2: dx is orthogonal to 1 and to x - m
    norm, dy = BatchNorm(eps=1e-12), np.array([[[1.0, -2.0]], [[0.5, 4.0]]])
    _, cache = norm.forward(START, X, rng=TRAINING)
    (dx,), grads = norm.backward(START, cache, dy)
    assert_allclose([dx.sum(), (dx * (X - 4)).sum()], [0, 0], atol=1e-9)
    assert np.abs(dx).max() > 0.1
    assert_allclose(grads["bias"], [3.5])
    assert_allclose(grads["weight"], [(dy * (X - 4)).sum() / np.sqrt(5)], rtol=1e-9)


@pytest.mark.parametrize(("affine", "learned"), [(True, 128), (False, 0)])
def test_two_parameters_a_channel_and_two_statistics(affine, learned):
    norm, x = BatchNorm(affine=affine), Shape.of("8x8x64")
    assert norm.cost(x) == Cost(parameters=learned, kept=8 * 8 * 64)
    statistics = {name for name, p in norm.parameters(x).items() if not p.trainable}
    assert statistics == {"running_mean", "running_var"}


def test_statistics_start_as_those_of_normalized_data():
    owned = BatchNorm().parameters(Shape.of("1x1x2"))
    assert {name: p.value for name, p in owned.items()} == {
        "weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0,
    }  # fmt: skip
    y, _ = BatchNorm(eps=1e-12).forward({n: np.full(p.shape, p.value) for n, p in owned.items()}, np.ones((1, 2, 1, 1)))
    assert_array_equal(np.round(y, 9), np.ones((1, 2, 1, 1)))
