"""The numbers that papers and lecture notes print for their networks, row by row."""

from collections import Counter
from itertools import pairwise

import pytest

from neocog import Network, zoo
from neocog.zoo import about, names, text

MIB = 2**20


def rows(plan, *ops):
    return [row for row in plan.rows if row.node.layer.op in ops]


def test_lenet5_row_by_row():  # fact L
    plan = zoo("lenet5").plan()
    table = [
        (str(row.output), row.cost.parameters, row.cost.connections)
        for row in rows(plan, "CONV", "SUBSAMPLE", "FC", "RBF")
    ]
    assert table == [
        ("28x28x6", 156, 122_304),  # C1
        ("14x14x6", 12, 5_880),  # S2
        ("10x10x16", 1_516, 151_600),  # C3
        ("5x5x16", 32, 2_000),  # S4
        ("1x1x120", 48_120, 48_120),  # C5
        ("1x1x84", 10_164, 10_164),  # F6
        ("1x1x10", 0, 840),  # output
    ]
    assert plan.totals["parameters"] == 60_000
    assert plan.totals["connections"] == 340_908
    assert plan.totals["fixed"] == 840


def test_lenet5_connection_table_is_that_of_the_paper():  # fact L: 60 pairs
    (c3,) = [node.layer for node in zoo("lenet5").nodes if getattr(node.layer, "table", None)]
    assert " ".join("".join(map(str, row)) for row in c3.table) == (
        "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
    )


def test_lenet5_neurons():  # fact L: 4,704 and 1,600 of the convolutions; 196 of S2 are those of one of its 6 maps
    plan = zoo("lenet5").plan()
    assert [plan[name].output.elements for name in ("conv1", "subsample1", "conv2")] == [4_704, 6 * 196, 1_600]


def test_vgg16_weights_of_every_layer():  # fact M1
    plan = zoo("vgg16").plan()
    biases = {row.name: row.output.channels for row in rows(plan, "CONV", "FC")}
    weights = [row.cost.parameters - biases[row.name] for row in rows(plan, "CONV", "FC")]
    assert weights == [
        1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824,
        1_179_648, 2_359_296, 2_359_296, 2_359_296, 2_359_296, 2_359_296,
        102_760_448, 16_777_216, 4_096_000,
    ]  # fmt: skip
    assert sum(weights) == 138_344_128
    assert plan.totals["parameters"] == 138_357_544


def test_vgg16_volumes():  # fact M1
    shapes = [str(row.output) for row in rows(zoo("vgg16").plan(), "INPUT", "CONV", "POOL", "FC")]
    assert shapes == [
        "224x224x3", *["224x224x64"] * 2, "112x112x64", *["112x112x128"] * 2, "56x56x128", *["56x56x256"] * 3,
        "28x28x256", *["28x28x512"] * 3, "14x14x512", *["14x14x512"] * 3, "7x7x512", *["1x1x4096"] * 2, "1x1x1000",
    ]  # fmt: skip


def test_vgg16_activations_by_both_definitions():  # fact M2: 24M does not follow from the rows; these do
    totals = zoo("vgg16").plan().totals
    assert totals["activations"] == 15_237_608
    assert totals["volumes"] == 28_801_512  # 28.8M: each ReLU and dropout output too
    assert round(totals["activations"] * 4 / MIB) == 58


def test_three_wide_convolutions_on_a_large_image():  # fact M3
    plan = Network.parse("INPUT[224x224x3] -> [CONV3-64 -> RELU]*3").plan()
    values = sum(row.output.elements for row in rows(plan, "CONV"))
    assert values == 9_633_792
    assert round(values * 2 * 4 / MIB, 1) == 73.5


