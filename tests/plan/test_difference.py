"""Two plans compared."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neocog import Network, zoo
from neocog.plan import plan
from neocog.plan.difference import common, difference


def compared(a: str, b: str):
    return difference(*(plan(Network.parse(f"INPUT[8x8x2] -> {text}")) for text in (a, b)))


def story(a: str, b: str) -> list[tuple[str, str, str]]:
    changes = compared(a, b).layers
    return [(one.kind, *(row.node.layer.token if row else "" for row in one)) for one in changes][1:]


def test_the_same_network_is_kept_whole():
    assert {kind for kind, *_ in story("CONV3-4 -> RELU -> FC3", "CONV3-4 -> RELU -> FC3")} == {"kept"}


def test_a_layer_put_in_between_is_added_and_one_left_out_is_removed():
    short, long = "CONV3-4 -> RELU -> FC3", "CONV3-4 -> BN -> RELU -> FC3"
    kept = [("kept", token, token) for token in ("CONV3-4", "RELU", "FC3")]
    assert story(short, long) == [kept[0], ("added", "", "BN"), *kept[1:]]
    assert story(long, short) == [kept[0], ("removed", "BN", ""), *kept[1:]]


def test_another_number_of_filters_is_a_change_and_what_follows_changes_with_it():
    assert story("CONV3-4 -> RELU -> GAP -> FC3", "CONV3-8 -> RELU -> GAP -> FC3") == [
        *[("changed", "CONV3-4", "CONV3-8"), ("changed", "RELU", "RELU"), ("changed", "GAP", "GAP")],
        ("changed", "FC3", "FC3"),  # as large a vector, from more inputs
    ]


def test_a_layer_in_place_of_another_word_is_removed_and_added():
    assert story("CONV3-4 -> RELU -> FC3", "CONV3-4 -> TANH -> FC3")[1:3] == [
        ("removed", "RELU", ""),
        ("added", "", "TANH"),
    ]


def test_vgg13_is_vgg16_without_one_convolution_in_each_of_three_stages():
    layers = difference(zoo("vgg13").plan(), zoo("vgg16").plan()).layers
    added = [one.b.node.layer.token for one in layers if one.kind == "added"]
    assert {one.kind for one in layers} == {"kept", "added"}
    assert added == ["CONV3-256", "RELU", "CONV3-512", "RELU", "CONV3-512", "RELU"]


@pytest.mark.parametrize(("a", "b"), [("lenet5", "alexnet"), ("googlenet", "inception-v3"), ("resnet20", "resnet56")])
def test_every_layer_of_both_stands_once_and_in_its_order(a, b):
    found = difference(zoo(a).plan(), zoo(b).plan())
    assert tuple(one.a for one in found.layers if one.a) == found.a.rows
    assert tuple(one.b for one in found.layers if one.b) == found.b.rows


def test_figures_are_those_of_the_plans_with_their_change():
    found = difference(zoo("vgg16").plan(), zoo("vgg16-bn").plan())
    figures = {figure.name: figure for figure in found.figures}
    assert figures["parameters"].change == 2 * 4_224  # a weight and a bias for each of the 4,224 maps
    assert figures["parameters"].relative == pytest.approx(8_448 / 138_357_544)
    assert (figures["macs"].change, figures["macs"].relative) == (0, 0)
    assert figures["training_bytes"].b == found.b.memory["training_bytes"]
    assert (figures["receptive_field"].a, figures["receptive_field"].b) == (212, 212)  # fact C11
    assert set(figures) == {
        *("layers", "parameters", "connections", "macs", "activations", "inference_bytes", "training_bytes"),
        "receptive_field",
    }


def test_from_nothing_there_is_no_relative_change_and_between_lists_none_at_all():
    figures = {figure.name: figure for figure in compared("RELU", "CONV1x3-2").figures}
    assert (figures["parameters"].change, figures["parameters"].relative) == (14, None)
    assert figures["receptive_field"].as_dict() == {
        **{"name": "receptive_field", "a": 1, "b": [1, 3]},
        **{"change": None, "relative": None},
    }


def longest(a: list[int], b: list[int]) -> int:
    """The length of a longest common subsequence, by the table of all prefixes."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


words = st.lists(st.integers(0, 3), max_size=14)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(words, words)
def test_what_two_lists_have_in_common_is_in_order_and_as_long_as_can_be(a, b):
    pairs = common(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(pairs))
    assert len(pairs) == longest(a, b)
