"""Rewrites that change what a network computes, and say by how much; and what all transactions promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made import difference, drawn, images_for, model_of, scores, weights_of
from tokens import layer_of

from neocog import Model, NeocogError, Network, RewriteError, load
from neocog.layers import LAYERS
from neocog.model import weight_shapes
from neocog.reference import forward
from neocog.rewrite import (
    REWRITES,
    Rewrite,
    apply,
    pool_to_stride,
    prune_channels,
    set_weights,
    swap_layer,
    transaction,
    transplant,
)
from neocog.rewrite.alike import EACH_VALUE
from neocog.signal import FILTERS, cross_correlate

SMALL = "INPUT[8x8x1] -> CONV3-4 -> BN -> RELU -> POOL2 -> CONV3-6 -> RELU -> POOL2 -> FC3"


@pytest.fixture(scope="module")
def small() -> Model:
    return model_of(SMALL)


def test_pooling_becomes_a_convolution_that_starts_as_its_mean(small):
    made, report = apply(small, "pool-to-stride")
    assert str(made.network) == SMALL.replace("POOL2", "CONV2-4(S=2, P=0)", 1).replace("POOL2", "CONV2-6(S=2, P=0)")
    assert report.verification.tolerance is None
    assert report.verification.error > 0.01
    assert "not equal by nature" in report.verification.line()


def test_of_average_pooling_that_is_the_same_function():
    network = Network.parse("INPUT[8x8x2] -> CONV3-4 -> AVGPOOL2 -> AVGPOOL3(S=1, P=1) -> FC3")
    weights = weights_of(network)
    x = images_for(network)
    assert difference(scores(network, weights, x), scores(*pool_to_stride(network, weights), x)) < 1e-6


def test_a_convolution_takes_over_the_stride_of_the_pooling_behind(small):
    made, _ = apply(small, "pool-to-stride", layer="pool2", by="stride")
    assert str(made.network) == SMALL.replace("CONV3-6", "CONV3-6(S=2, fit=floor)").replace(
        " -> POOL2 -> FC3", " -> FC3"
    )
    with pytest.raises(RewriteError, match="have weights for another volume"):
        apply(
            model_of("INPUT[9x9x1] -> CONV3-4 -> RELU -> POOL3(S=2) -> ADD[ID | CONV3-4] -> FC3"),
            "pool-to-stride",
            by="stride",
        )


def test_a_layer_is_swapped_for_another_of_the_same_shape(small):
    made, report = apply(small, "swap-layer", layer="relu2", by="LRELU(0.1)")
    assert str(made.network) == SMALL.replace("CONV3-6 -> RELU", "CONV3-6 -> LRELU(0.1)")
    assert report.verification.error > 0
    fresh, report = apply(small, "swap-layer", layer="conv2", fresh=True)
    assert fresh.network == small.network
    assert report.notes == ("conv2.weight: starts afresh", "conv2.bias: starts afresh")
    assert not fresh.weights["conv2.bias"].any()
    kept, report = apply(small, "swap-layer", layer="conv2", by="CONV3-6(FLIP=yes)")
    assert report.notes[0] == "conv2.weight: kept"
    np.testing.assert_array_equal(kept.weights["conv2.weight"], small.weights["conv2.weight"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "conv2", "by": "CONV3-5"}, "CONV3-5 gives 4x4x5 for 4x4x6"),
        ({"layer": "conv2", "by": "CONVX"}, "this is no layer"),
        ({"layer": "conv2", "by": "RELU -> RELU"}, "one layer is needed"),
        ({"layer": "conv2", "by": "CONV9-6(P=0)"}, "conv2, CONV3-6: the new layer cannot read this one's input"),
        ({"layer": "input", "by": "RELU"}, "cannot be swapped"),
        ({"layer": "conv2"}, "nothing would change"),
    ],
)
def test_a_swap_that_does_not_fit_is_refused(small, options, says):
    with pytest.raises(RewriteError, match=says):
        swap_layer(small.network, small.weights, **options)


def test_pruned_channels_go_with_all_that_reads_them():
    network = Network.parse(
        "INPUT[6x6x1] -> CONV3-4 -> BN -> RELU -> POOL2 -> CONCAT[CONV1-3 | ID -> PRELU] -> FLATTEN -> BN -> FC3"
    )
    weights = dict(weights_of(network))
    for name in ("conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"):
        weights[name] = weights[name].copy()
        weights[name][[0, 2]] = 0  # maps of zeros, so that nothing changes when they go
    found = prune_channels(network, weights, "conv1", 0.5)
    assert found.weights["conv1.weight"].shape == (2, 1, 3, 3)
    assert found.weights["conv2.weight"].shape == (3, 2, 1, 1)
    assert found.weights["bn2.weight"].shape == (5 * 9,)
    np.testing.assert_array_equal(found.weights["conv1.weight"], weights["conv1.weight"][[1, 3]])
    x = images_for(network)
    shifted = network.node("bn2")
    assert shifted.layer.op == "BN"
    before, after = forward(network, weights, x), forward(*found, x)
    k, j = (next(i for i, node in enumerate(one.nodes) if node.name == "concat1") for one in (network, found.network))
    assert difference(before.outputs[k][:, [0, 1, 2, 4, 6]], after.outputs[j]) < 1e-12


def test_branches_that_are_added_lose_the_same_channels():
    block = "ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID] -> RELU"
    text = f"INPUT[6x6x1] -> CONV3-4 -> BN -> RELU -> {block} -> GAP -> FC3"
    model = model_of(text)
    made, report = apply(model, "prune-channels", layer="conv1", share=0.25)
    assert str(made.network) == text.replace("CONV3-4", "CONV3-3", 1).replace("CONV3-4 -> BN |", "CONV3-3 -> BN |")
    assert report.notes == ("1 of 4 filters goes from conv1, conv3, whose maps are added",)
    figures = {figure.name: figure.change for figure in report.difference.figures}
    assert (
        figures["parameters"]
        == made.network.plan().totals["parameters"] - model.network.plan().totals["parameters"]
        < 0
    )


def test_networks_drawn_at_random_are_pruned_or_refused():
    done = 0
    for seed, network, weights in drawn(30):
        first = next((node.name for node in network.nodes if node.layer.op == "CONV"), "fc1")
        try:
            found = prune_channels(network, weights, first, 0.5)
        except RewriteError:
            continue
        shapes = {name: tuple(one["shape"]) for name, one in weight_shapes(found.network).items()}
        assert shapes == {name: array.shape for name, array in found.weights.items()}, f"{seed}: {network}"
        assert found.network.plan().totals["parameters"] < network.plan().totals["parameters"]
        assert np.isfinite(scores(*found, images_for(found.network, 2))).all()
        done += 1
    assert done > 3


@pytest.mark.parametrize(
    ("text", "layer", "says"),
    [
        ("INPUT[6x6x4] -> ADD[CONV3-4 | ID] -> FC3", "conv1", "its maps are added"),
        ("INPUT[6x6x1] -> CONV3-4 -> LRN -> FC3", "conv1", "lrn1, LRN: maps cannot go"),
        (
            "INPUT[6x6x1] -> ADD[CONV3-4 -> FLATTEN | CONV3-4 -> FLATTEN] -> FC3",
            "conv1",
            "add1, ADD: maps cannot go.*adds maps that would go to maps that stay",
        ),
        ("INPUT[6x6x1] -> CONV3-4 -> CONV3-4(G=2) -> FC3", "conv1", "conv2, CONV3-4"),
        ("INPUT[6x6x1] -> CONV3-4 -> FC3 -> RELU", "fc1", "scores of the classes"),
        ("INPUT[6x6x1] -> CONV3-4 -> FC3", "relu1", "there is no such layer"),
        ("INPUT[6x6x1] -> RELU -> FC3", "relu1", "a layer is needed that is CONV or FC"),
    ],
)
def test_where_channels_cannot_go_the_layer_is_named(text, layer, says):
    network = Network.parse(text)
    with pytest.raises(RewriteError, match=says):
        prune_channels(network, weights_of(network), layer)


@pytest.mark.parametrize("name", ["sobel-x", "edge", "mean"])
def test_a_filter_is_set_to_one_of_image_processing(name):  # fact C13
    network = Network.parse("INPUT[7x7x1] -> CONV5-2(P=0, BIAS=no)")
    found = set_weights(network, weights_of(network), layer="conv1", filter=1, to=name)
    x = images_for(network, 1)
    np.testing.assert_allclose(scores(*found, x)[0, 1], cross_correlate(x[0, 0, 1:-1, 1:-1], FILTERS[name]), atol=1e-5)
    np.testing.assert_array_equal(found.weights["conv1.weight"][0], weights_of(network)["conv1.weight"][0])


def test_a_gaussian_has_the_layers_size_and_keeps_the_mean():
    network = Network.parse("INPUT[11x11x3] -> CONV11-2(P=0)")
    found = set_weights(network, weights_of(network), layer="conv1", filter=0, to="gaussian")
    kernel = found.weights["conv1.weight"][0]
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_array_equal(kernel[0], kernel[2])
    assert kernel[0].argmax() == 60


def test_each_kernel_of_a_table_is_divided_by_the_maps_that_its_filter_reads():
    network = Network.parse('INPUT[7x7x3] -> CONV3-2(P=0, TABLE="0 1; 2", BIAS=no)')
    found = set_weights(network, weights_of(network), layer="conv1", to="mean")
    np.testing.assert_allclose(found.weights["conv1.weight"].sum(axis=(1, 2)), [0.5, 0.5, 1], rtol=1e-6)
    x = np.ones((1, 3, 7, 7), np.float32)
    np.testing.assert_allclose(scores(*found, x), np.ones((1, 2, 5, 5)), rtol=1e-6)


def test_a_filter_for_images_does_not_go_into_a_sequences_kernels():
    network = Network.parse("INPUT[9x4] -> CONV3-4")
    with pytest.raises(RewriteError, match="a kernel of 3x3 or more"):
        set_weights(network, weights_of(network), layer="conv1", to="gaussian")


def test_a_bias_raised_by_one_raises_the_mean_by_one(small):
    made, report = apply(small, "set-weights", layer="conv1", bias=1)
    assert report.notes[1].startswith("conv1.bias: mean ")
    assert report.layer_means is not None
    before, after = report.layer_means
    assert after - before == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(made.weights["conv1.bias"], small.weights["conv1.bias"] + 1, rtol=1e-6)


def test_a_bilinear_deconvolution_interpolates():
    network = Network.parse("INPUT[4x4x2] -> DECONV4-2(S=2, P=1)")
    found = set_weights(network, weights_of(network), layer="deconv1", to="bilinear")
    weights = {**found.weights, "deconv1.bias": np.zeros(2, np.float32)}
    ramp = np.broadcast_to(np.arange(4.0), (1, 2, 4, 4)).astype(np.float32)
    middle = scores(found.network, weights, ramp)[0, 0, 2:-2, 1:-1]
    np.testing.assert_allclose(middle, np.broadcast_to([0.25, 0.75, 1.25, 1.75, 2.25, 2.75], (4, 6)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layer": "conv1", "filter": 4, "to": "mean"}, "there is no such filter"),
        ({"layer": "relu1", "scale": 2.0}, "no weights to set"),
        ({"layer": "bn1", "filter": 0, "scale": 2.0}, "not stored filter by filter"),
        ({"layer": "conv1"}, "not said what to set"),
        ({"layer": "fc1", "to": "mean"}, "goes into a CONV"),
        ({"layer": "conv1", "to": "bilinear"}, "is a DECONV's"),
        ({"layer": "pool1", "bias": 1.0}, "no weights to set"),
    ],
)
def test_numbers_that_have_no_place_are_refused(small, options, says):
    with pytest.raises(RewriteError, match=says):
        set_weights(small.network, small.weights, **options)


def test_weights_are_transplanted_by_name_with_a_report(small):
    other = model_of("INPUT[8x8x1] -> CONV3-4 -> BN -> RELU -> POOL2 -> CONV3-5 -> RELU -> POOL2 -> FC3", seed=1)
    made, report = apply(small, "transplant", source=other)
    np.testing.assert_array_equal(made.weights["conv1.weight"], other.weights["conv1.weight"])
    np.testing.assert_array_equal(made.weights["conv2.weight"], small.weights["conv2.weight"])
    assert "copied conv1.weight (4x1x3x3)" in report.notes
    assert "dropped conv2.weight (5x4x3x3), which here is 6x4x3x3" in report.notes
    assert report.options == {"source": other.fingerprint}
    dense, _ = apply(small, "fc-to-conv")
    renamed = replace(small, weights={name.replace("fc1", "conv3"): array for name, array in small.weights.items()})
    coerced, report = apply(dense, "transplant", source=renamed)
    assert "coerced conv3.weight from 3x24 to 3x6x2x2" in report.notes
    np.testing.assert_array_equal(coerced.weights["conv3.weight"], dense.weights["conv3.weight"])
    with pytest.raises(RewriteError, match="none of the other"):
        transplant(small.network, small.weights, model_of("INPUT[8x8x1] -> CONV1-2 -> CONV1-3"))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("set-weights", {"layer": "fc1", "scale": "nan"}, "not finite"),
        ("set-weights", {"layer": "fc1", "bias": "1e39"}, "not finite"),
        ("set-weights", {"layer": "fc1", "filter": "-1", "scale": 2}, "a whole number from 0"),
        ("prune-channels", {"layer": "conv1", "share": 0.01}, "none of the filters"),
        ("prune-channels", {"layer": "conv1", "share": "nan"}, "a share between 0 and 1"),
        ("swap-layer", {"layer": "fc1", "by": "FC999999999"}, "of another shape"),
        ("grow-head", {"add": ""}, "names of classes"),
        ("pool-to-stride", {"by": "magic"}, "one of conv, stride"),
    ],
)
def test_odd_options_are_refused_before_there_is_a_model(small, name, options, says):
    with pytest.raises(NeocogError, match=says):
        apply(small, name, **options)


def test_an_option_that_is_yes_or_no_may_be_a_text(small):
    assert apply(small, "swap-layer", layer="conv2", fresh="yes")[1].options["fresh"] is True
    with pytest.raises(RewriteError, match="nothing would change"):
        apply(small, "swap-layer", layer="conv2", fresh="no")
    with pytest.raises(NeocogError, match="--fresh is start its weights afresh"):
        apply(small, "swap-layer", layer="conv2", fresh="maybe")


def test_answers_that_overflow_give_no_model(small):
    for model in (small, replace(small, golden=None)):
        with pytest.raises(RewriteError, match="gives outputs that are not finite"):
            apply(model, "set-weights", layer="fc1", scale=1e38)


def test_a_runtime_that_was_chosen_does_not_answer_for_the_new_network(small):
    class Chosen:
        reads_bytes = False

        def scores(self, x):
            return np.zeros((len(x), 3), np.float32)

    made, _ = apply(replace(small, runtime=Chosen()), "fold-batchnorm")
    assert made.runtime is None
    assert made.golden[1].any()
    with pytest.raises(RewriteError, match="an export has no weights to rewrite"):
        apply(replace(small, runtime=Chosen(), weights={}), "fold-batchnorm")


def test_one_output_for_two_classes_has_no_rows_to_grow():
    pair = replace(model_of("INPUT[6x6x1] -> FC1"), classes=("no", "yes"))
    with pytest.raises(RewriteError, match="one output tells two classes apart"):
        apply(pair, "grow-head", add="maybe")


def test_a_rewrite_that_breaks_its_promise_gives_no_model(small, monkeypatch):
    broken = Rewrite("broken", "", lambda n, w: set_weights(n, w, layer="fc1", scale=1.001), 1e-6)
    monkeypatch.setattr(transaction, "REWRITES", (broken,))
    with pytest.raises(RewriteError, match="would change what the network computes"):
        apply(small, "broken")


def test_golden_images_travel_with_new_answers_and_the_record_says_what_was_done(small, tmp_path):
    made, report = apply(small, "fold-batchnorm")
    path = made.save(tmp_path / "folded.safetensors")
    again = load(path)
    assert again.golden_error() == 0
    np.testing.assert_array_equal(again.golden[0], small.golden[0])
    assert report.verification.golden == 4
    assert report.verification.golden_error < 1e-5
    (entry,) = again.record["rewrites"]
    assert (entry["name"], entry["options"]) == ("fold-batchnorm", {})
    twice, _ = apply(again, "fc-to-conv")
    assert [entry["name"] for entry in twice.record["rewrites"]] == ["fold-batchnorm", "fc-to-conv"]
    assert small.network == Network.parse(SMALL)


def test_every_rewrite_has_a_name_and_says_what_it_does():
    assert len({one.name for one in REWRITES}) == len(REWRITES)
    assert all(one.what and one.name == one.name.lower() for one in REWRITES)


def test_layers_that_do_the_same_to_every_value_are_those_that_give_the_same_of_values_in_a_row():
    rng = np.random.default_rng(0)
    x, order = rng.standard_normal((2, 4, 3, 4)), rng.permutation(48)
    found = set()
    for kind in LAYERS:
        layer = layer_of(kind.examples[0].token)
        try:
            y, in_a_row = (layer.forward({}, one)[0] for one in (x, x.reshape(2, 48, 1, 1)[:, order]))
        except (KeyError, ValueError, TypeError, IndexError):  # it has parameters, or cannot take both
            continue
        if y.shape == x.shape and np.array_equal(y.reshape(2, 48)[:, order], in_a_row.reshape(2, 48)):
            found.add(kind.op)
    assert found - {"INPUT", "ADD", "CONCAT", "AUX"} == EACH_VALUE
