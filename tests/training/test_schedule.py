from __future__ import annotations

import numpy as np
import pytest

from neocog.training.schedule import SCHEDULES, warmup_share

PROGRESS = np.linspace(0, 1, 101)


def factors(name, at=PROGRESS, warmup=None):
    return np.array([SCHEDULES[name].factor(p, warmup) for p in at])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [None, 0.0, 0.3, 0.99])
def test_a_factor_is_never_negative_nor_above_one(name, warmup):
    found = factors(name, warmup=warmup)
    assert found.min() >= 0
    assert found.max() == pytest.approx(1)


def test_constant_stays():
    assert set(factors("constant")) == {1.0}


def test_step_drops_by_ten_at_half_and_at_three_quarters():
    assert factors("step", (0, 0.49, 0.5, 0.74, 0.75, 1)).tolist() == [1, 1, 0.1, 0.1, 0.01, 0.01]


def test_linear_falls_in_a_straight_line_to_zero():
    np.testing.assert_allclose(factors("linear"), 1 - PROGRESS, atol=1e-15)


def test_cosine_is_half_way_down_in_the_middle_and_ends_at_zero():
    np.testing.assert_allclose(factors("cosine", (0, 1 / 3, 0.5, 1)), [1, 0.75, 0.5, 0], atol=1e-15)


def test_one_cycle_rises_in_a_straight_line_and_falls_in_another():
    found = factors("one-cycle")
    assert found.argmax() == 25
    np.testing.assert_allclose(np.diff(found[:26]), 0.96 / 25, rtol=1e-9)
    np.testing.assert_allclose(np.diff(found[25:]), -0.996 / 75, rtol=1e-9)
    np.testing.assert_allclose(found[[0, -1]], [0.04, 0.004])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_warm_up_rises_in_a_straight_line_and_the_schedule_has_the_rest(name):
    found, whole = (factors(name, np.linspace(0, 1, points), share) for points, share in ((129, 0.25), (97, 0.0)))
    np.testing.assert_allclose(found[:32], 0.04 + 0.96 * np.arange(32) / 32)
    np.testing.assert_allclose(found[32:], whole, atol=1e-12)


def test_a_warm_up_is_a_share_of_the_run_or_a_number_of_epochs():
    assert warmup_share(0.2, epochs=10) == 0.2
    assert warmup_share(3, epochs=10) == pytest.approx(0.3)
    assert warmup_share(1, epochs=10) == pytest.approx(0.1)
