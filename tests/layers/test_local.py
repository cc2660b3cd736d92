"""Locally connected layers by hand, and what not sharing costs."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from neocog.layer import Cost, Shape
from neocog.layers import Conv, LocallyConnected

X = np.array([[[1.0, 2.0, 3.0]]])  # (1, 1, 3)
PARAMS = {"weight": np.array([[[[1.0, 10.0], [100.0, 1000.0]]]]), "bias": np.array([[0.5, -0.5]])}  # two positions


def test_every_position_has_its_own_kernel_and_bias():  # fact C12
    y, _ = LocallyConnected((2,), 1, padding=(0,)).forward(PARAMS, X)
    assert_array_equal(y, [[[1 * 1 + 2 * 10 + 0.5, 2 * 100 + 3 * 1000 - 0.5]]])


def test_gradients_are_not_summed_over_positions():  # fact C12
    layer = LocallyConnected((2,), 1, padding=(0,))
    _, cache = layer.forward(PARAMS, X)
    (dx,), grads = layer.backward(PARAMS, cache, np.array([[[3.0, 5.0]]]))
    assert_array_equal(grads["weight"], [[[[3 * 1, 3 * 2], [5 * 2, 5 * 3]]]])
    assert_array_equal(grads["bias"], [[3, 5]])
    assert_array_equal(dx, [[[3 * 1, 3 * 10 + 5 * 100, 5 * 1000]]])


def test_with_the_same_kernel_everywhere_it_is_a_convolution():  # fact C12
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 3, 7, 5)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    convolved, _ = Conv((3,), 4, stride=(2,)).forward({"weight": weight, "bias": bias}, x)
    size = convolved.shape[2:]
    everywhere = {
        "weight": np.broadcast_to(weight[:, :, None, None], (4, 3, *size, 3, 3)),
        "bias": np.broadcast_to(bias[:, None, None], (4, *size)),
    }
    y, _ = LocallyConnected((3,), 4, stride=(2,)).forward(everywhere, x)
    assert_allclose(y, convolved, rtol=1e-12, atol=1e-12)


def test_first_layer_of_alexnet_without_sharing():  # fact C7: 290,400 neurons of 364 parameters
    layer, x = LocallyConnected((11,), 96, stride=(4,), padding=(0,)), Shape.of("227x227x3")
    assert layer.output_shape(x).elements == 290_400
    assert layer.cost(x) == Cost(105_705_600, 105_705_600, 290_400 * 363, kept=227 * 227 * 3)
    owned = layer.parameters(x)
    assert owned["weight"].size == 290_400 * 363
    assert owned["bias"].size == 290_400
