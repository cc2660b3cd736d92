"""The plan for few images against the reference, and when it is used."""

from __future__ import annotations

import numpy as np
import pytest
import test_networks as whole
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neocog import Network, ShapeError, zoo
from neocog.native.engine import NativeNetwork
from neocog.native.jit import Machine, machine
from neocog.native.program import Program
from neocog.native.single import SinglePlan, SingleScorer
from neocog.native.stages import uncovered
from neocog.reference import forward

(LISTED,) = whole.test_scores_loss_and_gradients_are_the_references.pytestmark
TEXTS = LISTED.args[1]
MACHINE = Machine(lanes=16, registers=32)
WAITING = [  # weights are more than the first-level cache holds
    "INPUT[6x6x40] -> CONV3-45 -> RELU -> POOL2 -> FC600 -> FC3",
    "INPUT[3x40x64] -> CONV3-9 -> RELU -> CONV3-5(S=3, P=0, fit=floor) -> FC3",  # positions in lanes
]
MORE = [
    *WAITING,
    "INPUT[8x8x6] -> CONV3-6(G=6) -> RELU -> CONV3-12(G=3, S=2, P=1, fit=floor) -> CONV1-5 -> FC3",
    "INPUT[12x12x1] -> CONV3-2 -> POOL3 -> SIGMOID -> CONV3-2 -> POOL4(fit=exact) -> FC3",
    "INPUT[6x40x2] -> CONV3-3 -> POOL2 -> CONV5-3 -> RELU -> CONV3-3 -> POOL1x5 -> FC2",  # rows of some vectors
    "INPUT[70x2] -> CONV3-2 -> RELU -> CONV4-3(S=2, P=1) -> CONV3-2(G=1, D=3) -> FC200 -> TANH -> FC18",
    "INPUT[6x6x1] -> FC40 -> FC70(BIAS=no) -> LRELU(0.3) -> FC5",
]


def made(network, on=None, most=None):
    """The engine, the weights it starts with, and its plan for few images, or for as many as `most` says."""
    engine = NativeNetwork(network, 1, "sgd", on=on)
    weights = whole.drawn(network, 1)
    engine.write_weights(weights)
    plan = SinglePlan(engine.machine, network, engine.program.regions)
    plan.most = most or plan.most
    return engine, weights, plan


def assert_agrees(network, count=3, seed=0, on=None):
    """Scores by the weights as they are, and as they are after a step."""
    engine, weights, plan = made(network, on, most=3)
    x, labels = whole.batch_for(network, count, seed)
    scorer = SingleScorer(plan, engine.weights)
    assert whole.far(scorer.score(x), forward(network, weights, x).output) < whole.EXACT
    engine.train(x, labels, 0.1, 0.0, 0.0)
    assert whole.far(scorer.score(x), forward(network, engine.read_weights(), x).output) < whole.EXACT


COVERED = [text for text in (*TEXTS, *MORE) if SinglePlan.covers(Network.parse(text))]


@pytest.mark.parametrize("text", COVERED)
def test_scores_of_few_images_are_the_references(text):
    assert_agrees(Network.parse(text))


def test_networks_with_other_stages_have_no_plan_for_few_images():
    assert len(COVERED) > len(MORE) + 10
    assert not SinglePlan.covers(Network.parse("INPUT[6x6x2] -> CONV3-4 -> BN -> FC3"))


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("text", ["INPUT[10x8x3] -> CONV3-20 -> RELU -> POOL2 -> CONV3-37(S=2, P=1) -> FC5", *MORE])
def test_vectors_of_any_length_agree(text, lanes):
    assert_agrees(Network.parse(f"fit=floor {text}"), on=Machine(lanes, registers=16))


@settings(max_examples=15, derandomize=True, deadline=None)
@given(whole.networks(), st.integers(1, 3), st.integers(0, 3), st.sampled_from([4, 8, 16]))
def test_any_network_of_weighted_layers_agrees(network, count, seed, lanes):
    try:
        _ = network.shapes
    except ShapeError:
        assume(False)
    assume(not uncovered(network) and SinglePlan.covers(network))
    assert_agrees(network, count, seed, Machine(lanes, registers=32))


@pytest.mark.parametrize("name", ["lenet5-relu", "convnetjs-cifar10"])
def test_the_engine_scores_any_number_of_images(name):
    network = zoo(name)
    engine, weights, plan = made(network)
    assert 1 <= plan.most < machine().lanes
    x, _ = whole.batch_for(network, machine().lanes + 1, 0)
    expected = forward(network, weights, x).output
    for count in (1, plan.most, plan.most + 1, len(x)):
        assert whole.far(engine.score(x[:count]), expected[:count]) < whole.EXACT


def test_scores_stay_when_others_are_computed():
    engine, _, _ = made(zoo("lenet5-relu"))
    x, _ = whole.batch_for(zoo("lenet5-relu"), 2, 0)
    first = engine.score(x[:1])
    before = first.copy()
    engine.score(x[1:])
    np.testing.assert_array_equal(first, before)


def test_images_may_be_of_any_kind_and_order():
    engine, _, _ = made(zoo("convnetjs-cifar10"))
    x, _ = whole.batch_for(zoo("convnetjs-cifar10"), 2, 0)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(engine.score(last), engine.score(x))
    np.testing.assert_array_equal(engine.score(x.astype(np.float64)), engine.score(x))


def test_few_channels_on_long_rows_hold_positions_in_lanes():
    network = Network.parse("INPUT[32x32x1] -> CONV3-2 -> RELU -> CONV3-64(S=2, P=1, fit=floor) -> FC3")
    _, _, plan = made(network)
    assert plan.positions == 2  # the images and the first convolution
    assert plan.rooms[1].field.position == 1
    assert plan.rooms[2].field.channel == 1


def test_sums_wait_where_the_weights_are_too_many_for_the_cache():
    texts = (*WAITING, *MORE[-1:])
    assert [made(Network.parse(text), on=MACHINE)[2].sums > 0 for text in texts] == [True, True, False]


def test_a_network_whose_weights_fill_the_memory_is_not_read_once_for_each_image():
    networks = [Network.parse(f"INPUT[32x32x1] -> FC{units} -> FC10") for units in (64, 8500)]
    plans = [SinglePlan(MACHINE, network, Program(MACHINE, network, "cross-entropy").regions) for network in networks]
    assert plans[0].most > plans[1].most
