"""Activation functions by hand: their values, their slopes, and what depth does to a gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog import Network, reference
from neocog.initialise import initialise
from neocog.layer import Cost, Shape
from neocog.layers import (
    GELU,
    Dropout,
    LeakyReLU,
    PReLU,
    ReLU,
    ScaledTanh,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)

GRID = np.linspace(-20, 20, 4001)  # holds 0


def apply(layer, values, params=None, rng=None):
    x = np.asarray(values, np.float64).reshape(1, -1, 1)
    return layer.forward(params or {}, x, rng=rng)[0].ravel()


def slope(layer, values, params=None):
    x = np.asarray(values, np.float64).reshape(1, -1, 1)
    _, cache = layer.forward(params or {}, x)
    (dx,), _ = layer.backward(params or {}, cache, np.ones_like(x))
    return dx.ravel()


def test_rectifiers_on_both_sides_of_zero():  # fact A1
    values = [-2.0, 0.0, 3.0]
    slopes = {"weight": np.array([0.25, 0.5, 0.75])}
    assert_array_equal(apply(ReLU(), values), [0, 0, 3])
    assert_array_equal(apply(LeakyReLU(0.1), values), [-0.2, 0, 3])
    assert_array_equal(apply(PReLU(), values, slopes), [-0.5, 0, 3])
    assert_array_equal(slope(ReLU(), values), [0, 0, 1])
    assert_array_equal(slope(LeakyReLU(0.1), values), [0.1, 0.1, 1])
    assert_array_equal(slope(PReLU(), values, slopes), [0.25, 0.5, 1])


def test_prelu_learns_one_slope_a_channel():  # fact A1
    assert PReLU().cost(Shape.of("5x5x3")) == Cost(parameters=3, kept=75)
    params = {"weight": np.array([0.25])}
    _, cache = PReLU().forward(params, np.array([[[-1.0, -2.0, 5.0]]]))
    _, grads = PReLU().backward(params, cache, np.array([[[10.0, 1.0, 7.0]]]))
    assert_array_equal(grads["weight"], [-12])


def test_sigmoid_is_steepest_at_zero_with_a_quarter():  # fact A1
    slopes = slope(Sigmoid(), GRID)
    assert slopes.max() == 0.25
    assert GRID[slopes.argmax()] == 0


def test_squashing_functions_do_not_overflow():  # fact A1
    assert_array_equal(apply(Sigmoid(), [-1e4, 0, 1e4]), [0, 0.5, 1])
    assert_array_equal(apply(Tanh(), [-1e4, 0, 1e4]), [-1, 0, 1])
    assert_array_equal(apply(SiLU(), [-1e4, 0, 1e4]), [0, 0, 1e4])
    assert_array_equal(apply(Softmax(), [1e4, 1e4, -1e4]), [0.5, 0.5, 0])


@pytest.mark.parametrize("depth", [1, 5, 10])
def test_gradient_through_sigmoids_vanishes_with_depth(depth):  # fact A1
    network = Network.parse(f"INPUT[6x1] -> [SIGMOID]*{depth}")
    trace = reference.forward(network, {}, np.linspace(-3, 3, 6).reshape(1, 1, 6))
    dx, _ = reference.backward(trace, np.ones_like(trace.outputs[-1]))
    assert 0 < dx.max() <= 0.25**depth


def test_depth_hurts_sigmoids_but_not_rectifiers():  # fact A1: the same weights, only the function differs
    reaching = {}
    for function in ("SIGMOID", "RELU"):
        network = Network.parse(f"INPUT[1x1x64] -> [FC64 -> {function}]*10")
        x = np.random.default_rng(1).normal(size=(4, 64, 1, 1))
        trace = reference.forward(network, initialise(network, 0), x)
        dx, _ = reference.backward(trace, np.ones_like(trace.output))
        reaching[function] = np.abs(dx).mean()
    assert reaching["SIGMOID"] < 1e-3 * reaching["RELU"]


def test_scaled_tanh_maps_one_to_one():  # fact A1: 1.7159 tanh(2x/3)
    assert_allclose(apply(ScaledTanh(), [-1, 0, 1]), [-1, 0, 1], atol=1e-4)
    assert_array_equal(apply(ScaledTanh(), [-1e4, 1e4]), [-1.7159, 1.7159])
    assert_allclose(slope(ScaledTanh(), [0]), [1.7159 * 2 / 3])


def test_softmax_is_a_distribution_over_channels_at_each_position():  # fact A1
    x = np.log(np.array([[[1.0, 3.0], [3.0, 3.0], [4.0, 6.0]]]))  # (1, 3 channels, 2 positions)
    y, cache = Softmax().forward({}, x)
    assert_allclose(y, [[[1 / 8, 1 / 4], [3 / 8, 1 / 4], [1 / 2, 1 / 2]]])
    (dx,), _ = Softmax().backward({}, cache, np.array([[[1.0, 0], [0, 0], [0, 0]]]))
    assert_allclose(dx[0, :, 0], [1 / 8 * 7 / 8, -1 / 8 * 3 / 8, -1 / 8 * 1 / 2])


def test_softmax_ignores_a_shift():  # fact A1
    assert_allclose(apply(Softmax(), [1, 2, 4]), apply(Softmax(), [1001, 1002, 1004]), rtol=1e-12)


def test_smooth_rectifiers_by_hand():
    normal = 0.5 * (1 + math.erf(1 / math.sqrt(2)))  # 0.8413...
    assert_allclose(apply(GELU(), [-1, 0, 1]), [-(1 - normal), 0, normal], rtol=1e-15)
    assert_allclose(apply(SiLU(), [-1, 0, 1]), [-1 / (1 + math.e), 0, 1 / (1 + math.exp(-1))], rtol=1e-15)


def test_dropout_changes_nothing_at_inference():
    assert_array_equal(apply(Dropout(0.9), GRID), GRID)


def test_dropout_keeps_the_expectation_in_training():
    dropped = apply(Dropout(0.25), np.ones(40_000), rng=np.random.default_rng(0))
    assert_allclose(np.unique(dropped), [0, 4 / 3])
    assert_allclose(dropped.mean(), 1, atol=0.02)  # standard deviation of the mean: 0.003


def test_dropout_sends_the_gradient_through_the_same_mask():
    x = np.ones((1, 1000, 1))
    y, cache = Dropout(0.5).forward({}, x, rng=np.random.default_rng(0))
    (dx,), _ = Dropout(0.5).backward({}, cache, x)
    assert_array_equal(dx, y)
