"""What is alive when, worked out by hand. Bytes of float32 volumes, one image, on top of what outlasts a step."""

from __future__ import annotations

import pytest

from neocog import Network, zoo
from neocog.layers._window import ONEDNN_KERNELS
from neocog.plan.tables import timeline_cells
from neocog.plan.timeline import PREDICTED, TRAINED

NET = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"  # 76 and 111 parameters
BATCH = 4 * 72 + 8

CONV_IN, CONV_OUT, POOLED, SWITCHES, SCORES = 4 * 72, 4 * 144, 4 * 36, 8 * 36, 4 * 3
WEIGHTS = 4 * 72  # the convolution's, without its bias


def beyond(timeline, outlasting):
    return [(moment.phase, moment.layer, moment.bytes - outlasting) for moment in timeline.moments]


def test_a_training_step_of_a_chain():
    after_forward = CONV_IN + CONV_OUT + SWITCHES + POOLED + SCORES  # image, RELU's output, switches, rows for FC
    after_fc = after_forward - POOLED + POOLED + 4 * 111  # the rows have gone, their gradient has come
    after_pool = after_fc - SWITCHES - POOLED + CONV_OUT
    plan = Network.parse(NET).plan()
    outlasting = 2 * 4 * 187 + ONEDNN_KERNELS + BATCH + 5 * TRAINED  # with momentum
    assert beyond(plan.training, outlasting) == [
        ("forward", "input", CONV_IN),  # a copy, channels last
        ("forward", "conv1", CONV_IN + CONV_OUT + WEIGHTS),  # laid out anew
        ("forward", "relu1", CONV_IN + 2 * CONV_OUT),
        ("forward", "pool1", CONV_IN + CONV_OUT + POOLED + SWITCHES),  # the convolution's output is kept by nobody
        ("forward", "fc1", CONV_IN + CONV_OUT + SWITCHES + 2 * POOLED + SCORES),
        ("backward", "fc1", after_forward + SCORES + POOLED + 4 * 111),
        ("backward", "pool1", after_fc + CONV_OUT + SWITCHES + CONV_OUT),  # with the switches laid out as FC's gradient
        ("backward", "relu1", after_pool + CONV_OUT),
        ("backward", "conv1", after_pool - CONV_OUT + 4 * 76 + 2 * WEIGHTS),  # an image needs no gradient
        ("update", "fc1", SCORES + 4 * 187),
    ]
    assert plan.training.peak[:2] == ("backward", "pool1")


def test_predicting_holds_only_what_is_still_to_be_read():
    plan = Network.parse(NET).plan()
    outlasting = 4 * 187 + WEIGHTS + ONEDNN_KERNELS // 2 + BATCH - 8 + 5 * PREDICTED  # weights laid out once, for good
    assert beyond(plan.inference, outlasting) == [
        ("forward", "input", CONV_IN),
        ("forward", "conv1", CONV_IN + CONV_OUT),
        ("forward", "relu1", CONV_IN + CONV_OUT),  # in the same pass
        ("forward", "pool1", CONV_IN + CONV_OUT + POOLED + SWITCHES),
        ("forward", "fc1", CONV_IN + 2 * POOLED + SCORES),
    ]


def test_predicting_holds_weights_twice_where_they_are_changed():
    parts = ("CONV3-4(BIAS=no) -> BN", "FC5 -> BN", "FC5")
    convolution, folded, shared = (Network.parse(f"INPUT[6x6x2] -> {part}").plan().inference.parts for part in parts)
    beside = PREDICTED + ONEDNN_KERNELS // 2
    assert convolution["conv1"] == 4 * 2 * 72 + beside + CONV_OUT
    assert folded["fc1"] - shared["fc1"] == 4 * (72 * 5 + 5)


