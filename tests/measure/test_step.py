from __future__ import annotations

import math

import pytest

from neocog import NeocogError, Network
from neocog.measure.clock import Load, typical
from neocog.measure.time import Comparison, Measured, compare, measure
from neocog.plan.calibration import Calibration
from neocog.plan.time import MODES, step_time

NET = "INPUT[8x8x3] -> CONV3-4 -> BN -> ADD[ CONV3-4 -> RELU | ID ] -> DROPOUT -> POOL2 -> AUX(0.3)[ FC3 ] -> FC3"
MACHINE = Calibration(
    machine="one made up",
    threads=1,
    dtype="float32",
    flops=1e9,
    bandwidth=((1e3, 1e9),),
    overhead={},
    page=0.0,
    step={"inference": 0.0, "training": 0.0},
    update={"momentum": 0.0},
    update_array=0.0,
    together={},
    spread={},
    samples=(),
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_is_measured_with_every_layer_once(mode, dtype):
    plan = Network.parse(NET).plan(batch=2, dtype=dtype)
    found = measure(plan, mode, "cpu", seconds=0.01)
    assert list(found.layers) == [row.name for row in plan.rows]
    idle = {name for name, (forward, _) in found.layers.items() if not forward}
    # side branches do not run in prediction, and two layers run in the convolution's pass
    assert idle == ({"fc1", "aux1", "bn1", "relu1"} if mode == "inference" else set())
    assert all(0 <= forward < math.inf for forward, _ in found.layers.values())
    assert 0 < found.seconds < math.inf
    backwards = {name for name, (_, backward) in found.layers.items() if backward}
    # ID and AUX hand on what they get, and INPUT needs no gradient
    assert backwards == (set(found.layers) - {"input", "id1", "aux1"} if mode == "training" else set())
    assert (found.update > 0) == (mode == "training")


def test_prediction_and_measurement_stand_side_by_side():
    plan = Network.parse(NET).plan(batch=2)
    found = compare(plan, MACHINE, "training", "cpu", seconds=0.01)
    assert [row.name for row in found.rows] == [row.name for row in plan.rows]
    assert [row.predicted for row in found.rows] == [t.seconds for t in step_time(plan, MACHINE).layers]
    document = found.as_dict()
    assert [layer["name"] for layer in document["layers"]] == [row.name for row in plan.rows]
    assert document["measured"]["seconds"] == found.measured.seconds


def test_the_share_of_the_roofline_is_of_what_was_measured_and_the_words_say_how_far_off():
    plan = Network.parse("INPUT[8x8x3] -> RELU").plan(batch=2)
    predicted = step_time(plan, MACHINE, "inference")  # 2 x 1,536 bytes for each of two layers
    layers = {"input": (predicted.layers[0].ideal, 0.0), "relu1": (4 * predicted.layers[1].ideal, 0.0)}
    quiet = Comparison(plan, predicted, Measured(2 * predicted.seconds, layers, 0.0, None))
    assert [row.share for row in quiet.rows] == [1.0, 0.25]
    assert quiet.summary() == [
        "inference by torch, batch 2, float32: predicted 6.14 us a step (3.18 us to 11.9 us), 325,520.8 images/s",
        "measured 12.3 us, 162,760.4 images/s: the prediction is 50% too low",
    ]
    busy = Comparison(plan, predicted, Measured(predicted.seconds, layers, 0.0, 1.25))
    assert busy.summary()[-1] == "other programs used 1.2 processor cores meanwhile"


def test_training_is_not_measured_where_images_have_no_class():
    plan = Network.parse("INPUT[8x8x3] -> CONV3-4").plan()
    with pytest.raises(NeocogError, match=r"one for each image\n  received: an output of 8x8x4"):
        measure(plan, "training", "cpu")
    assert measure(plan, "inference", "cpu", seconds=0.01).seconds > 0


def test_the_typical_time_is_the_median_of_the_faster_half():
    assert typical([9.0, 1.0, 2.0, 3.0, 8.0]) == 2.0
    assert typical([5.0]) == 5.0
    assert Load().others is None
