from __future__ import annotations

import pytest

from neocog import Network, zoo
from neocog.plan.advice import RULES, advice
from neocog.zoo import names

BLOCK = "CONV3-8 -> RELU -> CONV3-8 -> RELU -> POOL2"
GOOD = f"INPUT[32x32x3] -> [{BLOCK}]*3 -> FC10"


def said(text):
    return [(a.layer, a.rule) for a in advice(Network.parse(text).plan())]


def test_a_network_that_follows_the_rules_gets_no_advice():
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # fact M6
        ("INPUT[30x30x3] -> [CONV3-8 -> RELU -> POOL2(fit=floor)]*3 -> FC10", ("input", "even-input")),
        ("INPUT[32x32x3] -> CONV3-8 -> CONV7-8 -> POOL2 -> FC10", ("conv2", "small-filters")),
        ("INPUT[32x32x3] -> CONV3-8 -> CONV3-8(P=0) -> POOL2 -> FC10", ("conv2", "same-size")),
        ("INPUT[33x33x3] -> CONV3-8 -> CONV3-8(S=2) -> FC10", ("conv2", "same-size")),
        ("INPUT[32x32x3] -> CONV3-8 -> POOL4 -> FC10", ("pool1", "gentle-pooling")),
        ("INPUT[32x32x3] -> CONV3-8 -> POOL4 -> FC10", ("pool1", "halving")),
        ("INPUT[32x32x3] -> CONV3-8 -> CONV5-8 -> FC10", ("conv2", "stacked-filters")),
        ("INPUT[32x32x3] -> CONV3-8 -> RELU -> FC10", ("relu1", "field-of-view")),
        ("INPUT[8x8x1] -> [CONV3-8 -> RELU]*12 -> FC3", ("relu12", "field-of-view")),
    ],
)
def test_each_departure_is_named_with_its_layer(text, expected):
    assert expected in said(text)


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("pattern-")])
def test_no_published_network_is_told_that_it_sees_too_little_or_too_much(name):
    assert [one for one in advice(zoo(name).plan()) if one.rule == "field-of-view"] == []


def test_a_narrow_view_is_said_in_pixels_with_what_widens_it():
    (one,) = (a for a in advice(Network.parse("INPUT[32x64x3] -> CONV5-8 -> RELU -> FC10").plan()) if "view" in a.rule)
    assert one.text.startswith("a position of the last maps sees 5 of the image's 64 pixels along a side")
    assert one.text.endswith("more layers, pooling or dilation widen the view")


def test_a_network_without_maps_is_not_told_to_look_further():
    assert said("INPUT[28x28x1] -> FC30 -> RELU -> FC10") == []


def test_depth_behind_shortcuts_is_no_excess():
    plain, residual = "[CONV3-8 -> RELU]*12", "CONV3-8 -> [ADD[CONV3-8 -> RELU | ID]]*11 -> RELU"
    assert ("relu12", "field-of-view") in said(f"INPUT[8x8x1] -> {plain} -> FC3")
    assert "field-of-view" not in {rule for _, rule in said(f"INPUT[8x8x1] -> {residual} -> FC3")}


def test_filters_split_into_two_directions_are_small():
    assert said("INPUT[32x32x3] -> [CONV3-8 -> RELU -> CONV1x7-8 -> CONV7x1-8 -> POOL2]*3 -> FC3") == []


def test_only_halvings_count_against_the_sides_of_an_image():
    assert ("input", "even-input") not in said("INPUT[24x24x1] -> CONV5-8 -> POOL2 -> CONV5-16 -> POOL3 -> FC10")
    side = "AUX[ POOL3(fit=floor) -> FC10 ]"
    assert ("input", "even-input") not in said(f"INPUT[36x36x1] -> [CONV3-8 -> POOL2]*2 -> {side} -> CONV3-8 -> FC10")


def test_a_first_layer_may_have_large_filters_and_a_large_step():
    rules = {
        rule
        for layer, rule in said("INPUT[64x64x3] -> CONV7-8(S=4, P=3, fit=floor) -> POOL2 -> FC3")
        if layer == "conv1"
    }
    assert rules == set()


@pytest.mark.parametrize("name", names())
def test_every_network_of_the_zoo_can_be_advised(name):
    for one in advice(zoo(name).plan()):
        assert one.text
        assert one.rule in {rule.__name__.replace("_", "-") for rule in RULES}