def test_branches_share_a_gradient_and_add_theirs_in_place():
    plan = Network.parse("INPUT[4x4x1] -> CONV1-2 -> ADD[ RELU | ID ] -> GAP").plan(optimizer="sgd")
    volume, scores, weights, parameters = 4 * 32, 4 * 2, 4 * 2, 4 * 4
    outlasting = parameters + ONEDNN_KERNELS + 4 * 16 + 8 + 6 * TRAINED
    assert beyond(plan.training, outlasting) == [
        ("forward", "input", 0),  # one channel lies alike in both orders
        ("forward", "conv1", volume + weights),
        ("forward", "relu1", 2 * volume),
        ("forward", "id1", 2 * volume),
        ("forward", "add1", 3 * volume),
        ("forward", "gap1", 2 * volume + scores),  # RELU's output and the sum
        ("backward", "gap1", 2 * volume + 2 * scores),  # RELU's output and the sum's gradient
        ("backward", "add1", 2 * volume + scores),
        ("backward", "id1", 2 * volume + scores),
        ("backward", "relu1", 3 * volume + scores),
        ("backward", "conv1", volume + scores + parameters + 2 * weights),
        ("update", "gap1", scores + parameters),
    ]


def test_a_gradient_that_another_branch_still_needs_is_added_to_a_new_volume():
    plan = Network.parse("INPUT[4x4x1] -> CONV1-2 -> ADD[ RELU | ID | ID ] -> GAP").plan(optimizer="sgd")
    added = [m for m in plan.training.moments if m[:2] == ("backward", "conv1")]
    assert (
        len(added) == 2
    )  # the two ID give the same block, which RELU has yet to read, and then the layer's own moment
    assert added[0].bytes - added[1].bytes > 0


def test_side_branches_are_alive_only_in_training():
    plan = zoo("googlenet-aux").plan()
    without = zoo("googlenet").plan()
    parameters = plan.totals["parameters"] - without.totals["parameters"]
    layers = len(plan.rows) - len(without.rows)
    assert plan.inference.peak.bytes - without.inference.peak.bytes == 4 * parameters + layers * PREDICTED
    assert plan.training.peak.bytes > without.training.peak.bytes


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "googlenet", "inception-v3-aux"])
def test_the_parts_of_the_layers_are_the_peak(name):
    plan = zoo(name).plan(batch=8)
    for timeline in (plan.training, plan.inference):
        assert sum(timeline.parts.values()) == timeline.peak.bytes
        assert min(timeline.parts.values()) >= 0


def test_every_moment_grows_by_the_same_number_with_every_image():
    network = zoo("convnetjs-cifar10")
    one, two, ten = ([m.bytes for m in network.plan(batch=batch).training.moments] for batch in (1, 2, 10))
    assert ten == [a + 9 * (b - a) for a, b in zip(one, two, strict=True)]


def test_bfloat16_halves_volumes_and_keeps_parameters():
    network = Network.parse("INPUT[64x64x1] -> [CONV3-16 -> RELU]*3 -> GAP -> FC10")
    single, half = (network.plan(batch=64, dtype=dtype).training.peak.bytes for dtype in ("float32", "bfloat16"))
    assert 0.5 < half / single < 0.6


def test_optimizers_differ_by_their_state():
    sgd, momentum, adam = (zoo("alexnet").plan(optimizer=o).training.peak.bytes for o in ("sgd", "momentum", "adam"))
    assert (momentum - sgd, adam - sgd) == (4 * 60_965_224, 8 * 60_965_224)


def test_the_timeline_as_text_names_each_layer_and_its_share_of_the_peak():
    plan = Network.parse(NET).plan(batch=1024)
    rows = timeline_cells(plan, plan.training)
    assert [row[:3] for row in rows[:2]] == [("forward", "input", "INPUT[6x6x2]"), ("forward", "conv1", "CONV3-4")]
    assert [row[:2] for row in rows if row[4] == "100%"] == [("backward", "pool1")]
    assert rows[6][3] == "3.4 MiB"


def test_what_filtering_holds_of_a_batch_is_bounded():
    network = Network.parse("INPUT[16x16x64] -> CONV3-64")
    batches = (8, 16, 128, 256, 512, 1024)
    sizes = [network.plan(batch=batch).training.moments[2].bytes for batch in batches]
    few, many, more = ((b - a) / n for a, b, n in zip(sizes[::2], sizes[1::2], batches[::2], strict=True))
    assert more == many < few
