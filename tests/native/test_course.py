"""The native engine's predicted step on a machine made up, whose numbers a person can work out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neocog import NeocogError, Network, zoo
from neocog.native.effort import Effort
from neocog.native.jit import Machine, machine
from neocog.native.pace import BACKWARD, FEW, FORWARD, KINDS, REST, UPDATE, BlockCourse, Pace, course_of, step_time
from neocog.plan.time import MODES, operations

NET = "INPUT[8x8x3] -> CONV3-4 -> BN -> ADD[ CONV3-4 -> BN | ID ] -> RELU -> POOL2 -> FC3"
PLAIN = (1.0, 0.0, 0.0)
PACE = Pace(
    machine="one made up",
    threads=1,
    dtype="float32",
    rate=1e9,
    costs=dict.fromkeys(Effort._fields, 0.0) | {"products": 1e-9},
    narrow={"2": 1.0, "4": 1.0},
    together=dict.fromkeys(KINDS, PLAIN),
    spread=dict.fromkeys(KINDS, 0.0),
)
LANES = 16
ON = Machine(LANES, 32)


def course(batch: int, threads: int, mode: str = "training", text: str = NET) -> BlockCourse:
    return BlockCourse(Network.parse(text).plan(batch=batch, optimizer="nesterov"), mode, threads, ON)


@pytest.mark.parametrize(("batch", "threads", "turns"), [(16, 1, 1), (64, 1, 4), (64, 2, 2), (80, 2, 3), (1, 2, 1)])
def test_the_busiest_thread_sets_how_often_a_block_is_run(batch, threads, turns):
    for mode in MODES:
        made = course(batch, threads, mode)
        assert {task.times for task in made.tasks if task.where in (FORWARD, BACKWARD) and not task.numbers} == {turns}
        assert {task.times for task in made.tasks if task.where == UPDATE} <= {1 / threads}


def test_a_training_step_has_every_call_of_the_program():
    made = course(32, 2)
    called = {id(task.call) for task in made.tasks}
    program = made.program
    expected = [
        *program.packs,
        *(pack for segment in program.segments for pack in segment.packs),
        *(c for c in (*program.forward, *program.backward) if hasattr(c, "function")),
    ]
    assert {id(call) for call in expected if not call.predicting} <= called
    assert {task.where for task in made.tasks} == {FORWARD, BACKWARD, UPDATE, REST}


def test_layers_take_the_time_of_their_products_and_the_rest_is_counted_once():
    plan = Network.parse("INPUT[6x6x16] -> FC32 -> FC8").plan(batch=16)
    step = step_time(plan, PACE, "inference")
    lanes = machine().lanes
    blocks = 16 // lanes
    products = {layer.name: round(layer.forward / 1e-9) for layer in step.layers}
    assert products == {"input": 0, "fc1": 576 * 32 * blocks, "fc2": 32 * 8 * blocks}
    assert step.engine == "native"
    assert step.seconds == pytest.approx(sum(layer.seconds for layer in step.layers) + step.overhead)


def test_few_images_run_one_after_the_other_by_their_own_plan():
    network = Network.parse("INPUT[12x12x4] -> CONV3-8 -> RELU -> CONV3-8 -> RELU -> FC5")
    one, three = (course_of(network.plan(batch=batch), "inference", 2, ON) for batch in (1, 3))
    assert (one.kind, three.kind) == (FEW, FEW)
    assert {task.layer for task in one.tasks} == {"conv1", "conv2", "fc1"}
    assert [3 * effort.products for effort in one.efforts] == [effort.products for effort in three.efforts]
    assert course_of(network.plan(batch=64), "inference", 2, ON).kind == "inference"
    assert course_of(network.plan(batch=1), "training", 2, ON).kind == "training"


def test_weights_of_a_whole_step_count():
    plan = Network.parse(NET).plan(batch=64)
    alone, _, bytes_ = course_of(plan, "training", 1).alone(PACE)
    slower = replace(PACE, together=dict.fromkeys(KINDS, (2.0, 1e-3, 1e-12)))
    assert step_time(plan, slower).seconds == pytest.approx(2 * alone + 1e-3 + 1e-12 * bytes_)


def test_the_least_time_is_that_of_the_operations_of_the_plan():
    plan = zoo("lenet5-relu").plan(batch=2)
    step = step_time(plan, PACE)
    assert [layer.ideal for layer in step.layers] == pytest.approx((operations(plan, "training") / 1e9).tolist())
    macs = {row.name: row.cost.macs for row in plan.rows}
    found = dict(zip(macs, operations(plan, "training"), strict=True))
    assert found["conv1"] == 2 * 2 * 2 * macs["conv1"]  # no gradient of the images
    assert found["conv2"] == 3 * 2 * 2 * macs["conv2"]


def test_what_is_off_widens_the_interval():
    plan = Network.parse(NET).plan()
    narrow, wide = step_time(plan, PACE), step_time(plan, replace(PACE, spread=dict.fromkeys(KINDS, 0.5)))
    assert narrow.interval[1] < wide.interval[1]


def test_what_cannot_be_predicted_is_said():
    with pytest.raises(NeocogError, match=r"for float32\n  received: a plan for bfloat16"):
        step_time(Network.parse(NET).plan(dtype="bfloat16"), PACE)
    with pytest.raises(NeocogError, match="mode is one of inference, training"):
        step_time(Network.parse(NET).plan(), PACE, "sleeping")


@pytest.mark.parametrize(
    "damage",
    [{"rate": 0.0}, {"rate": float("nan")}, {"costs": {}}, {"together": {"training": (1, 2)}}, {"spread": {"a": -1.0}}],
)
def test_a_damaged_pace_is_refused(damage):
    assert Pace.from_dict(PACE.as_dict()) == PACE
    with pytest.raises((ValueError, TypeError, KeyError)):
        Pace.from_dict({**PACE.as_dict(), **damage})
