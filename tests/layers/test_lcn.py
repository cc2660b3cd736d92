"""Local contrast normalization by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from neocog import Network
from neocog.layer import Cost, Shape
from neocog.layers import LocalContrastNorm


def normalized(layer: LocalContrastNorm, x: np.ndarray) -> np.ndarray:
    owned = layer.parameters(Shape(x.shape[2:], x.shape[1]))
    return layer.forward({"kernel": owned["kernel"].value}, x)[0]


def test_three_values_and_a_window_that_holds_them_all():
    """Equal weights over 3 values: the mean is 3, what is left is -2, -1 and 3, at a deviation of sqrt(14/3)."""
    x = np.array([1.0, 2.0, 6.0]).reshape(1, 3, 1)  # one position of three maps
    y = normalized(LocalContrastNorm(3, least=1.0), x)
    assert_allclose(y.ravel(), np.array([-2, -1, 3]) / np.sqrt(14 / 3), rtol=1e-14)


def test_weights_are_a_gaussian_over_what_lies_on_the_image():
    side = np.exp(-1 / (2 * 0.75**2))  # sigma = F/4
    x = np.array([[[1.0, 0.0, 0.0, 0.0]]])
    y = normalized(LocalContrastNorm(3, least=100.0), x)  # so large a divisor that only the means are seen
    assert_allclose(100 * y.ravel(), [1 - 1 / (1 + side), -side / (1 + 2 * side), 0, 0], rtol=1e-14)


def test_flat_images_become_zero_up_to_the_border():
    flat = np.full((2, 3, 6, 5), 7.3)
    assert np.abs(normalized(LocalContrastNorm(5), flat)).max() < 1e-9
    module = Network.parse("INPUT[6x5x3] -> LCN5").build()
    assert module(torch.full((2, 3, 6, 5), 7.3)).abs().max() < 0.05  # what rounding left is not blown up


def test_brightness_and_contrast_of_an_image_change_nothing():
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 7))
    assert_allclose(normalized(LocalContrastNorm(5), 20 * x + 4), normalized(LocalContrastNorm(5), x), rtol=1e-9)


def test_the_divisor_is_at_least_the_mean_deviation_of_its_own_image():
    """One bright image beside a dim one: each is divided by what it holds, and a quiet corner by the mean, not less."""
    dim = np.random.default_rng(0).normal(size=(1, 8, 8))
    dim[:, :, 4:] *= 0.01
    y = normalized(LocalContrastNorm(3), np.stack([dim, 1000 * dim]))
    assert_allclose(y[1], y[0], rtol=1e-9)
    assert np.abs(y[0, 0, :, 6:]).max() < 0.1 < np.abs(y[0, 0, :, :4]).max()


def test_costs_are_two_weighted_sums_a_position():
    taps = 2 * 81 * 3 * 10 * 10
    assert LocalContrastNorm(9).cost(Shape.of("10x10x3")) == Cost(connections=taps, macs=taps, kept=400)


@pytest.mark.parametrize(("least", "seen"), [(0.0, 39), (1.0, 17)])
def test_the_mean_over_the_image_makes_every_position_see_all_of_it(least, seen):
    assert LocalContrastNorm(9, least=least).window(Shape.of("20x20x3")).kernel == (seen, seen)


def test_default_width_is_not_written():
    assert LocalContrastNorm(9).token == LocalContrastNorm(9, sigma=2.25).token == "LCN9"
    assert_array_equal(LocalContrastNorm(9, sigma=2.25).parameters(Shape.of("9x9x1"))["kernel"].shape, (9, 9))
