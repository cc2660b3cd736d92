from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import MACHINE

from neocog import NeocogError, Network, zoo
from neocog.plan.budgets import BudgetError, budgets
from neocog.plan.calibration import Calibration, Sample
from neocog.plan.time import MODES, step_time
from neocog.plan.work import NEW_PAGES, PASSES, work

NET = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"  # 187 parameters in 4 arrays


def microseconds(values):
    return [round(1e6 * value, 9) for value in values]


def test_an_inference_step_is_the_sum_of_its_layers_by_operations_or_bytes():
    step = step_time(Network.parse(NET).plan(), MACHINE, "inference")
    # CONV 5,184 operations, twice, RELU in the same pass; POOL 576 + 144 bytes; FC 144 + 12 + 444 bytes
    assert microseconds(t.forward for t in step.layers) == [0.576, 10.368, 0, 0.72, 0.6]
    assert microseconds([step.seconds]) == [13.264]
    assert step.images_per_second == pytest.approx(1 / 13.264e-6)
    assert [round(t.share, 6) for t in step.layers] == [1, 0.5, 0, 1, 1]


def test_a_training_step_adds_the_way_back_and_the_update():
    step = step_time(Network.parse(NET).plan(batch=2), MACHINE)
    # twice the images; FC moves 2 x (144 + 12) + 444 bytes; INPUT has no gradient, CONV only that of its weights
    assert microseconds(t.forward for t in step.layers) == [1.152, 20.736, 2.304, 1.44, 0.756]
    assert microseconds(t.backward for t in step.layers) == [0, 20.736, 4.608, 2.88, 1.512]
    assert microseconds([step.update]) == [187 * 0.01 + 4 * 0.1]
    assert microseconds([step.overhead]) == [3]


def test_each_reader_of_a_volume_but_one_adds_its_gradient():
    shared = "INPUT[8x8x1] -> CONV3-4 -> ADD[ TANH | SIGMOID | RELU ]"
    step = step_time(Network.parse(shared).plan(), MACHINE)
    volume = 8 * 8 * 4 * 4 / 1e9
    times = {t.name: t.backward / volume for t in step.layers}
    assert times["tanh1"] == pytest.approx(4 + 3)
    assert times["sigmoid1"] == pytest.approx(4 + 3)
    assert times["relu1"] == pytest.approx(4)
    assert times["add1"] == 0


def test_side_branches_take_time_in_training_only():
    plan = Network.parse("INPUT[4x4x1] -> CONV3-2 -> AUX(0.3)[ FC2 ] -> FC2").plan()
    times = {mode: {t.name: t.seconds for t in step_time(plan, MACHINE, mode).layers} for mode in MODES}
    assert list(times["inference"]) == [row.name for row in plan.rows]
    assert times["inference"]["fc1"] == 0 < times["training"]["fc1"]
    assert times["inference"]["fc2"] > 0


def test_a_product_over_the_whole_volume_is_the_same_work_whatever_its_sides():
    flat, square = (Network.parse(f"INPUT[{shape}] -> FC20") for shape in ("1x1x144", "6x6x4"))
    works = [work(n.nodes[1].layer, n.shapes[:1], n.shapes[1], 4, "float32") for n in (flat, square)]
    assert works[0] == works[1]


def test_large_new_arrays_cost_their_pages():
    layer, shape = Network.parse("INPUT[512x512x32] -> RELU").nodes[1].layer, zoo("vgg16").shapes[0]
    shape = replace(shape, spatial=(512, 512), channels=32)  # exactly 32 MiB
    assert work(layer, [shape], shape, 1, "float32")["forward"].new_bytes == NEW_PAGES
    assert work(layer, [shape], shape, 1, "bfloat16")["forward"].new_bytes == 0


def test_convolutions_that_may_be_filtered_are_a_kind_of_their_own():
    kinds = {}
    whole, hanging = "8x8x32] -> CONV3-64", "9x9x32] -> CONV3-64"
    for text in (whole, hanging, "8x8x32] -> CONV5-64", "8x8x24] -> CONV3-64"):
        network = Network.parse(f"INPUT[{text}")
        for dtype in ("float32", "bfloat16"):
            made = work(network.nodes[1].layer, network.shapes[:1], network.shapes[1], 2, dtype)
            kinds[text, dtype] = made["backward"].op
    filtered = [key for key, kind in kinds.items() if kind != "CONV"]
    assert filtered == [(whole, "float32"), (whole, "bfloat16"), (hanging, "float32")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["lenet5", "googlenet-bn", "preact-resnet110"])
def test_the_interval_contains_the_prediction_and_no_layer_beats_the_roofline(name, mode):
    step = step_time(zoo(name).plan(batch=3), MACHINE, mode)
    low, high = step.interval
    assert 0 < low < step.seconds < high
    assert [t.name for t in step.layers] == [node.name for node in zoo(name).nodes]
    assert all(0 <= t.share <= 1 + 1e-12 for t in step.layers)