def test_memory_by_kind():  # fact M4
    network = Network.parse("INPUT[32x32x3] -> CONV3-8 -> RELU -> FC10")
    plans = {name: network.plan(batch=16, optimizer=name).memory for name in ("sgd", "momentum", "adam")}
    parameters = 4 * (8 * 27 + 8 + 10 * 8192 + 10)
    assert [plans[name]["optimizer_bytes"] // parameters for name in plans] == [0, 1, 2]
    memory = plans["momentum"]
    assert memory["parameters_bytes"] == memory["parameter_gradients_bytes"] == parameters
    assert memory["activations_bytes"] == 16 * 4 * (3072 + 8192 + 10)
    assert memory["batch_bytes"] == 16 * (4 * 3072 + 8)


def test_bytes_grow_with_the_batch_and_the_type_of_volumes():
    network = zoo("vgg16")
    one, many = (network.plan(batch=n).memory["activations_bytes"] for n in (1, 64))
    assert many == 64 * one
    assert network.plan(dtype="bfloat16").memory["activations_bytes"] * 2 == one


@pytest.mark.parametrize(("size", "weights"), [("200x200x3", 120_000), ("100x100x3", 30_000), ("32x32x3", 3_072)])
def test_weights_of_one_fully_connected_neuron(size, weights):  # fact M5
    plan = Network.parse(f"INPUT[{size}] -> FC1(BIAS=no)").plan()
    assert plan.totals["parameters"] == weights


def test_alexnet_first_layer():  # facts C7, C8
    row = zoo("alexnet").plan()["conv1"]
    assert str(row.output) == "55x55x96"
    assert row.output.elements == 290_400
    assert row.cost.parameters == 34_848 + 96
    assert row.cost.connections == 105_705_600
    assert row.node.layer.unrolled(*row.inputs) == 363 * 3025


def test_small_convolutions_of_the_notes():  # fact C5
    def first(text):
        return Network.parse(text).plan()["conv1"]

    one = first("INPUT[32x32x3] -> CONV5-1(P=0)")
    assert (str(one.output), one.cost.parameters) == ("28x28x1", 76)
    assert str(first("INPUT[32x32x3] -> CONV5-12").output) == "32x32x12"
    assert first("INPUT[16x16x20] -> CONV3-1(BIAS=no)").cost.connections == 180 * 256
    assert str(first("INPUT[5x5x3] -> CONV3-2(S=2, P=1)").output) == "3x3x2"


@pytest.mark.parametrize(
    ("example", "values"),
    [
        ("pattern-linear", {"N": 0, "M": 0, "K": 0}),
        ("pattern-conv", {"N": 1, "M": 1, "K": 0, "p": 0}),
        ("pattern-two-stage", {"N": 1, "M": 2, "K": 1}),
        ("pattern-deep", {"N": 2, "M": 3, "K": 2}),
    ],
)
def test_the_examples_of_the_notes_are_members_of_their_general_pattern(example, values):  # fact Z
    assert zoo("pattern", **values) == zoo(example)


DEPTHS = {  # layers with weights, as their names and papers count them
    **{f"vgg{depth}": depth for depth in (11, 13, 16, 19)},
    **{f"resnet{depth}": depth for depth in (18, 34, 50, 101, 152, 20, 32, 44, 56, 110, 1202)},
    **{f"preact-resnet{depth}": depth for depth in (110, 164, 1001)},
    "alexnet": 8,
    "googlenet": 22,
}


@pytest.mark.parametrize("name", DEPTHS)
def test_networks_are_as_deep_as_they_are_called(name):  # fact Z
    """The longest way through layers with weights; a projection beside a block is no layer of its depth."""
    network = zoo(name)
    depths = []
    for node in network.nodes:
        weighs = node.layer.op in ("CONV", "FC")
        depths.append(weighs + max((depths[i] for i in node.inputs), default=0))
    assert depths[-1] == DEPTHS[name]


def test_googlenet_has_nine_times_fewer_parameters_than_alexnet():  # fact Z: "12 times" counts 5M, as the paper rounds
    alexnet, googlenet = (zoo(name).plan().totals["parameters"] for name in ("alexnet", "googlenet"))
    assert round(alexnet / googlenet, 1) == 8.7
    assert 12 < alexnet / 5e6 < 12.3


def test_golden_numbers_of_the_small_classifier():
    network = Network.parse("INPUT[32x32x3] -> [[CONV3-64 -> RELU]*2 -> POOL2]*3 -> FC10")
    plan = network.plan()
    assert [row.output.spatial[0] for row in rows(plan, "POOL")] == [16, 8, 4]
    assert plan.totals["parameters"] == 196_682
    assert plan.totals["macs"] == 63_121_408
    assert plan["pool3"].field[0].size == 36


PARAMETERS = {
    "lenet1": 2_578,
    "lenet5": 60_000,
    "lenet5-relu": 61_706,
    "alexnet": 60_965_224,
    "alexnet-caffe": 60_965_224,
    "caffenet": 60_965_224,
    "alexnet-ungrouped": 62_378_344,
    "alexnet-one": 61_100_840,
    "zfnet": 62_357_608,
    "vgg11": 132_863_336,
    "vgg11-bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13-bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16-bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19-bn": 143_678_248,
    "nin": 966_986,
    "googlenet": 6_998_552,
    "googlenet-aux": 13_378_280,
    "googlenet-bn": 6_624_904,
    "inception-v3": 23_834_568,
    "inception-v3-aux": 27_161_264,
    "inception-v4": 42_679_816,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet50-caffe": 25_557_096,
    "resnet101-caffe": 44_549_160,
    "resnet152-caffe": 60_192_808,
    "resnet20": 269_722,
    "resnet20-b": 272_474,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "preact-resnet110": 1_727_962,
    "preact-resnet164": 1_703_258,
    "preact-resnet1001": 10_327_706,
    "all-cnn-c": 1_369_738,
}

# The 13 convolutions of VGG-16: (kernel area, input maps, output maps).
VGG = [
    (9, before, after) for before, after in pairwise((3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512))
]
# No exact figure is in print for these: (kernel area, input maps, output maps) of each layer with weights.
LAYERS = {
    "convnetjs-cifar10": [(25, 3, 16), (25, 16, 20), (25, 20, 20), (1, 320, 10)],
    "convnetjs-mnist": [(25, 1, 8), (25, 8, 16), (1, 256, 10)],
    "all-cnn-a": [(25, 3, 96), (9, 96, 96), (25, 96, 192), (9, 192, 192), (9, 192, 192), (1, 192, 192), (1, 192, 10)],
    "all-cnn-b": [
        *[(25, 3, 96), (1, 96, 96), (9, 96, 96)],
        *[(25, 96, 192), (1, 192, 192), (9, 192, 192)],
        *[(9, 192, 192), (1, 192, 192), (1, 192, 10)],
    ],
    "neocognitron": [(25, 1, 24), (25, 24, 24), (25, 24, 24), (1, 24, 10)],
    "spp-net": [
        *[(49, 3, 96), (25, 96, 256), (9, 256, 384), (9, 384, 384), (9, 384, 256)],
        *[(1, 50 * 256, 4096), (1, 4096, 4096), (1, 4096, 1000)],
    ],
    "dilated-frontend": [*VGG, (49, 512, 4096), (1, 4096, 4096), (1, 4096, 21)],
    "dilated-context": [*[(9, 21, 21)] * 7, (1, 21, 21)],
    "dilated-context-large": [(9, 21 * before, 21 * after) for before, after in pairwise((1, 2, 2, 4, 8, 16, 32, 32))]
    + [(1, 21 * 32, 21)],
    "pattern": [(9, 3, 32), *[(9, 32, 32)] * 5, (4 * 4, 32, 128), (1, 128, 10)],
    "pattern-linear": [(32 * 32, 3, 10)],
    "pattern-conv": [(9, 3, 32), (32 * 32, 32, 10)],
    "pattern-two-stage": [(9, 3, 32), (9, 32, 32), (8 * 8, 32, 128), (1, 128, 10)],
    "pattern-deep": [(9, 3, 32), *[(9, 32, 32)] * 5, (4 * 4, 32, 128), (1, 128, 128), (1, 128, 10)],
}


# Networks with layers of other kinds, which have tests of their own below.
OTHERS = ["lenet4", "fcn-32s", "fcn-16s", "fcn-8s", "deepface"]


def test_every_network_of_the_zoo_has_a_count_to_meet():
    assert sorted(names()) == sorted([*PARAMETERS, *LAYERS, *OTHERS])


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_parameter_counts(name):
    assert zoo(name).plan().totals["parameters"] == PARAMETERS[name]


@pytest.mark.parametrize("name", LAYERS)
def test_parameter_counts_by_hand(name):
    by_hand = sum(area * inputs * outputs + outputs for area, inputs, outputs in LAYERS[name])
    assert zoo(name).plan().totals["parameters"] == by_hand


MULTIPLY_ADDS = {  # billions, by torchvision
    "alexnet-one": 0.71,
    "vgg11": 7.61,
    "vgg11-bn": 7.61,
    "vgg13": 11.31,
    "vgg13-bn": 11.31,
    "vgg16": 15.47,
    "vgg16-bn": 15.47,
    "vgg19": 19.63,
    "vgg19-bn": 19.63,
    "googlenet-bn": 1.50,
    "inception-v3": 5.71,
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "resnet101": 7.80,
    "resnet152": 11.51,
}


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_published_multiply_adds(name):
    assert zoo(name).plan().totals["macs"] / 1e9 == pytest.approx(MULTIPLY_ADDS[name], abs=0.006)


def test_lenet1_connections():  # published beside its 2,578 parameters
    totals = zoo("lenet1").plan().totals
    assert totals["parameters"] == 2_578
    assert totals["connections"] == 98_442


def test_lenet4_connections():  # "about 260,000"; its "about 17,000 free parameters" contradict its 120 units
    plan = zoo("lenet4").plan()
    assert [str(row.output) for row in rows(plan, "CONV", "CONCAT", "FC")] == [
        "28x28x4", "14x14x8", "10x10x16", "1x1x120", "1x1x10",
    ]  # fmt: skip
    assert plan.totals["connections"] == 262_306
    assert plan["fc1"].cost.parameters == 120 * (16 * 25 + 1) == 48_120
    assert plan.totals["parameters"] == 4 * 26 + 8 * 2 + (48 * 25 + 16) + 16 * 2 + 48_120 + 10 * 121


def test_lenet4_shares_its_maps_out_evenly():
    (table,) = [node.layer.table for node in zoo("lenet4").nodes if getattr(node.layer, "table", None)]
    assert Counter(i for row in table for i in row) == dict.fromkeys(range(8), 6)
    assert len({frozenset(row) for row in table}) == 16


def test_neocognitron_planes_are_those_of_the_paper():  # 1980, section 5
    plan = zoo("neocognitron").plan()
    cells = [row.output for row in rows(plan, "INPUT", "RELU", "TANH")]
    assert [str(shape) for shape in cells] == [
        "16x16x1", "16x16x24", "10x10x24", "8x8x24", "6x6x24", "2x2x24", "1x1x24",
    ]  # fmt: skip
    inputs = [row.cost.connections // row.output.elements - 1 for row in rows(plan, "CONV")]
    assert inputs == [25, 25 * 24, 25 * 24]  # synapses of each S-cell
    # a C-cell sees 5x5 S-cells, twice as far apart as they are
    assert plan["tanh1"].field[0].size - plan["relu1"].field[0].size == 4
    assert plan["tanh2"].field[0].size - plan["relu2"].field[0].size == 4 * plan["relu2"].field[0].jump
    assert [plan[name].field[0].jump for name in ("relu1", "tanh1", "tanh2")] == [1, 2, 4]
    low, high = plan["tanh3"].field[0].reach
    assert low <= 0  # the last C-cells see the whole input
    assert high >= 15


def test_spp_net_has_fifty_bins():
    plan = zoo("spp-net").plan()
    assert [row.output.spatial[0] for row in rows(plan, "CONV", "POOL")] == [110, 55, 26, 13, 13, 13, 13]
    assert str(plan["spp1"].output) == f"1x1x{50 * 256}"


UPSAMPLING = {
    "fcn-32s": 21 * 21 * 64 * 64,
    "fcn-16s": 21 * 21 * (4 * 4 + 32 * 32),
    "fcn-8s": 21 * 21 * (2 * 4 * 4 + 16 * 16),
}
SCORES = {"fcn-32s": [], "fcn-16s": [512], "fcn-8s": [512, 256]}  # maps that are scored on the way


@pytest.mark.parametrize("name", UPSAMPLING)
def test_fully_convolutional_vgg16(name):  # table 1: 134M parameters, sees 404, stride 32
    plan = zoo(name).plan()
    trunk = sum(area * before * after + after for area, before, after in LAYERS["dilated-frontend"])
    assert trunk == 134_346_581
    assert sum(row.cost.parameters for row in rows(plan, "DECONV")) == UPSAMPLING[name]
    scored = sum(maps * 21 + 21 for maps in SCORES[name])
    assert plan.totals["parameters"] == trunk + scored + UPSAMPLING[name]
    axis = plan["conv14"].field[0]
    assert (axis.size, axis.jump) == (404, 32)
    assert str(plan.rows[-1].output) == "224x224x21"


def test_dilated_front_end_keeps_an_eighth_of_the_image():
    plan = zoo("dilated-frontend").plan()
    assert str(plan.rows[-1].output) == "28x28x21"
    sizes = [plan[f"conv{k}"].field[0].size for k in (10, 13, 14)]
    assert sizes == [92, 188, 380]  # as VGG-16 without the two poolings' own 8 and 16 pixels


def test_deepface_volumes_and_parameters():  # figure 2; its "more than 120 million" do not follow from its sizes
    plan = zoo("deepface").plan()
    assert [row.output.spatial[0] for row in rows(plan, "CONV", "POOL", "LOCAL")] == [142, 71, 63, 55, 25, 21]
    local = {"local1": 55**2 * 16 * (81 * 16 + 1), "local2": 25**2 * 16 * (49 * 16 + 1), "local3": 21**2 * 16 * 401}
    assert {name: plan[name].cost.parameters for name in local} == local
    dense = 4096 * (21 * 21 * 16 + 1) + 4030 * 4097
    assert plan.totals["parameters"] == 32 * 364 + 16 * (81 * 32 + 1) + sum(local.values()) + dense == 118_923_774


@pytest.mark.parametrize("name", ["all-cnn-a", "all-cnn-b", "all-cnn-c"])
def test_networks_without_pooling_halve_maps_by_strided_convolutions(name):  # fact P5
    plan = zoo(name).plan()
    assert not rows(plan, "POOL", "AVGPOOL", "L2POOL", "STOPOOL", "SUBSAMPLE")
    strided = [row for row in rows(plan, "CONV") if row.node.layer.stride == (2,)]
    assert [(row.inputs[0].spatial[0], row.output.spatial[0]) for row in strided] == [(32, 16), (16, 8)]


def test_zfnet_volumes_are_those_of_its_figure():
    plan = zoo("zfnet").plan()
    assert [row.output.spatial[0] for row in rows(plan, "CONV", "POOL")] == [110, 55, 26, 13, 13, 13, 13, 6]


def test_inception_volumes_are_those_of_the_papers():
    googlenet = [str(row.output) for row in rows(zoo("googlenet").plan(), "CONCAT")]
    assert googlenet == [
        "28x28x256", "28x28x480", "14x14x512", "14x14x512", "14x14x512", "14x14x528", "14x14x832",
        "7x7x832", "7x7x1024",
    ]  # fmt: skip
    v3 = {str(row.output) for row in rows(zoo("inception-v3").plan(), "CONCAT")}
    assert {"35x35x288", "17x17x768", "8x8x1280", "8x8x2048"} <= v3
    v4 = {str(row.output) for row in rows(zoo("inception-v4").plan(), "CONCAT")}
    assert {"73x73x160", "71x71x192", "35x35x384", "17x17x1024", "8x8x1536"} <= v4


@pytest.mark.parametrize("name", names())
def test_a_zoo_text_is_short_and_says_where_it_comes_from(name):
    header = about(name)
    assert header.keys() >= {"title", "source", "published"}
    lines = [line for line in text(name).splitlines() if not line.startswith("#")]
    assert len(lines) <= 25
