"""Pooling by hand: sizes, what max remembers, and where average and max send their gradients."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog.errors import ShapeError, SpellingError
from neocog.layer import Cost, Shape
from neocog.layers import AvgPool, GlobalAvgPool, L2Pool, MaxPool, StochasticPool


def volume(rows):
    return np.array(rows, np.float64)[None, None]  # (1, 1, H, W)


def pooled(layer, rows):
    return layer.forward({}, volume(rows))[0][0, 0]


def gradient(layer, rows, dy):
    (dx,), _ = layer.backward({}, layer.forward({}, volume(rows))[1], volume(dy))
    return dx[0, 0]


SQUARE = [[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]


def test_pooling_by_two_halves_height_and_width_and_keeps_channels():  # fact P1
    before = Shape.of("224x224x64")
    after = MaxPool((2,)).output_shape(before)
    assert after == Shape.of("112x112x64")
    assert after.elements / before.elements == 0.25


def test_overlapping_windows():  # fact P1: F=3, S=2; AlexNet's 55 -> 27
    assert MaxPool((3,), stride=(2,)).output_shape(Shape.of("55x55x96")) == Shape.of("27x27x96")


def test_pooling_has_no_parameters_and_remembers_one_switch_an_output():  # fact P1
    x = Shape.of("4x4x3")
    assert MaxPool((2,)).cost(x) == Cost(connections=4 * 12, kept=12)
    assert AvgPool((2,)).cost(x) == Cost(connections=4 * 12, kept=0)
    assert L2Pool((2,)).cost(x) == Cost(connections=4 * 12, kept=48 + 12)
    assert MaxPool((2,)).parameters(x) == {}


def test_three_kinds_on_one_map():  # fact P1
    assert_array_equal(pooled(MaxPool((2,)), SQUARE), [[6, 8], [3, 4]])
    assert_array_equal(pooled(AvgPool((2,)), SQUARE), [[13 / 4, 21 / 4], [2, 2]])
    assert_allclose(pooled(L2Pool((2,)), SQUARE), np.sqrt([[63, 133], [18, 26]]), rtol=1e-15)


def test_global_average_is_one_number_for_each_channel():  # fact P1
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    y, cache = GlobalAvgPool().forward({}, x)
    assert_array_equal(y, [[[[2.5]], [[8.5]]]])
    (dx,), _ = GlobalAvgPool().backward({}, cache, np.array([[[[6.0]], [[12.0]]]]))
    assert_array_equal(dx[0, :, 1, 2], [1, 2])


def test_max_sends_the_gradient_to_the_switch():  # fact P2
    assert_array_equal(
        gradient(MaxPool((2,)), SQUARE, [[10, 20], [30, 40]]),
        [[0, 0, 0, 0], [0, 10, 0, 20], [30, 0, 0, 0], [0, 0, 0, 40]],
    )


def test_of_equal_values_the_first_wins():  # fact P2
    assert_array_equal(gradient(MaxPool((2,)), [[7, 7], [7, 7]], [[1]]), [[1, 0], [0, 0]])


def test_average_spreads_the_gradient_as_a_kronecker_product():  # fact P2
    rng = np.random.default_rng(0)
    dy = rng.normal(size=(3, 2))
    dx = gradient(AvgPool((2, 3)), rng.normal(size=(6, 6)), dy)
    assert_allclose(dx, np.kron(dy, np.full((2, 3), 1 / 6)), rtol=1e-15)


def test_gradients_of_overlapping_windows_accumulate():  # fact P2
    rows = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 9, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    dy = [[1, 2], [3, 4]]
    overlapping_max = np.zeros((5, 5))
    overlapping_max[2, 2] = 10  # it wins all four windows
    assert_array_equal(gradient(MaxPool((3,), stride=(2,)), rows, dy), overlapping_max)
    spread = 9 * gradient(AvgPool((3,), stride=(2,)), rows, dy)
    expected = [[1, 1, 3, 2, 2], [1, 1, 3, 2, 2], [4, 4, 10, 6, 6], [3, 3, 7, 4, 4], [3, 3, 7, 4, 4]]
    assert_allclose(spread, expected, rtol=1e-15)


def test_padding_never_wins_a_maximum():
    below_zero = np.full((3, 3), -5.0)
    assert_array_equal(pooled(MaxPool((3,), stride=(2,), padding=(1,)), below_zero), np.full((2, 2), -5.0))


def test_padding_counts_in_an_average_but_what_hangs_over_does_not():
    ones = np.ones((3, 3))
    assert_allclose(pooled(AvgPool((3,), stride=(2,), padding=(1,)), ones), np.full((2, 2), 4 / 9))
    assert_array_equal(pooled(AvgPool((2,), fit="ceil"), ones), np.ones((2, 2)))


def test_norm_of_a_window_of_zeros_has_gradient_zero():
    assert_array_equal(gradient(L2Pool((2,)), np.zeros((2, 2)), [[3]]), np.zeros((2, 2)))
    assert_allclose(gradient(L2Pool((2,)), [[3, 0], [0, 4]], [[10]]), [[6, 0], [0, 8]])


def test_windows_that_do_not_tile_are_refused_with_ways_out():  # fact C3
    with pytest.raises(ShapeError) as refusal:
        MaxPool((2,)).output_shape(Shape.of("7x7x1"))
    assert "(7 - 2 + 0)/2 + 1 = 3.5" in str(refusal.value)
    assert "H=6 or 8" in str(refusal.value)
    assert MaxPool((2,), fit="floor").output_shape(Shape.of("7x7x1")) == Shape.of("3x3x1")
    assert MaxPool((2,), fit="ceil").output_shape(Shape.of("7x7x1")) == Shape.of("4x4x1")


def test_padding_of_more_than_half_a_window_is_refused():
    with pytest.raises(SpellingError, match="at most half its window"):
        MaxPool((3,), padding=(2,))


def test_stochastic_pooling_gives_the_mean_of_its_draw_at_inference():  # sum of p a = (1 + 4 + 9) / 6
    assert_allclose(pooled(StochasticPool((2,)), [[1, 2], [-5, 3]]), [[14 / 6]], rtol=1e-15)
    # dy (2 a A - Q) / A^2 with A=6, Q=14; nothing for what is not positive
    assert_allclose(gradient(StochasticPool((2,)), [[1, 2], [-5, 3]], [[36]]), [[-2, 10], [0, 22]], rtol=1e-14)


def test_stochastic_pooling_draws_values_in_proportion_to_their_size():
    layer, draws = StochasticPool((2,)), 6000
    y, cache = layer.forward({}, np.tile(volume([[1, 2], [-5, 3]]), (draws, 1, 1, 1)), rng=np.random.default_rng(0))
    values, counts = np.unique(y, return_counts=True)
    assert_array_equal(values, [1, 2, 3])
    assert_allclose(counts / draws, [1 / 6, 2 / 6, 3 / 6], atol=0.02)
    (dx,), _ = layer.backward({}, cache, np.ones_like(y))
    assert_array_equal((dx * [[1, 2], [-5, 3]]).sum(axis=(2, 3), keepdims=True), y)  # dy went to what was drawn


@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
def test_a_window_with_nothing_positive_pools_to_zero_without_gradient(rng):
    layer = StochasticPool((2,))
    y, cache = layer.forward({}, volume([[0, -1], [-2, 0]]), rng=rng)
    (dx,), _ = layer.backward({}, cache, np.ones_like(y))
    assert_array_equal(y, [[[[0]]]])
    assert_array_equal(dx, np.zeros((1, 1, 2, 2)))


def test_a_mean_may_leave_the_padding_out():
    rows = [[4, 8], [12, 16]]
    within = AvgPool((3,), stride=(2,), padding=(1,), fit="floor", zeros=False)
    assert_allclose(pooled(AvgPool((3,), stride=(2,), padding=(1,), fit="floor"), rows), [[40 / 9]])
    assert_array_equal(pooled(within, rows), [[10]])
    assert_array_equal(gradient(within, rows, [[4]]), np.ones((2, 2)))
