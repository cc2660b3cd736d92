"""The plan for few images against the reference, and when it is used."""

from __future__ import annotations

import numpy as np
import pytest
import test_networks as whole
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import networks

from neocog import Network, ShapeError, zoo
from neocog.native import one_image_sums
from neocog.native.engine import NativeNetwork
from neocog.native.jit import Machine, machine
from neocog.native.layout import aligned
from neocog.native.one_image_tasks import covers, tasks_of
from neocog.native.parameters import write
from neocog.native.program import Program
from neocog.native.single import SinglePlan, SingleScorer
from neocog.native.stages import uncovered
from neocog.reference import forward
from neocog.torch_engine import build

(LISTED,) = whole.test_scores_loss_and_gradients_are_the_references.pytestmark
TEXTS = LISTED.args[1]
MACHINE = Machine(lanes=16, registers=32)
WIDER = [
    "INPUT[10x8x3] -> CONV3-20 -> RELU -> POOL2 -> CONV3-37(S=2, P=1) -> FC5",
    "INPUT[6x6x40] -> CONV3-45 -> RELU -> POOL2 -> FC600 -> FC3",
    "INPUT[3x40x64] -> CONV3-9 -> RELU -> CONV3-5(S=3, P=0) -> FC3",
    "INPUT[8x8x6] -> CONV3-6(G=6) -> RELU -> CONV3-12(G=3, S=2, P=1) -> CONV1-5 -> FC3",
    "INPUT[12x12x1] -> CONV3-2 -> POOL3 -> SIGMOID -> CONV3-2 -> POOL4 -> FC3",
    "INPUT[6x40x2] -> CONV3-3 -> POOL2 -> CONV5-3 -> RELU -> CONV3-3 -> POOL1x5 -> FC2",  # rows of some vectors
    "INPUT[70x2] -> CONV3-2 -> RELU -> CONV4-3(S=2, P=1) -> CONV3-2(G=1, D=3) -> FC200 -> TANH -> FC18",
    "INPUT[6x6x1] -> FC40 -> FC70(BIAS=no) -> LRELU(0.3) -> FC5",
    # depthwise convolutions, with and without bias, dilation, stride, and pooling behind
    "INPUT[9x7x3] -> CONV3-37 -> BN -> RELU -> CONV3-37(G=37, S=2, BIAS=no) -> BN -> RELU -> CONV1-9 -> FC3",
    "INPUT[8x8x5] -> CONV3-5(G=5, D=2) -> GELU -> CONV3-5(G=5) -> POOL2 -> TANH -> CONV3-20(G=5) -> BN -> FC3",
    # shortcuts: identity, padded with zeros, projected; before and behind the activation function
    "INPUT[9x9x3] -> CONV3-21 -> [ADD[CONV3-21 -> BN -> RELU -> CONV3-21 -> BN | ID] -> RELU]*2 -> GAP -> FC3",
    "INPUT[9x8x3] -> CONV3-5 -> ADD[CONV3-21(S=2) -> BN | SHORTCUT(K=21)] -> SIGMOID -> GAP -> FC3",
    "INPUT[9x8x3] -> CONV3-5 -> ADD[CONV3-21(S=2) -> BN | CONV1-21(S=2) -> BN] -> RELU -> AVGPOOL4(S=1) -> FC3",
    "INPUT[6x7x3] -> CONV3-18 -> ADD[BN -> RELU -> CONV3-18 -> BN -> RELU -> CONV3-18 | ID] -> BN -> RELU -> FC3",
    "INPUT[6x7x3] -> CONV3-8 -> SHORTCUT(K=21) -> SIGMOID -> ADD[SHORTCUT(K=37) | SHORTCUT(K=37)] -> TANH -> FC3",
    "INPUT[6x6x3] -> CONV3-8 -> ADD[ID | ID | TANH] -> ADD[BN | POOL3(S=1, P=1) | BN] -> RELU -> GAP -> FC3",
    # rows of whole vectors and of some, whose sums take shortcuts in
    "INPUT[8x36x1] -> CONV3-3 -> ADD[CONV3-3 -> BN -> RELU -> CONV3-3 -> BN | ID] -> RELU -> POOL2 -> CONV3-40 -> FC3",
    "INPUT[32x32x1] -> CONV3-3 -> RELU -> ADD[CONV3-3 | CONV1-3] -> SUBSAMPLE2 -> TANH -> POOL3(S=2, P=1) -> FC3",
    # concatenation of parts that are no whole vectors
    "INPUT[7x7x3] -> CONV3-5 -> CONCAT[CONV1-3 -> BN | ID | CONV3-17 -> RELU | POOL3(S=1, P=1)] -> BN -> RELU -> FC3",
    "INPUT[9x3] -> CONV3-20 -> CONCAT[CONV3-9(G=1) -> GELU | SILU -> DROPOUT] -> PRELU -> AVGPOOL3 -> CONV1-4 -> FC3",
    "INPUT[8x36x3] -> CONCAT[CONV3-2 -> RELU | ID | AVGPOOL3(S=1, P=1)] -> CONV3-2 -> ADD[ID | POOL3(S=1, P=1)] -> FC3",
    # pooling of all kinds, and what follows it
    "INPUT[12x12x3] -> CONV3-17 -> BN -> RELU -> AVGPOOL2 -> CONV3-20 -> BN -> LRELU(0.2) -> POOL3 -> L2POOL2 -> FC3",
    "INPUT[11x9x3] -> CONV3-17 -> POOL3(S=2) -> AVGPOOL3(S=2, P=1) -> SUBSAMPLE2(S=1, P=1) -> TANH -> FC3",
    "INPUT[8x8x20] -> FILTER(gaussian) -> AVGPOOL8 -> DROPOUT -> FC20 -> PRELU -> FC5 -> SOFTMAX",
    "INPUT[8x8x3] -> CONV3-40 -> SOFTMAX -> CONV3-16 -> SOFTMAX -> GAP -> FC33 -> SOFTMAX",
    "INPUT[6x6x2] -> FC84 -> SCALEDTANH -> RBF10",
]
MORE = [f"fit=floor {text}" for text in WIDER]


