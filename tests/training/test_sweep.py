from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from neocog import DataError, NeocogError, Network, RunError, train
from neocog.feed import Taken
from neocog.training.sweep import HIGH, LOW, STEPS, Sweep, drawn, find_lr, smoothed

QUICK = {"batch_size": 16, "device": "cpu"}


def test_rates_grow_by_a_constant_factor_until_the_loss_explodes(small, digits):
    sweep = find_lr(small, digits, optimizer="sgd", **QUICK)
    assert sweep.rates[0] == LOW
    np.testing.assert_allclose(np.diff(np.log(sweep.rates)), np.log(HIGH / LOW) / (STEPS - 1), rtol=1e-9)
    assert len(sweep.rates) == len(sweep.losses) == len(sweep.smoothed) <= STEPS
    assert np.isfinite(sweep.losses).all()
    assert LOW < sweep.suggestion < sweep.lowest < HIGH
    assert min(sweep.smoothed) < 0.9 * sweep.smoothed[0]


def test_a_suggested_rate_learns_better_than_far_smaller_and_far_larger_ones(small, digits, tmp_path):
    rate = find_lr(small, digits, engine="native", **QUICK).suggestion

    def loss(lr):
        out = tmp_path / f"{lr}"
        return train(small, digits, lr=lr, epochs=2, progress="none", out=out, **QUICK).record["test_loss"]

    assert loss(rate) < loss(rate / 100)


def test_smoothed_losses_are_weighted_means_of_those_so_far():
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    for k, found in enumerate(smoothed(losses)):
        weights = 0.9 ** np.arange(k, -1, -1)
        assert found == pytest.approx((weights * losses[: k + 1]).sum() / weights.sum())


def test_the_suggestion_is_a_tenth_of_where_the_loss_is_lowest():
    sweep = Sweep((0.001, 0.01, 0.1, 1.0), (2.0, 1.0, 0.5, 3.0), (2.0, 1.0, 0.5, 3.0))
    assert sweep.lowest == 0.1
    assert sweep.suggestion == pytest.approx(0.01)


def test_the_picture_is_well_formed_and_says_what_is_suggested():
    sweep = Sweep((1e-6, 0.01, 0.1, 1.0), (2.0, 1.0, 0.5, 300.0), (2.0, 1.0, 0.5, 300.0))
    root = ET.fromstring(drawn(sweep))
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "suggested: 0.01" in words
    assert {"1e-06", "0.1", "10"} <= set(words)
    for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
        points = np.array([point.split(",") for point in line.get("points").split()], float)
        assert len(points) == 4
        assert points.min() >= 0
        assert (points <= [640, 400]).all()


def test_what_cannot_be_trained_is_refused(digits):
    with pytest.raises(DataError, match="the network has 9, the data 10"):
        find_lr(Network.parse("INPUT[28x28x1] -> FC9"), digits)
    with pytest.raises(NeocogError, match="optimizer is one of"):
        find_lr(Network.parse("INPUT[28x28x1] -> FC10"), digits, optimizer="adam")


class Infinite:
    """A session whose first step already has no finite loss."""

    batches = engine = property(lambda self: self)

    def __len__(self):
        return 5

    def epoch(self, number):
        return self

    def course(self, first, rates):
        return rates

    def learn(self, rates):
        return Taken(np.array([np.inf]), np.zeros(1, np.int64))


def test_without_a_finite_loss_there_is_no_suggestion(small, digits, monkeypatch):
    monkeypatch.setattr("neocog.training.sweep._session", lambda *given: Infinite())
    with pytest.raises(RunError, match="no loss is finite, not even before the first step"):
        find_lr(small, digits)