def test_layers_like_the_measured_ones_are_surer_than_others():
    network, samples = Network.parse("INPUT[16x16x8] -> CONV3-8"), []
    for channels in (2, 4, 8, 16):
        node = Network.parse(f"INPUT[16x16x8] -> CONV3-{channels}").nodes[1]
        done = work(node.layer, [network.shapes[0]], replace(network.shapes[0], channels=channels), 1, "float32")
        slowness = dict.fromkeys(PASSES, 2.0 + 0.1 * (channels % 3))
        samples.append(Sample("CONV", done["forward"].features, slowness))
    machine = replace(MACHINE, samples=tuple(samples))
    near = step_time(network.plan(), machine, "inference")
    far = step_time(Network.parse("INPUT[200x200x512] -> CONV1-512").plan(), machine, "inference")
    assert near.spread < far.spread


slowness = st.floats(0.2, 20.0)
conv_features = st.tuples(
    st.floats(0, 12), st.floats(0, 1), *[st.floats(0, 12)] * 2, st.floats(0, 7), st.floats(0, 4), st.floats(0, 3)
)
made_up = st.builds(Sample, st.just("CONV"), conv_features, st.fixed_dictionaries(dict.fromkeys(PASSES, slowness)))


@settings(max_examples=40, deadline=None)
@given(st.lists(made_up, max_size=6), st.integers(1, 100), st.integers(1, 100), st.sampled_from(MODES))
def test_more_images_never_take_less_time(samples, few, more, mode):
    machine = replace(MACHINE, samples=tuple(samples), page=1e-9)
    network = Network.parse(NET)
    steps = [step_time(network.plan(batch=batch), machine, mode) for batch in (few, few + more)]
    assert all(a.seconds <= b.seconds for a, b in zip(*(step.layers for step in steps), strict=True))
    assert steps[0].seconds <= steps[1].seconds


def test_the_calibration_is_plain_json():
    again = Calibration.from_dict(json.loads(json.dumps(MACHINE.as_dict())))
    assert again.as_dict() == MACHINE.as_dict()
    plan = Network.parse(NET).plan()
    assert step_time(plan, again) == step_time(plan, MACHINE)


@pytest.mark.parametrize(
    "damage", [{"flops": -1.0}, {"flops": float("nan")}, {"bandwidth": []}, {"page": -1.0}, {"samples": [{}]}, {"x": 1}]
)
def test_a_damaged_calibration_is_refused(damage):
    with pytest.raises((ValueError, TypeError, KeyError)):
        Calibration.from_dict({**MACHINE.as_dict(), **damage})


def test_what_cannot_be_predicted_is_said_with_what_can():
    plan = Network.parse(NET).plan(dtype="bfloat16")
    with pytest.raises(NeocogError, match=r"for float32\n  received: a plan for bfloat16"):
        step_time(plan, MACHINE)
    with pytest.raises(NeocogError, match="mode is one of inference, training"):
        step_time(Network.parse(NET).plan(), MACHINE, "sleeping")


def test_a_latency_that_is_exceeded_names_the_slowest_layer():
    plan = Network.parse(NET).plan()
    step = step_time(plan, MACHINE, "inference")
    (within,) = budgets(plan, {"latency": 14.5e-6}, step)
    (over,) = budgets(plan, {"latency": 10e-6}, step)
    assert within.ok
    assert within.value == pytest.approx(step.seconds)
    with pytest.raises(BudgetError) as caught:
        over.check(plan)
    assert str(caught.value) == (
        "13.3 us expected for a batch of 1 in float32, 3.26 us more than the 10.0 us allowed\n"
        "  try: begin with conv1, CONV3-4: it has the most, 10.4 us (78.2%)"
    )
    with pytest.raises(NeocogError, match="needs the time of a step"):
        budgets(plan, {"latency": 1.0})


def test_layers_take_longer_together_by_their_passes_and_bytes():
    network = Network.parse("INPUT[4x4x1] -> RELU")
    machine = replace(MACHINE, together={"inference": (2.0, 1e-6, 1e-9)}, spread={"inference": 0.3})
    alone, among = (step_time(network.plan(), of, "inference") for of in (MACHINE, machine))
    # 64 and 128 bytes at 1e9 a second: twice, and 1e-6 a pass, and once more the bytes
    assert microseconds(t.forward for t in alone.layers) == [0.128, 0.128]
    assert microseconds(t.forward for t in among.layers) == [0.256 + 1 + 0.128] * 2
    assert among.spread == pytest.approx((alone.spread**2 + 0.3**2) ** 0.5)
    assert step_time(network.plan(), machine) == step_time(network.plan(), MACHINE)


def test_no_layer_is_faster_than_the_roofline_among_others():
    network = Network.parse(NET)
    machine = replace(MACHINE, together={"inference": (0.1, -1e-6, 0.0)})
    step = step_time(network.plan(), machine, "inference")
    assert [round(t.share, 6) for t in step.layers] == [1, 1, 0, 1, 1]  # RELU runs in the convolution's pass
