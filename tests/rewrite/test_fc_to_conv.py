from __future__ import annotations

import numpy as np
import pytest
from made import difference, drawn, images_for, scores, weights_of

from neocog import Network, RewriteError, zoo
from neocog.rewrite import at_size, fc_to_conv


def rewritten(text: str, seed: int = 0):
    network = Network.parse(text)
    weights = weights_of(network, seed)
    return network, weights, *fc_to_conv(network, weights)


def crops_agree(text: str, larger: tuple[int, int], jump: int) -> None:
    """Every position of the larger image's map has the scores of its window, cut out."""
    network, weights, dense, moved = rewritten(text)
    wide = at_size(dense, larger)
    x = images_for(wide, 2)
    found = scores(wide, moved, x)
    height, width = network.input_shape.spatial
    assert found.shape[2:] == tuple((big - own) // jump + 1 for big, own in zip(larger, (height, width), strict=True))
    for i, j in np.ndindex(*found.shape[2:]):
        crop = x[:, :, i * jump : i * jump + height, j * jump : j * jump + width]
        assert difference(scores(network, weights, crop), found[:, :, i, j]) < 1e-12


def test_fully_connected_layers_become_convolutions_of_reshaped_weights():  # fact N1
    network, weights, dense, moved = rewritten(str(zoo("lenet5-relu")))
    assert [node.layer.token for node in dense.nodes if node.layer.op == "CONV"][2:] == [
        "CONV5-120(P=0)",
        "CONV1-84",
        "CONV1-10",
    ]
    assert moved["conv3.weight"].shape == (120, 16, 5, 5)
    np.testing.assert_array_equal(moved["conv3.weight"].reshape(120, -1), weights["fc1.weight"])
    assert dense.shapes[-1] == network.shapes[-1]
    assert dense.plan().totals["parameters"] == network.plan().totals["parameters"]
    assert dense.plan().totals["macs"] == network.plan().totals["macs"]


def test_vgg16_on_384_gives_6_by_6_scores():  # fact N2
    network = zoo("vgg16")
    weights = {
        f"{node.name}.{name}": np.broadcast_to(np.float32(0), parameter.shape)  # of no memory
        for node in network.nodes
        for name, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }
    small = Network.parse(str(network).replace("FC4096", "FC8"))
    weights |= {name: array for name, array in weights_of(small).items() if name.startswith("fc")}
    dense, moved = fc_to_conv(small, weights)
    assert moved["conv14.weight"].shape == (8, 512, 7, 7)
    assert at_size(dense, (384, 384)).shapes[-1].as_list() == [6, 6, 1000]


@pytest.mark.parametrize(
    "text",
    [
        "INPUT[12x12x2] -> CONV3-4(P=0) -> RELU -> POOL2 -> FC6 -> RELU -> FC3",
        "INPUT[12x12x2] -> CONV3-4(P=0) -> RELU -> POOL2 -> FLATTEN -> DROPOUT -> RELU -> FC6 -> BN -> TANH -> FC3",
        "INPUT[12x12x2] -> CONV3-4(P=0) -> POOL2 -> FLATTEN -> BN -> FC3 -> SOFTMAX",
        "INPUT[12x12x2] -> CONV3-4(P=0) -> POOL2 -> CONCAT[FLATTEN -> BN | GAP | FC5 -> RELU] -> FC3",
        "INPUT[12x12x2] -> CONV3-4(P=0) -> AVGPOOL2 -> GAP -> FC3",
        "INPUT[12x12x2] -> CONV3-4(P=0) -> POOL2 -> CONV1-3 -> GAP -> SOFTMAX",
        "INPUT[12x12x2] -> CONV3-4(P=0) -> POOL2 -> ADD[FC4 -> PRELU | GAP] -> RELU -> FC3(BIAS=no)",
    ],
)
def test_every_position_of_a_larger_map_has_the_scores_of_its_window(text):  # facts N2, N5
    crops_agree(text, (18, 16), jump=2)


def test_where_windows_are_padded_scores_differ_only_through_their_borders():  # fact N5
    network, weights, dense, moved = rewritten("INPUT[8x8x1] -> CONV3-4 -> RELU -> POOL2 -> FC3")
    wide = at_size(dense, (24, 24))
    x = np.zeros((1, 1, 24, 24), np.float32)
    x[:, :, 8:16, 8:16] = images_for(network, 1)
    middle = scores(wide, moved, x)[:, :, 4, 4]
    assert difference(scores(network, weights, x[:, :, 8:16, 8:16]), middle) < 1e-12  # zeros around it, as padding is


def test_sizes_that_do_not_tile_can_be_used_too():
    _, _, dense, moved = rewritten("INPUT[12x12x1] -> CONV3-4(P=0) -> POOL2 -> FC3")
    assert at_size(dense, (13, 15)).shapes[-1].spatial == (1, 2)
    assert moved.keys() == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"}


def test_sequences_slide_too():
    network, weights, dense, moved = rewritten("INPUT[20x3] -> CONV3-4(P=0) -> RELU -> POOL2 -> FLATTEN -> FC3")
    wide = at_size(dense, (26,))
    x = images_for(wide, 2)
    found = scores(wide, moved, x)
    for i in range(4):
        assert difference(scores(network, weights, x[:, :, 2 * i : 2 * i + 20]), found[:, :, i]) < 1e-12


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INPUT[8x8x1] -> CONV3-4 -> SPP(2, 1) -> FC3", "SPP pools the whole volume"),
        ("INPUT[8x8x1] -> CONV3-4 -> GROUPNORM(G=2) -> FC3", "GROUPNORM normalises by"),
        ("INPUT[8x8x1] -> CONV3-4 -> LCN3 -> FC3", "LCN without c"),
        ("INPUT[8x8x1] -> LOCAL3-4 -> FC3", "LOCAL has other weights at every position"),
        ("INPUT[8x8x1] -> FC4 -> CONV3-4 -> FC3", "more than one position"),
        ("INPUT[8x8x1] -> FC4 -> UPSAMPLE2 -> FC3", "more than one position"),
        ("INPUT[8x8x1] -> CONV3-4 -> CONCAT[POOL8 | GAP] -> FC3", "maps of different sizes"),
    ],
)
def test_what_cannot_slide_is_refused_with_the_layer_and_the_reason(text, says):
    with pytest.raises(RewriteError, match=says):
        rewritten(text)


