"""Receptive fields: by rule, and by looking at which pixels really matter."""

import numpy as np
import pytest

from neocog import Network, reference, zoo
from neocog.initialise import initialise


def field(text: str, name: str) -> tuple[float, float | None, float]:
    axis = Network.parse(text).plan()[name].field[0]
    return axis.size, axis.jump, axis.start


def test_stacked_small_kernels_see_like_one_large_one():  # fact C11
    assert field("INPUT[32x32x1] -> [CONV3-1]*2", "conv2")[0] == 5
    assert field("INPUT[32x32x1] -> [CONV3-1]*3", "conv3")[0] == 7


def test_dilation_makes_the_view_grow_exponentially():  # facts C9, C11
    text = "INPUT[64x64x1] -> CONV3-1 -> CONV3-1(D=2) -> CONV3-1(D=4) -> CONV3-1(D=8)"
    assert [field(text, f"conv{k}")[0] for k in (1, 2, 3, 4)] == [3, 7, 15, 31]


def test_vgg16_anchor():  # fact C11: size 212, stride 32, padding 90
    axis = zoo("vgg16").plan()["pool5"].field[0]
    padding = (axis.size - 1) / 2 - axis.start
    assert (axis.size, axis.jump, padding) == (212, 32, 90)


def test_alexnet_anchor():  # fact C11: size 195, stride 32; the unpadded first layer shifts the first view
    axis = zoo("alexnet").plan()["pool3"].field[0]
    assert (axis.size, axis.jump) == (195, 32)


def padding(axis) -> float:
    """How far the first position's view reaches beyond the image."""
    return -axis.reach[0]


@pytest.mark.parametrize(
    ("name", "layer", "size", "jump", "before"),
    [
        ("alexnet-one", "pool3", 195, 32, 2 + 2 * 8 + 3 * 16),
        # 7x7/2, pooling, 4 x 3x3; then in each of three stages one 3x3 of stride 2 and three more
        ("resnet18", "relu17", 11 + 4 * 8 + (8 + 3 * 16) + (16 + 3 * 32) + (32 + 3 * 64), 32, 217),
        # to the second pooling 27; the 5x5 of two, five and two modules, and two poolings
        ("googlenet", "concat9", 27 + 2 * 32 + 16 + 5 * 64 + 32 + 2 * 128, 32, 327),
        ("all-cnn-c", "conv7", 7 + 3 * 4 + 8, 4, 13),
        ("inception-v3", "concat15", 1311, 32, 618),  # both as in the Distill paper's table
        ("inception-v4", "concat25", 2071, 32, 998),
    ],
)
def test_anchors_of_well_known_networks(name, layer, size, jump, before):  # fact C11
    axis = zoo(name).plan()[layer].field[0]
    assert (axis.size, axis.jump, padding(axis)) == (size, jump, before)


SLIM_ALEXNET = (
    "INPUT[227x227x3] -> CONV11-64(S=4, P=0) -> POOL3(S=2) -> CONV5-192 -> POOL3(S=2) "
    "-> [CONV3-384]*2 -> CONV3-256 -> POOL3(S=2)"
)
SLIM_RESNET = """fit=floor
def unit(s) = ADD[ CONV1-8 -> CONV3-8(S=s) -> CONV1-8 | CONV1-8(S=s) ]
INPUT[225x225x3] -> CONV7-8(S=2) -> POOL3(S=2)
-> [unit(1)]*2 -> unit(2) -> [unit(1)]*3 -> unit(2) -> [unit(1)]*N -> unit(2) -> [unit(1)]*3"""


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        (SLIM_ALEXNET, {}, (195, 32, 64)),
        (SLIM_RESNET, {"N": 5}, (483, 32, 239)),  # ResNet-50, the stride in the last unit of a block
        (SLIM_RESNET, {"N": 22}, (1027, 32, 511)),  # ResNet-101
    ],
    ids=["alexnet_v2", "resnet_v1_50", "resnet_v1_101"],
)
def test_anchors_of_other_definitions(text, variables, expected):  # fact C11; the Distill paper's table
    axis = Network.parse(text, **variables).plan().rows[-1].field[0]
    assert (axis.size, axis.jump, padding(axis)) == expected


@pytest.mark.parametrize("name", ["dilated-context", "dilated-context-large"])
def test_the_context_module_sees_what_its_paper_prints(name):  # facts C9, C11
    plan = zoo(name).plan()
    sizes = [row.field[0].size for row in plan.rows if row.node.layer.op == "CONV"]
    assert sizes == [3, 5, 9, 17, 33, 65, 67, 67]


def test_fully_connected_layers_see_everything_before_them():
    assert field("INPUT[28x28x1] -> CONV5-6(P=0) -> POOL2 -> FC10", "fc1")[0] == 28


NETWORKS = [
    "INPUT[15x17x2] -> CONV3-2(S=2, P=1) -> RELU -> CONV3-2(P=0)",
    "INPUT[16x16x1] -> CONV3-2(D=2, P=0) -> POOL2 -> CONV3-2",
    "INPUT[14x18x1] -> CONV1x5-2 -> AVGPOOL2 -> CONV3x1-2(P=0)",
    "INPUT[16x16x2] -> ADD[ CONV3-2 -> CONV3-2 | CONV1-2 ] -> POOL2",
    "INPUT[16x16x2] -> CONCAT[ CONV5-1 | CONV3-2 | ID ] -> CONV3-1(S=2, fit=floor)",
    "INPUT[40x2] -> CONV5-2(P=0) -> L2POOL2 -> CONV3-2",
    "INPUT[12x12x1] -> CONV3-2 -> GAP",
]


@pytest.mark.parametrize("text", NETWORKS)
def test_the_rule_equals_what_gradients_reach(text):  # fact C11
    """An input pixel matters to a middle output position exactly when it lies in the planned view."""
    network = Network.parse(text)
    rng = np.random.default_rng(0)
    weights = {k: rng.uniform(0.5, 1.0, w.shape) for k, w in initialise(network).items()}
    spatial = network.input_shape.spatial
    x = rng.uniform(0.5, 1.0, (1, network.input_shape.channels, *spatial))
    outputs = network.shapes[-1].spatial
    reached = np.zeros(spatial, bool)
    middle = tuple(n // 2 for n in outputs)
    trace = reference.forward(network, weights, x)
    # every window is summed up over several inputs, so that max pooling's single winner is not all that is seen
    for seed in range(12):
        x = np.random.default_rng(seed).uniform(0.5, 1.0, x.shape)
        trace = reference.forward(network, weights, x)
        dy = np.zeros_like(trace.outputs[-1])
        dy[(slice(None), slice(None), *middle)] = 1.0
        dx, _ = reference.backward(trace, dy.reshape(trace.output.shape))
        reached |= np.abs(dx).sum(axis=(0, 1)) > 0
    expected = np.ones(spatial, bool)
    for axis, (planned, position) in enumerate(zip(network.plan().rows[-1].field, middle, strict=True)):
        low = planned.reach[0] + position * (planned.jump or 0)
        seen = np.arange(spatial[axis])
        inside = (seen >= low) & (seen <= low + planned.size - 1)
        expected &= inside.reshape([-1 if k == axis else 1 for k in range(len(spatial))])
    np.testing.assert_array_equal(reached, expected)
