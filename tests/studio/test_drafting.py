"""A text as it is typed: its plan, or the mistake in its place with repairs that work."""

from __future__ import annotations

import pytest

from neocog import Network, zoo
from neocog.studio.drafting import DRAFTS, draft
from neocog.zoo import names, text

MISTAKES = {
    "INPUT[28x28x1] -> CONV5-6(S=2) -> RELU -> FC10": ("CONV5-6(S=2)", "S=1"),
    "INPUT[28x28x1] -> CONV5-6 -> RELUU -> FC10": ("RELUU", "RELU"),
    "INPUT[28x28x1]\n-> CONV3-4(P=0, S=2) -> FC10": ("CONV3-4(P=0, S=2)", "fit=floor"),
    "INPUT[28x28x1] -> CONV3-4 RELU -> FC10": ("RELU", "->"),
    "INPUT[28x28x1] -> POOL3 -> FC10": ("POOL3", "fit=floor"),
    "INPUT[9x9x3] -> CONV3-4(G=2) -> FC10": ("CONV3-4(G=2)", None),
    "INPUT[8x8x1] -> FC10 -> ": (None, None),
    "": (None, None),
}


def test_a_draft_is_the_plan():
    told = draft(text("lenet5-relu"), batch=32)
    made = zoo("lenet5-relu").plan(batch=32)
    assert told["ok"]
    assert told["totals"] == made.totals
    assert [layer["name"] for layer in told["layers"]] == [row.name for row in made.rows]
    assert told["layers"][1]["receptive_field"] == {"size": 5, "jump": 1, "start": 0}
    assert told["memory"]["training_bytes"] == made.memory["training_bytes"]
    assert max(count for _, _, count, _ in told["moments"]) == made.training.peak.bytes
    assert told["drawing"].startswith("<svg")


@pytest.mark.parametrize("source", MISTAKES)
def test_mistakes_are_shown_in_their_place(source):
    told = draft(source)
    assert not told["ok"]
    marked, repair = MISTAKES[source]
    error = told["error"]
    if marked is not None:
        assert source[error["begin"] : error["end"]] == marked
    labels = [one["label"] for one in error["repairs"]]
    assert repair is None or repair in labels


@pytest.mark.parametrize("source", [source for source, (_, repair) in MISTAKES.items() if repair])
def test_repairs_give_networks_or_come_further(source):
    before = len(draft(source)["layers"])
    for one in draft(source)["error"]["repairs"]:
        repaired = draft(one["text"])
        assert repaired["ok"] or len(repaired["layers"]) > before


def test_layers_before_the_mistake_are_shown():
    told = draft("INPUT[28x28x1] -> CONV5-6 -> POOL2 -> CONV3-8(S=2, P=0) -> FC10")
    assert [layer["name"] for layer in told["layers"]] == ["input", "conv1", "pool1"]


@pytest.mark.parametrize("name", ["vgg16", "resnet110", "googlenet", "pattern"])
def test_networks_of_the_zoo_are_drafts(name):
    told = draft(text(name))
    assert told["ok"]
    assert Network.parse(told["network"]) == zoo(name)


def test_through_the_api(api):
    answer = api("POST", "plan", {"text": "INPUT[8x8x1] -> <script>alert(1)</script>"})
    assert answer.status == 200
    assert not answer.json["ok"]
    assert answer.headers["content-type"] == "application/json"
    about = api("GET", "about").json
    assert "mnist" in about["data"]
    assert {one["name"] for one in about["zoo"]} == set(names())


def test_windows_are_judged_for_every_stride(api):
    found = api("POST", "window", {"size": 7, "kernel": 3, "padding": 0}).json
    fits = {one["stride"]: one["output"] for one in found}
    assert (fits[1], fits[2], fits[3], fits[4]) == (5, 3, None, 2)
    assert "(7 - 3 + 0)/3 + 1 = 2.333" in found[2]["why"]


def test_few_plans_are_kept():
    for side in range(1, 2 * DRAFTS):
        assert draft(f"INPUT[{side}x1x1] -> FC2")["ok"]
    assert draft.cache_info().currsize == DRAFTS
