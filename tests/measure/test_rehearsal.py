from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made_up import MACHINE

from neocog import zoo
from neocog.measure.rehearsal import fit, rehearsals, rehearse
from neocog.plan.time import MODES
from neocog.zoo import names


def rows(weights, count=12):
    """Steps (seconds alone, passes, bytes, seconds) as shares of what they took by these weights."""
    draw = np.random.default_rng(1)
    parts = np.array([draw.uniform(0.001, 0.1, count), draw.integers(5, 50, count), draw.uniform(1e6, 1e9, count)]).T
    return np.column_stack([parts, parts @ weights]) / (parts @ weights)[:, None]


def test_layers_that_do_not_disturb_each_other_keep_their_times():
    weights, spread = fit(rows((1.0, 0.0, 0.0)))
    assert weights == pytest.approx((1, 0, 0), abs=1e-9)
    assert spread == pytest.approx(0, abs=1e-9)


def test_what_takes_longer_in_a_network_is_found():
    weights, spread = fit(rows((1.1, 8e-6, 4e-11)))
    assert spread < 0.03
    assert weights[1] > 0
    assert 2e-11 < weights[2] < 6e-11


def test_memory_that_is_far_away_makes_nothing_faster():
    weights, _ = fit(rows((1.3, 0.0, -1e-11)))
    assert weights[2] == 0


def test_a_machine_that_wavered_gives_weights_that_can_be_kept():
    (alone, _, byte), spread = fit(rows((-0.5, 0.0, 4e-9)))
    assert alone > 0
    assert byte >= 0
    assert spread > 0.1


def test_rehearsed_networks_give_weights_for_both_modes_and_say_how_many_they_are():
    said = []
    small = [r for r in rehearsals() if r.network.plan().totals["macs"] * r.batch < 10**6]
    together, spread = rehearse(small, MACHINE, torch.device("cpu"), said.append)
    assert set(together) == set(spread) == set(MODES)
    assert all(math.isfinite(w) for weights in together.values() for w in weights)
    assert all(0 <= value < math.inf for value in spread.values())
    assert said == [f"  {len(small)} networks"]


def test_no_rehearsed_network_is_one_of_the_zoo():
    known = {str(zoo(name)) for name in names()}
    assert not known & {str(r.network) for r in rehearsals()}
