"""Rewrites that keep what a network computes, or refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from made import convolutions, difference, drawn, images_for, model_of, scores, weights_of

from neocog import Network, RewriteError
from neocog.model import Weights
from neocog.reference import forward
from neocog.rewrite import (
    Rewritten,
    apply,
    at_size,
    conv_to_fc,
    dilate,
    fc_to_conv,
    fold_batchnorm,
    grow_head,
    merge_groups,
    split_groups,
)


def changed(change: Callable[..., Rewritten], text: str, tolerance: float, **options: Any) -> tuple[Network, Rewritten]:
    """What a rewrite makes of a text with weights; its scores are those from before."""
    network = Network.parse(text)
    weights = weights_of(network)
    found = change(network, weights, **options)
    x = images_for(network)
    assert difference(scores(network, weights, x), scores(*found, x)) < tolerance
    return network, found


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("INPUT[6x6x2] -> CONV3-4 -> BN -> RELU -> FC3", "INPUT[6x6x2] -> CONV3-4 -> RELU -> FC3"),
        ("INPUT[6x6x2] -> CONV3-4(BIAS=no) -> BN -> BN -> FC3", "INPUT[6x6x2] -> CONV3-4 -> FC3"),
        ("INPUT[6x6x2] -> BN -> CONV3-4(P=0, G=2, BIAS=no) -> FC3", "INPUT[6x6x2] -> CONV3-4(P=0, G=2) -> FC3"),
        (
            'INPUT[6x6x2] -> BN -> CONV3-3(P=0, TABLE="0; 0 1; 1") -> BN(AFFINE=no) -> RELU -> FC3',
            'INPUT[6x6x2] -> CONV3-3(P=0, TABLE="0; 0 1; 1") -> RELU -> FC3',
        ),
        ("INPUT[6x6x2] -> CONV3-4 -> RELU -> BN -> FC5 -> BN -> FC3", "INPUT[6x6x2] -> CONV3-4 -> RELU -> FC5 -> FC3"),
        (
            "INPUT[6x6x2] -> DECONV3-4 -> BN -> LOCAL3-2(P=0) -> BN -> FC3",
            "INPUT[6x6x2] -> DECONV3-4 -> LOCAL3-2(P=0) -> FC3",
        ),
        (
            "INPUT[6x6x2] -> CONV3-2 -> ADD[BN | CONV1-2 -> BN] -> FC3",
            "INPUT[6x6x2] -> CONV3-2 -> ADD[BN | CONV1-2] -> FC3",
        ),
        ("INPUT[6x6x2] -> ADD[CONV1-2 -> BN | ID] -> RELU -> FC3", "INPUT[6x6x2] -> ADD[CONV1-2 | ID] -> RELU -> FC3"),
    ],
)
def test_normalizations_go_into_the_weights_beside_them(text, folded):
    _, found = changed(fold_batchnorm, text, 1e-5)
    assert str(found.network) == folded


def test_a_normalization_that_cannot_be_folded_stays_and_says_why():
    model = model_of("INPUT[6x6x1] -> CONV3-4 -> BN -> RELU -> BN -> CONV3-4 -> ADD[BN -> RELU | ID] -> FC3")
    made, report = apply(model, "fold-batchnorm")
    assert str(made.network) == "INPUT[6x6x1] -> CONV3-4 -> RELU -> BN -> CONV3-4 -> ADD[BN -> RELU | ID] -> FC3"
    assert report.notes == (
        "bn2 stays: behind relu1, and read by conv2, which pads with zeros",
        "bn3 stays: behind conv2, which others read too, and read by relu2, which is neither CONV nor FC",
    )
    with pytest.raises(RewriteError, match="a network without BN"):
        apply(model_of("INPUT[6x6x1] -> FC3"), "fold-batchnorm")


@pytest.mark.parametrize(
    ("text", "matrices"),
    [
        ("INPUT[5x6x2] -> CONV3-3(S=2, fit=floor) -> RELU -> FC4", "INPUT[5x6x2] -> FC27 -> RELU -> FC4"),
        (
            "INPUT[4x4x2] -> POOL2 -> CONV3-4 -> BN -> PRELU -> FC4",
            "INPUT[4x4x2] -> POOL2 -> FC16 -> BN -> PRELU -> FC4",
        ),
        (
            "INPUT[4x4x1] -> CONV3-2(FLIP=yes) -> AVGPOOL2 -> FLATTEN -> FC3",
            "INPUT[4x4x1] -> FC32 -> FC8(BIAS=no) -> FC3",
        ),
        ("INPUT[4x4x2] -> ADD[CONV3-2 | ID] -> GAP", "INPUT[4x4x2] -> ADD[FC32 | FLATTEN] -> FC2(BIAS=no)"),
        (
            "INPUT[4x4x2] -> CONCAT[CONV1-3 | CONV3-2(G=2)] -> SUBSAMPLE2 -> FC2",
            "INPUT[4x4x2] -> CONCAT[FC48 | FC32] -> FC20 -> FC2",
        ),
    ],
)
def test_convolutions_are_matrices(text, matrices):  # fact C14
    _, found = changed(conv_to_fc, text, 1e-5)
    assert str(found.network) == matrices


def test_the_matrix_of_a_convolution_is_toeplitz():  # fact C14
    network = Network.parse("INPUT[5x1] -> CONV3-1(P=0, BIAS=no) -> FC2")
    weights = {
        "conv1.weight": np.array([[[1, 2, 3]]], np.float32),
        "fc1.weight": np.ones((2, 3), np.float32),
        "fc1.bias": np.zeros(2, np.float32),
    }
    found = conv_to_fc(network, weights)
    assert found.weights["fc1.weight"].tolist() == [[1, 2, 3, 0, 0], [0, 1, 2, 3, 0], [0, 0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("INPUT[4x4x1] -> CONV3-2 -> POOL2 -> FC2", {"layer": "conv1"}, "pool1, POOL2: POOL is no matrix"),
        ("INPUT[4x4x1] -> CONV3-2 -> POOL2 -> FC2", {}, "there is nothing to write out"),
        ("INPUT[4x4x1] -> CONV3-2", {}, "would give a vector"),
        ("INPUT[224x224x3] -> CONV3-8 -> RELU -> FC2", {}, "matrices of at most"),
    ],
)
def test_what_is_no_small_matrix_is_not_written_out(text, options, says):
    network = Network.parse(text)
    with pytest.raises(RewriteError, match=says):
        conv_to_fc(network, {} if "224" in text else weights_of(network), **options)


@pytest.mark.parametrize("bias", ["", ", BIAS=no"])
def test_groups_are_convolutions_side_by_side_and_come_back(bias):
    text = f"INPUT[5x5x4] -> CONV3-6(G=2{bias}) -> FC3"
    network, split = changed(split_groups, text, 1e-12)
    arms = [f'CONV3-3({bias[2:] + ", " if bias else ""}TABLE="{maps}; {maps}; {maps}")' for maps in ("0 1", "2 3")]
    assert str(split.network) == f"INPUT[5x5x4] -> CONCAT[{arms[0]} | {arms[1]}] -> FC3"
    totals = [one.plan().totals for one in (network, split.network)]
    assert [totals[0][name] for name in ("parameters", "macs")] == [totals[1][name] for name in ("parameters", "macs")]
    merged = merge_groups(*split)
    assert merged.network == network
    for name, array in weights_of(network).items():
        np.testing.assert_array_equal(merged.weights[name], array)


def test_where_a_table_would_be_too_long_maps_are_handed_on(monkeypatch):
    monkeypatch.setattr("neocog.rewrite.groups.QUOTED", 8)
    network, split = changed(split_groups, "INPUT[5x5x4] -> CONV3-6(S=2, G=2) -> FC3", 1e-12)
    arms = [f'CONV1-2(BIAS=no, TABLE="{table}") -> CONV3-3(S=2)' for table in ("0; 1", "2; 3")]
    assert str(split.network) == f"INPUT[5x5x4] -> CONCAT[{arms[0]} | {arms[1]}] -> FC3"
    assert split.network.plan().totals["parameters"] == network.plan().totals["parameters"] + 4
    assert merge_groups(*split).network == network


def test_groups_are_blocks_of_a_convolution_without():
    network, dense = changed(merge_groups, "INPUT[5x5x4] -> CONV3-6(G=2) -> FC3", 1e-12, dense=True)
    assert str(dense.network) == "INPUT[5x5x4] -> CONV3-6 -> FC3"
    assert np.count_nonzero(dense.weights["conv1.weight"]) == 6 * 2 * 9
    assert dense.network.plan()["conv1"].cost.macs == 2 * network.plan()["conv1"].cost.macs


def test_branches_over_the_same_maps_are_one_convolution():
    _, found = changed(merge_groups, "INPUT[5x5x2] -> CONCAT[CONV3-1 | CONV3-4] -> FC3", 1e-12)
    assert str(found.network) == "INPUT[5x5x2] -> CONV3-5 -> FC3"


def test_where_a_table_of_all_would_be_too_long_branches_stay(monkeypatch):
    network = Network.parse('INPUT[5x5x3] -> CONCAT[CONV3-1(TABLE="0 1") | CONV3-2(TABLE="1; 2")] -> FC3')
    assert 'CONV3-3(TABLE="0 1; 1; 2")' in str(merge_groups(network, weights_of(network)).network)
    monkeypatch.setattr("neocog.rewrite.groups.QUOTED", 8)
    with pytest.raises(RewriteError, match="there is no CONCAT"):
        merge_groups(network, weights_of(network))


@pytest.mark.parametrize("text", ["INPUT[5x5x4] -> CONV3-6 -> CONCAT[CONV3-2 | CONV1-2] -> FC3", "INPUT[4x4x1] -> FC2"])
def test_where_nothing_can_be_merged_or_split_that_is_said(text):
    network = Network.parse(text)
    for change in (merge_groups, split_groups):
        with pytest.raises(RewriteError, match="there is no CON"):
            change(network, weights_of(network))


@pytest.mark.parametrize(
    "text",
    [
        "INPUT[6x6x1] -> CONV3-4 -> AUX(0.3)[GAP -> FC3] -> RELU -> FC3",
        "INPUT[6x6x1] -> CONV3-4 -> RELU -> CONV1-3 -> GAP",
        "INPUT[6x6x1] -> CONV3-4 -> FC3 -> SOFTMAX",
        "INPUT[6x6x1] -> CONV3-4 -> CONV1-3",
    ],
)
def test_a_grown_head_keeps_the_scores_of_the_old_classes(text):
    model = model_of(text)
    made, report = apply(model, "grow-head", add="cat, dog")
    assert made.classes == ("class 0", "class 1", "class 2", "cat", "dog")
    assert made.network.shapes[-1].channels == 5
    assert all(
        made.network.shapes[k].channels == 5
        for k, n in enumerate(made.network.nodes)
        if n.name in made.network.side_outputs
    )
    assert report.verification.error < 1e-12
    assert report.verification.same_class == 1
    x = images_for(model.network)
    np.testing.assert_array_equal(
        scores(model.network, model.weights, x).argmax(1), scores(made.network, made.weights, x).argmax(1)
    )


@pytest.mark.parametrize(
    ("add", "says"), [("class 1", "this class is there already"), ("cat,cat", "names of classes, all different")]
)
def test_new_classes_have_names_of_their_own(add, says):
    with pytest.raises(ValueError, match=says):
        apply(model_of("INPUT[6x6x1] -> FC3"), "grow-head", add=add)


def test_scores_that_no_row_gives_alone_do_not_grow():
    network = Network.parse("INPUT[6x6x1] -> ADD[FC3 | CONV3-1 -> FC3]")
    with pytest.raises(RewriteError, match="do not come from an FC or CONV alone"):
        grow_head(network, weights_of(network), add=("cat",))


@pytest.mark.parametrize(
    ("text", "layer", "finer"),
    [
        ("INPUT[9x9x1] -> CONV3-4(S=2) -> RELU -> CONV3-3", "conv1", "INPUT[9x9x1] -> CONV3-4 -> RELU -> CONV3-3(D=2)"),
        (
            "INPUT[8x8x1] -> CONV3-4 -> POOL2 -> CONV3-4(P=0) -> BN -> CONV1-3",
            "pool1",
            "INPUT[8x8x1] -> CONV3-4 -> POOL2(S=1) -> CONV3-4(P=0, D=2) -> BN -> CONV1-3",
        ),
        (
            "fit=floor INPUT[10x9x1] -> POOL3(S=2) -> ADD[CONV3-1 | ID] -> CONV3-3(D=2)",
            "pool1",
            "INPUT[10x9x1] -> POOL3(S=1) -> ADD[CONV3-1(D=2) | ID] -> CONV3-3(D=4)",
        ),
        (
            "INPUT[10x8x2] -> POOL2 -> POOL3(S=1, P=1) -> CONV1-3",
            "pool1",
            "INPUT[10x8x2] -> POOL2(S=1) -> POOL3(S=1, P=2, D=2) -> CONV1-3",
        ),
        (
            "INPUT[12x8x2] -> CONV2-4(S=2, P=0) -> LRN -> DECONV3-3(P=2) -> DECONV2-4(P=0, BIAS=no)",
            "conv1",
            "INPUT[12x8x2] -> CONV2-4(P=0) -> LRN -> DECONV3-3(P=4, D=2) -> DECONV2-4(P=0, D=2, BIAS=no)",
        ),
    ],
)
def test_without_a_stride_the_old_map_is_every_second_position_of_the_new(text, layer, finer):
    network = Network.parse(text)
    weights = weights_of(network)
    found = dilate(network, weights, layer)
    assert str(found.network) == finer
    x = images_for(network)
    before, after = scores(network, weights, x), scores(*found, x)
    assert difference(before, after[:, :, ::2, ::2]) < 1e-12
    assert found.network.plan().totals["parameters"] == network.plan().totals["parameters"]


def test_a_mean_behind_the_stride_becomes_the_convolution_that_it_is():
    network = Network.parse(
        "INPUT[12x16x1] -> CONV2-3(S=2, P=0) -> AVGPOOL3x2(S=1, P=1) -> RELU -> AVGPOOL2(S=1) -> ID"
    )
    weights = weights_of(network)
    found = dilate(network, weights, "conv1")
    assert str(found.network) == (
        "INPUT[12x16x1] -> CONV2-3(P=0) -> CONV3x2-3(P=2, D=2, G=3, BIAS=no) -> RELU -> "
        "CONV2-3(P=0, D=2, G=3, BIAS=no) -> ID"
    )
    x = images_for(network)
    before, after = scores(network, weights, x), scores(*found, x)
    assert difference(before, after[:, :, ::2, ::2]) < 1e-7  # 1/6 is no number of float32


def test_arms_that_are_joined_lose_their_strides_together():
    block = "ADD[CONV3-8({}) -> BN -> RELU -> CONV3-8 -> BN | {}] -> RELU"
    blocks = [block.format("S=2, P=1", "CONV1-8(S=2, P=0) -> BN"), block.format("S=2, P=1", "SHORTCUT(K=8, S=2)")]
    model = model_of(f"fit=floor INPUT[16x16x1] -> CONV3-4 -> {blocks[0]} -> {blocks[1]} -> GAP -> FC3")
    dense, _ = apply(model, "fc-to-conv")
    finer, report = apply(dense, "dilate", layer="conv5")
    assert report.notes == ("the stride goes from conv5, shortcut1",)
    finest, report = apply(finer, "dilate", layer="conv4")
    assert report.notes == ("the stride goes from conv2, conv4",)
    assert report.verification.error < 1e-6
    assert "CONV3-8(D=4) -> BN | SHORTCUT(K=8, S=1)" in str(finest.network)
    assert "CONV4-8(P=0, D=4, G=8, BIAS=no" in str(finest.network)


def test_a_dense_network_gives_a_finer_map_on_larger_images():
    network = Network.parse("INPUT[12x12x1] -> CONV3-4(P=0) -> RELU -> POOL2 -> FC6 -> RELU -> FC3")
    dense = fc_to_conv(network, weights_of(network))
    finer = dilate(*dense, "pool1")
    coarse, fine = (at_size(one.network, (16, 18)) for one in (dense, finer))
    x = images_for(coarse)
    assert (coarse.shapes[-1].spatial, fine.shapes[-1].spatial) == ((3, 4), (5, 7))
    assert difference(scores(coarse, dense.weights, x), scores(fine, finer.weights, x)[:, :, ::2, ::2]) < 1e-12
    crop = x[:, :, 1:13, 3:15]
    assert difference(scores(network, weights_of(network), crop), scores(fine, finer.weights, x)[:, :, 1, 3]) < 1e-12


@pytest.mark.parametrize(
    ("text", "layer", "says"),
    [
        (
            "INPUT[8x8x1] -> POOL2 -> L2POOL2(S=1) -> FC3",
            "pool1",
            "L2POOL cannot be spread over a finer map\n  try: --layer",
        ),
        ("INPUT[8x8x1] -> POOL2 -> AVGPOOL3(S=1, P=1, ZEROS=no)", "pool1", "avgpool1.*other weights at the border"),
        ("INPUT[8x8x1] -> POOL2 -> AVGPOOL2", "pool1", "avgpool1, AVGPOOL2: a layer with a stride of its own"),
        ("INPUT[8x8x1] -> POOL2 -> DECONV4-2(S=2, P=1)", "pool1", "DECONV cannot be spread"),
        ("INPUT[8x8x1] -> POOL2 -> CONV3-2 -> FC3", "pool1", "fc1, FC3: FC cannot be spread"),
        ("INPUT[8x8x1] -> CONV3-2 -> FC3", "conv1", "no stride to take away"),
        ("INPUT[8x8x1] -> CONV3-2 -> FC3", "conv9", "there is no such layer"),
    ],
)
def test_what_cannot_be_spread_is_refused(text, layer, says):
    network = Network.parse(text)
    with pytest.raises(RewriteError, match=says):
        dilate(network, weights_of(network), layer)


def without_the_last_stride(network: Network, weights: Weights) -> Rewritten:
    dense = fc_to_conv(network, weights)
    strided = [node.name for node in dense.network.nodes if max(getattr(node.layer, "stride", (1,))) > 1]
    return dilate(*dense, (strided or ["input"])[-1])


Drawn = Callable[[int], Iterable[tuple[int, Network, Weights]]]
CHANGES: dict[str, tuple[Callable[..., Rewritten], float, Drawn]] = {
    "fold-batchnorm": (fold_batchnorm, 1e-4, drawn),
    "split-groups": (split_groups, 1e-10, convolutions),
    "merge-groups": (merge_groups, 1e-10, convolutions),
    "merge-groups what was split": (lambda n, w: merge_groups(*split_groups(n, w)), 1e-10, convolutions),
    "merge-groups --dense": (lambda n, w: merge_groups(n, w, dense=True), 1e-10, convolutions),
    "conv-to-fc": (conv_to_fc, 1e-4, drawn),
    "grow-head": (lambda n, w: grow_head(n, w, add=("cat", "dog")), 1e-10, drawn),
    "dilate": (without_the_last_stride, 1e-10, convolutions),
}


def agreement(name: str, count: int) -> int:
    """How many networks drawn at random were changed, all computing the same; the others were refused."""
    change, tolerance, source = CHANGES[name]
    done = 0
    for seed, network, weights in source(count):
        try:
            found = change(network, weights)
        except RewriteError:
            continue
        x = images_for(network, 2, seed)
        old, new = forward(network, weights, x), forward(*found, x)
        before, after = old.output, new.output
        if name == "dilate":
            before = before.reshape(*before.shape, *(1,) * (after.ndim - before.ndim))
            after = after[(..., *(slice(None, None, 2),) * (after.ndim - 2))]
        else:
            after = after[:, : before.shape[1]]
            for side, one in old.side_outputs.items():
                other = new.side_outputs[side].reshape(len(x), -1)[:, : one[0].size]
                assert difference(one.reshape(len(x), -1), other) < tolerance, f"{seed}, {side}: {network}"
        assert difference(before, after) < tolerance, f"{seed}: {network}"
        done += 1
    return done


@pytest.mark.parametrize("name", CHANGES)
def test_networks_drawn_at_random_compute_the_same_or_are_refused(name):
    assert agreement(name, 30) > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_two_hundred_networks_drawn_at_random_compute_the_same_or_are_refused(name):
    assert agreement(name, 200) > 40
