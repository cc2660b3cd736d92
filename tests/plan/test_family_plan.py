"""The plans of a family's members."""

import pytest

from neocog import Network
from neocog.notation import Family
from neocog.plan import plan
from neocog.plan.family import MEASURES, plan_family

PATTERN = "INPUT[8x8x1] -> [[CONV3-w -> RELU]*N -> POOL2?p]*M -> FC3"


def family(**values):
    return Family.parse(PATTERN, **({"N": (1, 2), "M": (0, 1, 2), "p": (0, 1), "w": (2, 4)} | values))


def test_every_member_is_found_once_with_what_planning_it_alone_gives():
    found = plan_family(family(), batch=3, dtype="bfloat16", optimizer="adam")
    assert (found.left_out, found.refused) == ((), ())
    choices = [choice for one in found.members for choice in (one.variables, *one.also)]
    every = [member.variables for member in family()]
    assert sorted(map(str, choices)) == sorted(map(str, every))
    for one in found.members:
        for choice in (one.variables, *one.also):
            alone = plan(Network.parse(PATTERN, **choice), batch=3, dtype="bfloat16", optimizer="adam")
            assert one.overview == alone.overview()


def test_choices_that_give_one_network_are_shown_once():
    found = plan_family(family())
    without = next(one for one in found.members if one.variables["M"] == 0)
    assert len(without.also) == 7  # M = 0 leaves only FC3, whatever N, p and w are
    texts = [one.overview["network"] for one in found.members]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("sort", MEASURES)
def test_members_are_sorted_and_stay_in_the_order_of_their_values_where_they_measure_the_same(sort):
    members = plan_family(family(), sort=sort).members
    place = {str(member.variables): k for k, member in enumerate(family())}
    keys = [(MEASURES[sort](one.overview), place[str(one.variables)]) for one in members]
    assert keys == sorted(keys)


@pytest.mark.parametrize("name", MEASURES)
def test_a_limit_leaves_out_what_is_over_it_and_may_be_reached(name):
    everything = plan_family(family(), sort=name).members
    middle = MEASURES[name](everything[len(everything) // 2].overview)
    found = plan_family(family(), limits={name: middle}, sort=name)
    assert max(MEASURES[name](one.overview) for one in found.members) == middle
    assert min(MEASURES[name](one.overview) for one in found.left_out) > middle
    assert len(found.members) + len(found.left_out) == len(everything)
    assert {tuple(one["over"]) for one in found.as_dict()["left_out"]} == {(name,)}


def test_what_cannot_be_planned_is_kept_with_its_reason_in_one_line():
    found = plan_family(family(N=1, M=range(3, 6), p=(1, 2), w=2))
    assert [one.variables["M"] for one in found.members] == [3]
    refused = {(one.variables["M"], one.variables["p"]): one.as_dict()["error"] for one in found.refused}
    assert set(refused) == {(4, 1), (5, 1), (3, 2), (4, 2), (5, 2)}
    assert refused[4, 1].startswith("pool4 at line 1, column 41: the window of POOL2 is larger than its input")
    assert refused[3, 2] == "line 1, column 47: ?p is 1 (present) or 0 (absent)"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CONV3-2 -> POOL2 -> FC3", "pool1"),
        ("FC3", "input"),
        ("POOL8 -> CONV1-2 -> FC3", "input"),
        ("CONV3-2 -> CONCAT[ GAP | CONV3-2 -> GAP ] -> FC3", "conv2"),
        ("CONV3-2 -> AUX(0.3)[ CONV3-8 -> GAP -> FC3 ] -> FC3", "conv1"),
    ],
)
def test_the_last_map_is_the_last_layer_with_more_than_one_position_before_the_output(text, name):
    assert Network.parse(f"INPUT[8x8x1] -> {text}").plan().last_map.name == name
