"""Upsampling by hand, and what one output sees through it."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from neocog import Network
from neocog.layer import Cost, Shape
from neocog.layers import Upsample

X = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])


def test_nearest_repeats_every_value():
    y, cache = Upsample((2,)).forward({}, X)
    assert_array_equal(y, np.kron(X, np.ones((2, 2))))
    (dx,), _ = Upsample((2,)).backward({}, cache, np.arange(16.0).reshape(1, 1, 4, 4))
    assert_array_equal(dx, [[[[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]]])


def test_bilinear_interpolates_between_centres_and_is_flat_at_the_border():
    layer = Upsample((2,), mode="bilinear")
    y, cache = layer.forward({}, np.array([[[0.0, 4.0, 8.0]]]))
    assert_allclose(y, [[[0, 1, 3, 5, 7, 8]]], rtol=1e-15)
    (dx,), _ = layer.backward({}, cache, np.array([[[1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]]))
    assert_allclose(dx, [[[1.25, 0.75, 0]]], rtol=1e-15)


def test_bilinear_of_two_axes_is_the_product_of_two_lines():
    y, _ = Upsample((2,), mode="bilinear").forward({}, X)
    rows, columns = np.array([1.0, 1.5, 2.5, 3.0]), np.array([0, 0.25, 0.75, 1.0])
    assert_allclose(y[0, 0], rows[:, None] + columns - np.array([0, 0, 0, 0])[:, None], rtol=1e-15)


def test_copies_are_free_and_interpolation_reads_four():
    assert Upsample((2,)).cost(Shape.of("4x4x3")) == Cost()
    assert Upsample((2,), mode="bilinear").cost(Shape.of("4x4x3")) == Cost(connections=4 * 192, macs=4 * 192)


def test_positions_behind_it_lie_closer_together():
    plan = Network.parse("INPUT[8x8x1] -> POOL2 -> UPSAMPLE2 -> CONV3-1").plan()
    fields = [row.field[0] for row in plan.rows]
    assert [(axis.size, axis.jump) for axis in fields] == [(1, 1), (2, 2), (2, 1), (4, 1)]
    assert fields[2].start == 0  # the outputs 0 and 1 both look at pixels 0 and 1: at 0 and at 1, half a pixel about
