"""LeNet-5's trainable subsampling by hand."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from neocog.layer import Cost, Shape
from neocog.layers import AvgPool, ScaledTanh, Subsample

POOL = Subsample((2,))
X = np.array([[[[1, 2], [3, 4]], [[0, 1], [0, 1]]]], np.float64)  # (1, 2, 2, 2): window sums 10 and 2
PARAMS = {"weight": np.array([0.5, -1.0]), "bias": np.array([0.25, 3.0])}


def test_each_map_is_its_window_sums_times_one_weight_plus_one_bias():  # fact P3
    y, _ = POOL.forward(PARAMS, X)
    assert_array_equal(y.ravel(), [0.5 * 10 + 0.25, -1.0 * 2 + 3.0])


def test_gradients():  # fact P3: dw = sum of down(x) dy, db = sum of dy, dx = w up(dy)
    _, cache = POOL.forward(PARAMS, X)
    (dx,), grads = POOL.backward(PARAMS, cache, np.array([[[[2.0]], [[7.0]]]]))
    assert_array_equal(grads["weight"], [10 * 2, 2 * 7])
    assert_array_equal(grads["bias"], [2, 7])
    assert_array_equal(dx, [[np.full((2, 2), 0.5 * 2), np.full((2, 2), -1.0 * 7)]])


def test_gradient_through_the_squashing_function_that_follows():  # fact P3: dx = w f'(.) up(dy)
    squash = ScaledTanh()
    z, cache = POOL.forward(PARAMS, X)
    y, squashed = squash.forward({}, z)
    (dz,), _ = squash.backward({}, squashed, np.ones_like(y))
    (dx,), grads = POOL.backward(PARAMS, cache, dz)
    slope = 1.7159 * 2 / 3 * (1 - np.tanh(2 / 3 * z) ** 2)
    assert_allclose(dx, np.kron(PARAMS["weight"].reshape(-1, 1, 1) * slope[0], np.ones((1, 2, 2)))[None], rtol=1e-12)
    assert_allclose(grads["weight"], [10, 2] * slope.ravel(), rtol=1e-12)


def test_gradients_sum_over_images_and_positions():  # fact P3
    x = np.ones((3, 1, 4, 4))
    params = {"weight": np.array([2.0]), "bias": np.array([0.0])}
    _, cache = POOL.forward(params, x)
    _, grads = POOL.backward(params, cache, np.ones((3, 1, 2, 2)))
    assert_array_equal(grads["bias"], [12])
    assert_array_equal(grads["weight"], [48])


def test_it_begins_as_an_average():
    params = {name: np.full(p.shape, p.value) for name, p in POOL.parameters(Shape.of("2x2x2")).items()}
    assert_array_equal(POOL.forward(params, X)[0], AvgPool((2,)).forward({}, X)[0])


def test_cost_of_both_subsamplings_of_lenet5():  # fact L: S2 and S4
    assert POOL.cost(Shape.of("28x28x6")) == Cost(parameters=12, connections=5_880, macs=1_176, kept=1_176)
    assert POOL.cost(Shape.of("10x10x16")) == Cost(parameters=32, connections=2_000, macs=400, kept=400)