def made(network):
    """The engine, the weights it starts with, and its plan for few images."""
    engine = NativeNetwork(network, 1, "sgd")
    weights = whole.drawn(network, 1)
    engine.write_weights(weights)
    return engine, weights, SinglePlan(engine.machine, network, engine.program.regions)


def assert_agrees(network, count=3, seed=0, on=None):
    """Scores by weights in a memory, and by others that take their place. Nothing is compiled that trains."""
    on = on or machine()
    program = Program(on, network, "cross-entropy")
    plan, held = SinglePlan(on, network, program.regions), aligned(program.parameters + on.lanes)
    plan.most = count
    scorer = SingleScorer(plan, held)
    x, _ = whole.batch_for(network, count, seed)
    for other in (1, 2):
        weights = whole.drawn(network, other)
        write(network, program.regions, held, weights)
        scorer.pack()
        assert whole.far(scorer.score(x), forward(network, weights, x).output) < whole.EXACT


COVERED = [text for text in (*TEXTS, *MORE) if covers(Network.parse(text))]


@pytest.mark.parametrize("text", COVERED)
def test_scores_of_few_images_are_the_references(text):
    assert_agrees(Network.parse(text))


def test_all_of_these_have_a_plan_for_few_images():
    assert set(MORE) <= set(COVERED)
    assert len(COVERED) > len(MORE) + 30


@pytest.mark.parametrize(
    "layer", ["LRN", "LCN3", "GROUPNORM(G=2)", "LOCAL3-4", "UPSAMPLE2", "STOPOOL2", "DECONV3-4", "SPP(2, 1)"]
)
def test_networks_with_other_layers_have_none(layer):
    network = Network.parse(f"INPUT[6x6x2] -> CONV3-4 -> {layer} -> FC3")
    engine, weights = NativeNetwork(network, 1, "sgd"), whole.drawn(network, 1)
    engine.write_weights(weights)
    x, _ = whole.batch_for(network, 1, 0)
    assert not covers(network)
    assert whole.far(engine.score(x), forward(network, weights, x).output) < whole.EXACT


def test_what_leads_to_no_score_is_left_out():
    network = Network.parse("INPUT[8x8x3] -> CONV3-4 -> AUX(0.4)[LRN -> FC4] -> RELU -> FC4")
    assert covers(network)
    assert [task.stage.node.layer.op for task in tasks_of(network)[1:]] == ["CONV", "FC"]
    assert_agrees(network)


@pytest.mark.parametrize(("text", "lanes"), [(text, (4, 8)[k % 2]) for k, text in enumerate(MORE)])
def test_shorter_vectors_agree(text, lanes):
    assert_agrees(Network.parse(text), on=Machine(lanes, registers=16))


@pytest.mark.parametrize("text", MORE)
def test_inputs_and_weights_that_no_cache_holds_change_nothing(text, monkeypatch):
    monkeypatch.setattr(one_image_sums, "LARGE_BYTES", 0)
    monkeypatch.setattr(one_image_sums, "CACHE_BYTES", 0)
    assert_agrees(Network.parse(text))