def test_weights_for_one_size_are_not_taken_to_another():
    network = Network.parse("INPUT[8x8x1] -> CONV3-4 -> FC3")
    with pytest.raises(RewriteError, match="fc1: FC has weights for images of 8x8x1 only"):
        at_size(network, (10, 10))


def agreement(count: int) -> tuple[int, int]:
    """How many networks drawn at random were changed, all computing the same, and how many refused."""
    done = refused = 0
    for seed, network, weights in drawn(count):
        try:
            dense, moved = fc_to_conv(network, weights)
        except RewriteError:
            refused += 1
            continue
        x = images_for(network, 2, seed)
        assert difference(scores(network, weights, x), scores(dense, moved, x)) < 1e-10, f"{seed}: {network}"
        plans = [one.plan().totals for one in (network, dense)]
        assert not any(node.layer.op in ("FC", "GAP") for node in dense.nodes)
        assert plans[0]["parameters"] == plans[1]["parameters"] or "FLATTEN" in str(network)
        done += 1
    return done, refused


def test_networks_drawn_at_random_compute_the_same_or_are_refused():
    done, refused = agreement(30)
    assert done > 10, refused


@pytest.mark.slow
def test_two_hundred_networks_drawn_at_random_compute_the_same_or_are_refused():
    done, refused = agreement(200)
    assert done > 80, refused
