"""How many threads make the steps, and that it changes nothing but how long they take."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from neocog import Network, zoo
from neocog.initialise import initialise
from neocog.native import trainer as trainers
from neocog.native import workers
from neocog.native.trainer import NativeTrainer, sharing
from neocog.native.workers import TURN, TURNS, Sharing

NET = Network.parse("INPUT[8x8x3] -> CONV3-20 -> BN -> RELU -> POOL2 -> DROPOUT(0.3) -> FC16 -> RELU -> FC5")


def made(shared, monkeypatch, seconds, calls):
    """The numbers of threads of so many calls, of which each step takes `seconds` by their number."""
    clock, found = [0.0], []
    monkeypatch.setattr(workers, "perf_counter", lambda: clock[0])
    for _ in range(calls):
        with shared.timed(10) as threads:
            clock[0] += 10 * seconds[threads]
        found.append(threads)
    return found


def test_the_faster_number_makes_the_steps_and_the_other_is_tried_again(monkeypatch):
    shared = Sharing(4, 1)
    slow_together = made(shared, monkeypatch, {4: 2.0, 1: 1.0}, TURNS * TURN)
    assert slow_together == [4] * TURN + [1] * ((TURNS - 1) * TURN)
    assert made(shared, monkeypatch, {4: 2.0, 1: 1.0}, 2 * TURN) == [4] * TURN + [1] * TURN
    made(shared, monkeypatch, {4: 2.0, 1: 1.0}, (TURNS - 2) * TURN)
    assert made(shared, monkeypatch, {4: 0.5, 1: 1.0}, 2 * TURN) == [4] * 2 * TURN


def test_one_call_that_was_disturbed_changes_nothing(monkeypatch):
    shared = Sharing(2, 1)
    made(shared, monkeypatch, {2: 1.0, 1: 2.0}, 2 * TURN)
    assert made(shared, monkeypatch, {2: 9.0}, 1) == [2]
    assert made(shared, monkeypatch, {2: 1.0}, TURN) == [2] * TURN


def test_only_small_steps_and_nobodys_choice_are_tried():
    assert sharing(zoo("lenet5-relu"), 64, 2).counts == (2, 1)
    assert sharing(zoo("lenet5-relu"), 1024, 2).counts == (2,)
    assert sharing(zoo("lenet5-relu"), 64, 1).counts == (1,)
    assert NativeTrainer(NET, initialise(NET), loss="cross-entropy", threads=3).sharing.counts == (3,)


def test_who_makes_the_steps_changes_no_bit(monkeypatch):
    rng = np.random.default_rng(2)
    x, labels = rng.standard_normal((40, 3, 8, 8)).astype(np.float32), rng.integers(0, 5, 40)
    fixed, shared = (NativeTrainer(NET, initialise(NET, 1), loss="cross-entropy", threads=3) for _ in range(2))
    turns = cycle([3, 1, 1])
    shared.sharing = Sharing(3, 1)
    monkeypatch.setattr(workers, "TURN", 1)
    monkeypatch.setattr(shared.sharing, "_choice", lambda turn: next(turns))
    for _ in range(7):
        assert fixed.step(x, labels, 0.05) == shared.step(x, labels, 0.05)
        np.testing.assert_array_equal(fixed.scores(x), shared.scores(x))
    for name, array in fixed.weights().items():
        np.testing.assert_array_equal(array, shared.weights()[name])


def test_a_step_as_small_as_can_be_is_made_by_one_thread():
    assert trainers.pick_threads(NET, 1) == 1
