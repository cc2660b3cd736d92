"""Engines that are expected to be about as fast as each other are tried by turns, where a run is long enough."""

from __future__ import annotations

from itertools import groupby
from math import inf

import pytest

from neocog import Network, train
from neocog.training import engine as engine_room
from neocog.training import session as session_room
from neocog.training import trial as room
from neocog.training.engine import choose_engine
from neocog.training.trial import Step, Trial, Way, by_turns, trial_question, worth_trying

NATIVE, TORCH, HALVES = Way("native", "float32"), Way("torch", "float32"), Way("torch", "bfloat16")
SMALL = Step(Network.parse("INPUT[8x8x2] -> CONV3-4 -> RELU -> FC3"), "cross-entropy", "nesterov", 16)


@pytest.mark.parametrize(
    ("expected", "steps", "tried"),
    [
        ({NATIVE: 0.1, TORCH: 0.19, HALVES: 0.21}, inf, [NATIVE, TORCH]),
        ({NATIVE: 0.1, TORCH: 0.21, HALVES: 0.3}, inf, []),
        ({NATIVE: 0.1, TORCH: 0.1}, 400, [NATIVE, TORCH]),  # 40 s, of which a trial takes two
        ({NATIVE: 0.1, TORCH: 0.1}, 399, []),
        ({NATIVE: 2.0, TORCH: 2.0}, 240, [NATIVE, TORCH]),  # six steps of each are a twentieth of so many
        ({NATIVE: 2.0, TORCH: 2.0}, 239, []),
    ],
)
def test_what_is_nearly_as_fast_is_tried_where_a_run_is_long_beside_that(expected, steps, tried):
    assert worth_trying(expected, steps) == tried


def test_steps_are_made_by_turns(monkeypatch):
    monkeypatch.setattr(room, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(room, "CLOSE", inf)
    made, heard = [], []
    steps = {way: lambda way=way: made.append(way) for way in (NATIVE, TORCH)}
    found = by_turns(steps, lambda *told: heard.append(told))
    assert [way for way, _ in groupby(made)] == [NATIVE, TORCH] * (1 + room.TURNS)
    assert set(found) == {NATIVE, TORCH}
    assert [done for _, done, _ in heard] == [0, *range(room.TURNS + 1)]


def test_a_slower_one_gets_no_turn(monkeypatch):
    """Of four steps the last one is looked at first: before, an engine asks for memory and makes code."""
    took = {NATIVE: [9, 9, 9, 1], TORCH: [2, 2, 2, 2]}
    made = []

    def repeated(step, device, seconds, least):
        way = step()
        return took[way][1 : 1 + least] if len(made) <= 2 else [1.0]

    monkeypatch.setattr(room, "repeated", repeated)
    found = by_turns({way: lambda way=way: made.append(way) or way for way in (NATIVE, TORCH)})
    assert found == {NATIVE: 1, TORCH: 2}
    assert made == [NATIVE, TORCH]


def test_a_trial_that_takes_long_ends_with_the_turn(monkeypatch):
    monkeypatch.setattr(room, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(room, "LONGEST", -1.0)
    monkeypatch.setattr(room, "CLOSE", inf)
    made = []
    found = by_turns({way: lambda way=way: made.append(way) for way in (NATIVE, TORCH)})
    assert all(seconds > 0 for seconds in found.values())
    assert len(made) == 2 * (1 + room.WARM) + 2 * 2  # one to warm up


def test_both_engines_make_the_step_and_it_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "TURN_SECONDS", 0.0)
    question = trial_question(SMALL, [NATIVE, TORCH, HALVES])
    assert question.at_hand(tmp_path) is None
    found = question.answer(tmp_path)
    assert all(found.seconds[way] > 0 for way in (NATIVE, TORCH, HALVES))
    assert trial_question(SMALL, [HALVES, NATIVE, TORCH]).at_hand(tmp_path) == found
    for other in (SMALL._replace(batch_size=17), SMALL._replace(optimizer="adamw")):
        assert trial_question(other, [NATIVE, TORCH, HALVES]).at_hand(tmp_path) is None


@pytest.mark.parametrize("damaged", [[], [["native", "float32", -1]], [["native", "float32", inf]], [["native"]]])
def test_a_damaged_trial_is_none(damaged):
    with pytest.raises(ValueError):  # whatever the reason, the answer is found anew
        Trial.from_dict({"steps": damaged})


class Tried:
    """A trial whose answer is at hand."""

    def __init__(self, seconds):
        self.seconds = seconds

    def answer(self):
        return Trial(self.seconds)


@pytest.fixture
def expecting(monkeypatch):
    """Have native be expected in 10 ms and torch in 15, but tried the other way round."""

    def expected(engine, dtype, step):
        return {"native": 0.010, "torch": 0.015}[engine]

    monkeypatch.setattr(engine_room, "expected_seconds", expected)
    monkeypatch.setattr(engine_room, "trial_question", lambda *_: Tried({NATIVE: 0.012, TORCH: 0.008}))


@pytest.mark.parametrize(("steps", "chosen"), [(inf, "torch"), (100, "native")])
def test_what_was_tried_decides_before_what_is_expected(steps, chosen, expecting):
    found = choose_engine("auto", SMALL.network, "cpu", steps=steps)
    assert found.make.name == chosen
    said = {
        "torch": "torch: 8.00 ms a step in float32, 12.0 ms by native in float32; tried by turns",
        "native": "native: 10.0 ms a step expected in float32, 15.0 ms by torch in float32",
    }
    assert found.reason == said[chosen]


def test_no_more_is_tried_than_memory_holds(expecting, monkeypatch):
    both = sum(map(SMALL.needed, (NATIVE, TORCH)))
    for spare, chosen in ((1.01, "torch"), (0.99, "native")):
        monkeypatch.setattr(engine_room, "available_memory", lambda spare=spare: int(2 * spare * both))
        assert choose_engine("auto", SMALL.network, "cpu", batch_size=16, steps=inf).make.name == chosen


def test_an_engine_that_takes_too_much_memory_is_not_tried(expecting, monkeypatch):
    monkeypatch.setattr(engine_room, "available_memory", lambda: 2 * SMALL.needed(NATIVE) - 2)
    found = choose_engine("auto", SMALL.network, "cpu", batch_size=16, steps=inf)
    assert found.make.name == "torch"
    assert "native would take" in found.reason


def test_a_run_says_how_many_steps_it_has(digits, tmp_path, monkeypatch):
    asked = []

    def choose(*args, steps, **more):
        asked.append(steps)
        return choose_engine(*args, **more)

    monkeypatch.setattr(session_room, "choose_engine", choose)
    network = Network.parse("INPUT[28x28x1] -> POOL4 -> FC10")
    few = {"epochs": 2, "batch_size": 100, "validation": 84}  # 300 images are learned from
    train(network, digits, **few, out=tmp_path / "run", progress="none", device="cpu")
    assert asked == [2 * 3]
