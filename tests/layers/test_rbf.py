"""LeNet-5's output by hand: distances to fixed drawings of the digits."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from neocog.errors import ShapeError, SpellingError
from neocog.layer import Cost, Shape
from neocog.layers import RBF
from neocog.layers.rbf import codes

VECTOR = Shape.of("1x1x84")


def as_volume(rows):
    return np.asarray(rows, np.float64).reshape(len(rows), -1, 1, 1)


def test_codes_are_ink_and_paper_on_seven_by_twelve_pixels():  # fact A3
    assert codes(10).shape == (10, 7 * 12)
    assert set(codes(10).ravel()) == {-1.0, 1.0}


def test_the_drawing_of_one_stands_upright():  # fact A3: twelve rows of seven pixels
    one = codes(10)[1].reshape(12, 7) > 0
    assert one[1:, 2].all()  # its stem
    assert one[-1].sum() > one[0].sum()  # a foot below, a point above


def test_no_two_drawings_are_alike():  # fact A3
    apart = [int((a != b).sum()) for a, b in combinations(codes(10), 2)]
    assert min(apart) >= 12  # pixels


def test_a_drawing_is_at_distance_zero_from_itself_and_far_from_the_others():  # fact A3
    y, _ = RBF(10).forward({"codes": codes(10)}, as_volume(codes(10)))
    distances = y[:, :, 0, 0]
    assert_array_equal(np.diag(distances), np.zeros(10))
    assert_array_equal(distances.argmin(axis=1), np.arange(10))
    pixels = int((codes(10)[3] != codes(10)[8]).sum())
    assert distances[3, 8] == distances[8, 3] == 4 * pixels  # a pixel that differs is (1 - -1)^2 = 4


def test_a_blank_input_is_equally_far_from_every_drawing():  # fact A3: 84 differences of 1
    y, _ = RBF(10).forward({"codes": codes(10)}, np.zeros((1, 84, 1, 1)))
    assert_array_equal(y.ravel(), np.full(10, 84.0))


def test_gradient_points_away_from_the_drawing():  # fact A3: 2 (x - c)
    params = {"codes": codes(2)}
    _, cache = RBF(2).forward(params, np.zeros((1, 84, 1, 1)))
    (dx,), grads = RBF(2).backward(params, cache, np.array([[1.0, 0.5]]).reshape(1, 2, 1, 1))
    assert_array_equal(dx.ravel(), -2 * codes(2)[0] - codes(2)[1])
    assert grads == {}


def test_codes_are_stored_but_are_no_parameters():  # fact L: 840 connections, 0 parameters
    assert RBF(10).cost(VECTOR) == Cost(parameters=0, connections=840, macs=840, kept=84)
    owned = RBF(10).parameters(VECTOR)["codes"]
    assert not owned.trainable
    assert owned.size == 840


def test_torch_module_holds_the_codes_as_a_buffer():
    module = RBF(10).module(VECTOR)
    assert list(module.parameters()) == []
    assert_array_equal(module.state_dict()["codes"].numpy(), codes(10))


@pytest.mark.parametrize("shape", ["1x1x120", "12x7x1", "2x1x42"])
def test_anything_but_a_vector_of_84_is_refused(shape):
    with pytest.raises(ShapeError) as refusal:
        RBF(10).output_shape(Shape.of(shape))
    assert f"received: {shape}" in str(refusal.value)
    assert "try: FC84 before it" in str(refusal.value)


def test_an_eleventh_class_is_refused():
    with pytest.raises(SpellingError, match="10 classes at most"):
        RBF(11)
