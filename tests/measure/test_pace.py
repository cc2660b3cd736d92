"""The native engine's pace, measured on few and tiny networks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neocog import NeocogError, Network
from neocog.measure import pace as room
from neocog.measure.calls import Stepper
from neocog.measure.native_time import compare, measure
from neocog.measure.pace import USUAL, costs, measure_pace, pace, peak
from neocog.measure.rehearsal import Rehearsal
from neocog.native.effort import Effort
from neocog.native.pace import FEW, KINDS, Pace, course_of
from neocog.plan.time import MODES

NET = "INPUT[8x8x3] -> CONV3-4 -> BN -> ADD[ CONV3-4 -> BN | ID ] -> RELU -> POOL2 -> FC3"
TWO = [Rehearsal(Network.parse(text), 2) for text in (NET, "INPUT[6x6x1] -> FC8 -> RELU -> FC3")]


@pytest.fixture(scope="module")
def measured() -> Pace:
    return measure_pace("float32", 1, TWO, lambda text: None)


def test_a_pace_has_weights_for_both_modes_and_no_cost_below_zero(measured):
    assert measured.costs.keys() == set(Effort._fields)
    assert all(0 <= cost < math.inf for cost in measured.costs.values())
    assert measured.rate > 0
    assert measured.together.keys() == measured.spread.keys() == set(KINDS)
    assert Pace.from_dict(measured.as_dict()) == measured


def test_costs_are_found_where_calls_are_what_they_add_up_to():
    draw, cycle = np.random.default_rng(1), 1e-10
    true = dict(zip(Effort._fields, [1e-10, 2e-10, 2e-9, 1e-10, 2e-10, 4e-9, 4e-12], strict=True))
    efforts = [Effort(*draw.uniform(1e3, 1e6, len(true))) for _ in range(60)] + [Effort()]
    seconds = [1e-6 + sum(true[name] * n for name, n in one._asdict().items()) for one in efforts]
    found = costs(efforts, seconds, cycle)
    assert found["products"] == pytest.approx(true["products"], rel=0.5)
    again = [sum(found[name] * n for name, n in one._asdict().items()) + 1e-6 for one in efforts]
    assert again == pytest.approx(seconds, rel=0.2)


def test_kinds_that_no_call_tells_apart_keep_what_is_usual():
    efforts = [Effort(products=n, moves=2 * n) for n in (1e4, 1e5, 1e6)]
    found = costs(efforts, [sum(e) * 1e-10 for e in efforts], 1e-10)
    assert found["slow"] == pytest.approx(USUAL["slow"] * 1e-10)
    assert found["products"] > 0
    assert found["moves"] > 0


@pytest.mark.parametrize("mode", MODES)
def test_a_course_takes_a_step_call_by_call_and_each_takes_time(mode):
    plan = Network.parse(NET).plan(batch=40, optimizer="nesterov")
    course = course_of(plan, mode, 1)
    seconds = Stepper(course).seconds(2)
    assert seconds.shape == (len(course.tasks),)
    assert (seconds > 0).all()


def test_few_images_are_taken_call_by_call_too(measured):
    plan = Network.parse(NET).plan(batch=1)
    course = course_of(plan, "inference", 1)
    assert course.kind == FEW
    assert (Stepper(course).seconds(2) > 0).all()
    found = compare(plan, measured, "inference", seconds=0.01)
    assert found.measured.layers["conv1"][0] > 0


@pytest.mark.parametrize("mode", MODES)
def test_prediction_and_measurement_stand_side_by_side(measured, mode):
    plan = Network.parse(NET).plan(batch=2)
    found = compare(plan, measured, mode, seconds=0.01)
    assert [row.name for row in found.rows] == [row.name for row in plan.rows]
    assert found.summary()[0].startswith(f"{mode} by native, batch 2, float32: predicted ")
    assert "in one pass with it" in found.summary()[2]
    assert found.measured.layers["conv1"][0] > 0
    assert (found.measured.layers["conv1"][1] > 0) == (mode == "training")
    assert (found.measured.update > 0) == (mode == "training")
    assert found.as_dict()["predicted"]["engine"] == "native"


def test_training_is_not_measured_where_images_have_no_class():
    plan = Network.parse("INPUT[8x8x3] -> CONV3-4").plan()
    with pytest.raises(NeocogError, match=r"one for each image\n  received: an output of 8x8x4"):
        measure(plan, "training", 1)


def test_a_pace_is_measured_once_for_each_machine_dtype_and_generator(measured, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(room, "measure_pace", lambda *given: (asked.append(given[:2]), measured)[1])
    found = [pace(folder=tmp_path, chosen=TWO) for _ in range(2)]
    assert len(asked) == 1
    assert found[1] == measured
    pace("bfloat16", folder=tmp_path, chosen=TWO)
    monkeypatch.setattr(room, "generator", lambda: "another")
    pace(folder=tmp_path, chosen=TWO)
    assert len(asked) == 3


def test_every_thread_adds_to_the_peak():
    assert peak(1) > 1e8


def test_all_threads_and_one_are_measured_whichever_a_network_gets(monkeypatch):
    for module in (room, room.trainer):
        monkeypatch.setattr(module, "cores", lambda: 3)
    asked = []
    monkeypatch.setattr(room, "pace", lambda dtype, threads, **_: asked.append(threads) or (dtype, threads))
    small = Network.parse("INPUT[6x6x2] -> CONV3-4 -> FC3").plan(dtype="bfloat16")
    assert room.pace_for(small) == ("bfloat16", 1)
    assert asked == [1, 3]
    large = Network.parse("INPUT[32x32x3] -> CONV3-64 -> FC3").plan(batch=64)
    assert room.pace_for(large) == ("float32", 3)
