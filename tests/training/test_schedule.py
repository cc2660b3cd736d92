from __future__ import annotations

import numpy as np
import pytest

from neocog.training.schedule import SCHEDULES, constant, cosine, one_cycle, step

PROGRESS = np.linspace(0, 1, 101)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_factor_is_never_negative_nor_above_one(name):
    factors = [SCHEDULES[name](p) for p in PROGRESS]
    assert min(factors) >= 0
    assert max(factors) == 1


def test_constant_stays():
    assert {constant(p) for p in PROGRESS} == {1.0}


def test_step_drops_by_ten_at_half_and_at_three_quarters():
    assert [step(p) for p in (0, 0.49, 0.5, 0.74, 0.75, 1)] == [1, 1, 0.1, 0.1, 0.01, 0.01]


def test_cosine_is_half_way_down_in_the_middle_and_ends_at_zero():
    np.testing.assert_allclose([cosine(p) for p in (0, 1 / 3, 0.5, 1)], [1, 0.75, 0.5, 0], atol=1e-15)


def test_one_cycle_rises_in_a_straight_line_and_falls_in_another():
    factors = np.array([one_cycle(p) for p in PROGRESS])
    assert factors.argmax() == 25
    np.testing.assert_allclose(np.diff(factors[:26]), 0.96 / 25, rtol=1e-9)
    np.testing.assert_allclose(np.diff(factors[25:]), -0.996 / 75, rtol=1e-9)
    np.testing.assert_allclose(factors[[0, -1]], [0.04, 0.004])
