from __future__ import annotations

import math

import numpy as np
import pytest

from neocog.statistics import (
    calibration,
    confusion_matrix,
    most_confused,
    other_images,
    same_images,
    scores_by_class,
    share_interval,
    sign_test,
)

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [  # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_of_a_share_is_the_published_one(right, total, low, high):
    assert share_interval(right, total) == pytest.approx((low, high), abs=5e-5)
    assert share_interval(total - right, total) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_the_interval_of_a_difference_is_the_published_one():
    # Newcombe, "Interval estimation for the difference between independent proportions" (1998), table II, (a)
    found = other_images((48, 80), (56, 70))
    assert found.difference == pytest.approx(0.2)
    assert found.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.decided
    assert found.p is None


@pytest.mark.parametrize(("heads", "tails", "p"), [(0, 5, 2 / 32), (3, 9, 2 * 299 / 4096), (4, 4, 1.0), (0, 0, 1.0)])
def test_the_sign_test_counts_coins(heads, tails, p):
    assert sign_test(heads, tails) == pytest.approx(p)
    assert sign_test(tails, heads) == pytest.approx(p)


def test_the_sign_test_holds_for_many_coins():
    heads, tails = 4_900, 5_100
    exact = 2 * sum(math.comb(heads + tails, k) for k in range(heads + 1)) / 2 ** (heads + tails)
    assert sign_test(heads, tails) == pytest.approx(exact, rel=1e-9)


def test_two_on_the_same_images_differ_by_those_that_one_alone_got_right():
    first, second = np.ones(1000, bool), np.ones(1000, bool)
    first[:30] = second[20:40] = False
    found = same_images(first, second)
    assert (found.only_first, found.only_second) == (10, 20)
    assert found.difference == pytest.approx(0.01)
    assert found.interval.low < 0 < found.interval.high
    assert not found.decided
    assert found.p == pytest.approx(sign_test(10, 20))
    assert same_images(second, first).interval == pytest.approx((-found.interval.high, -found.interval.low))


def test_pairing_finds_what_two_counts_alone_would_not():
    first, second = np.ones(1000, bool), np.ones(1000, bool)
    first[:60] = second[:42] = False
    assert same_images(first, second).decided
    assert not other_images((940, 1000), (958, 1000)).decided


def test_equals_are_never_told_apart():
    right = RNG.random(500) < 0.9
    found = same_images(right, right)
    assert (found.difference, found.p, found.decided) == (0, 1, False)


def test_the_interval_of_a_paired_difference_covers_it_19_times_in_20():
    covered = 0
    for _ in range(1000):
        hard = RNG.random(400)
        found = same_images(hard + RNG.normal(0, 0.1, 400) < 0.85, hard + RNG.normal(0, 0.1, 400) < 0.85)
        covered += found.interval.low <= 0 <= found.interval.high
    assert 930 <= covered <= 985


CONFUSION = np.array([[8, 2, 0], [1, 4, 0], [3, 0, 0]])


def test_classes_are_scored_by_rows_and_columns():
    first, second, third = scores_by_class(CONFUSION)
    assert first == (10, 8, 8 / 12, 8 / 10, 2 * 8 / 22)
    assert second == (5, 4, 4 / 6, 4 / 5, 2 * 4 / 11)
    assert third == (3, 0, None, 0, 0)  # never said, so nothing is known of its precision


def test_a_class_that_is_not_there_has_no_scores():
    assert scores_by_class(np.zeros((1, 1), np.int64)) == [(0, 0, None, None, None)]


def test_the_most_confused_pairs_come_first():
    assert most_confused(CONFUSION, 2) == [(2, 0, 3, 1.0), (0, 1, 2, 0.2)]
    assert len(most_confused(CONFUSION, 9)) == 3


def test_the_matrix_has_true_classes_in_rows():
    found = confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), 3)
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 0, 0], [0, 1, 0]])


def test_calibration_is_the_mean_distance_between_sure_and_right():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0, 1]])
    found = calibration(probabilities, np.array([0, 1, 1, 1]))
    assert found.ece == pytest.approx((2 * abs(0.9 - 0.5) + 0.4 + 0) / 4)
    assert found.nll == pytest.approx(-np.log([0.9, 0.1, 0.6, 1]).mean())
    assert [b.answers for b in found.bins if b] == [1, 2, 1]


def test_a_network_that_draws_as_it_says_is_calibrated():
    probabilities = RNG.dirichlet((1, 1, 1), 50_000)
    labels = (probabilities.cumsum(axis=1) < RNG.random((50_000, 1))).sum(axis=1)
    assert calibration(probabilities, labels).ece < 0.01
    assert calibration(np.sqrt(probabilities) / np.sqrt(probabilities).sum(1, keepdims=True), labels).ece > 0.05


def test_an_answer_held_for_impossible_costs_much_but_not_everything():
    assert calibration(np.array([[1.0, 0.0]]), np.array([1])).nll == pytest.approx(12 * math.log(10))