BLOCKS = (
    "ADD[CONV3-{k}(S=1) -> BN -> RELU -> CONV3-{k}(S=1) -> BN | ID] -> RELU",
    "ADD[CONV3-{n}(S=2, P=1) -> BN -> RELU -> CONV3-{n}(S=1) | SHORTCUT(K={n}, S=2)] -> TANH",
    "ADD[CONV3-{n}(S=2, P=1) -> BN | CONV1-{n}(S=2) -> BN] -> RELU",
    "ADD[BN -> RELU -> CONV1-{k} -> BN -> GELU -> CONV3-{k}(S=1) | ID]",
    "CONV3-{k}(G={k}, S=2, P=1) -> BN -> RELU -> CONV1-{n} -> BN -> LRELU(0.1)",
    "CONCAT[CONV1-{m} -> RELU | CONV3-{m}(S=1) -> BN | POOL3(S=1, P=1) | ID] -> CONV1-{n}",
    "CONV5-{n}(P=2, D=1) -> SUBSAMPLE2 -> SCALEDTANH",
    "CONV3-{n}(D=2, P=2) -> BN -> SIGMOID -> AVGPOOL3(S=2, P=1)",
    "BN -> PRELU -> POOL2 -> DROPOUT -> SILU",
)


@st.composite
def graphs(draw):
    """A network of some blocks; `k` channels come into each, `n` go out."""
    size = "x".join(str(draw(st.integers(5, 20))) for _ in range(draw(st.sampled_from([1, 2]))))
    k = draw(st.integers(1, 19))
    parts = [
        f"fit={draw(st.sampled_from(['floor', 'ceil']))} INPUT[{size}x{draw(st.integers(1, 4))}] -> CONV3-{k}(S=1)"
    ]
    for block in draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3)):
        n, m = k + draw(st.integers(0, 20)), draw(st.integers(1, 9))
        parts.append(block.format(k=k, n=n, m=m))
        k = n if "{n}" in block else k
    ending = draw(st.sampled_from(["FC3", "GAP -> FC3 -> SOFTMAX", "FC84 -> TANH -> RBF10", "FC20 -> SOFTMAX"]))
    return Network.parse(" -> ".join([*parts, ending]))


@settings(max_examples=12, derandomize=True, deadline=None)
@given(st.one_of(networks(), graphs()), st.integers(1, 3), st.integers(0, 3), st.sampled_from([4, 8, 16]))
def test_any_network_that_is_covered_agrees(network, count, seed, lanes):
    try:
        _ = network.shapes
    except ShapeError:
        assume(False)
    assume(not uncovered(network) and covers(network))
    assert_agrees(network, count, seed, Machine(lanes, registers=32))


def test_deep_normalized_networks_are_as_exact_as_torch():
    network = zoo("resnet20")
    weights = whole.drawn(network, 1)
    engine = NativeNetwork(network, 1, "sgd")
    engine.write_weights(weights)
    x, _ = whole.batch_for(network, 1, 0)
    expected = forward(network, weights, x).output
    with torch.inference_mode():
        others = build(network, weights=weights).eval()(torch.from_numpy(x)).numpy()
    assert whole.far(engine.score(x), expected) <= 2 * whole.far(others, expected)


@pytest.mark.parametrize("name", ["lenet5-relu", "lenet5", "convnetjs-cifar10"])
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


def test_weights_are_taken_anew_when_they_have_changed():
    network = Network.parse("INPUT[6x7x2] -> CONV3-5 -> BN -> RELU -> FC3")
    engine, weights, _ = made(network)
    x, labels = whole.batch_for(network, 2, 0)
    assert whole.far(engine.score(x[:1]), forward(network, weights, x[:1]).output) < whole.EXACT
    engine.train(x, labels, 0.5, 0.0, 0.0)
    assert whole.far(engine.score(x[:1]), forward(network, engine.read_weights(), x[:1]).output) < whole.EXACT
    engine.write_weights(weights)
    assert whole.far(engine.score(x[:1]), forward(network, weights, x[:1]).output) < whole.EXACT


def test_few_channels_on_long_rows_hold_positions_in_lanes():
    network = Network.parse("INPUT[32x32x1] -> CONV3-2 -> RELU -> CONV3-64(S=2, P=1, fit=floor) -> FC3")
    _, _, plan = made(network)
    assert plan.positions == 2  # the images and the first convolution
    assert plan.rooms[1, True].field.position == 1
    assert plan.rooms[2, False].field.channel == 1


def test_a_residual_network_is_one_task_for_each_convolution():
    tasks = tasks_of(zoo("resnet20"))
    ops = [task.stage.node.layer.op for task in tasks[1:]]
    assert ops == [*["CONV"] * 8, "ADD", *["CONV"] * 6, "ADD", *["CONV"] * 5, "GAP", "FC"]  # sums: two shortcuts
    assert sum(follow.added is not None for task in tasks for follow in task.follows) == 9


def test_lenet_is_one_task_for_each_layer_with_products():
    assert [task.stage.node.layer.op for task in tasks_of(zoo("lenet5"))[1:]] == [*["CONV"] * 3, "FC", "RBF"]


def test_a_network_whose_weights_fill_the_memory_is_not_read_once_for_each_image():
    networks = [Network.parse(f"INPUT[32x32x1] -> FC{units} -> FC10") for units in (64, 8500)]
    plans = [SinglePlan(MACHINE, network, Program(MACHINE, network, "cross-entropy").regions) for network in networks]
    assert plans[0].most > plans[1].most
