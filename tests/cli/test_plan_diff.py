from __future__ import annotations

import csv
import io
import json

import pytest

from neocog import Network, zoo
from neocog.plan import difference
from neocog.plan.tables import size

A = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"
B = "INPUT[6x6x2] -> CONV3-4 -> BN -> RELU -> POOL2 -> FC5"


def test_json_is_the_difference_of_the_two_plans(neocog):
    code, out, err = neocog("plan", "lenet5", "--diff", "lenet5-relu", "--batch", 8, "--json")
    assert (code, err) == (0, "")
    found = difference(zoo("lenet5").plan(batch=8), zoo("lenet5-relu").plan(batch=8))
    assert json.loads(out) == json.loads(json.dumps(found.as_dict()))
    assert {one["change"] for one in found.as_dict()["layers"]} == {"kept", "changed", "added", "removed"}


def squeezed(out: str) -> list[str]:
    """The lines of tables, one blank between cells, without those of the head's rule."""
    return [" ".join(line.split()) for line in out.splitlines() if not line.startswith("─")]


def test_the_tables_show_both_texts_what_changed_and_the_totals(neocog):
    code, out, err = neocog("plan", A, "--diff", B)
    assert (code, err) == (0, "")
    a, b = (Network.parse(text).plan().memory for text in (A, B))
    memory = [
        f"{kind} memory {size(a[name])} {size(b[name])} +{size(b[name] - a[name])} +{b[name] / a[name] - 1:.1%}"
        for kind, name in (("inference", "inference_bytes"), ("training", "training_bytes"))
    ]
    assert squeezed(out) == [
        *(f"A {A}", f"B {B}", ""),
        *("more more", "A B written output parameters MACs"),
        *("input input INPUT[6x6x2] 6x6x2", "conv1 conv1 CONV3-4 6x6x4"),
        "+ bn1 BN 6x6x4 +8",
        *("relu1 relu1 RELU 6x6x4", "pool1 pool1 POOL2 3x3x4"),
        "~ fc1 fc1 FC3 => FC5 1x1x3 => 1x1x5 +74 +72",
        *("", "A B change in %"),
        *("layers 4 5 +1 +25.0%", "parameters 187 269 +82 +43.9%", "connections 2,991 3,065 +74 +2.5%"),
        *("MACs 2,700 2,772 +72 +2.7%", "activations 255 401 +146 +57.3%"),
        *memory,
        "last map sees 4 4",
    ]


def test_what_is_kept_for_long_is_shown_by_its_first_and_last(neocog):
    lines = squeezed(neocog("plan", "vgg16", "--diff", "vgg16").out)
    start = lines.index("input input INPUT[224x224x3] 224x224x3")
    assert lines[start + 1 : start + 3] == ["... ... 37 more kept", "fc3 fc3 FC1000 1x1x1000"]


@pytest.mark.parametrize("other", ["alexnet", "vgg16-bn"])
@pytest.mark.parametrize("columns", ["80", "100", "132"])
def test_the_tables_fit_the_screen(columns, other, neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    out = neocog("plan", "vgg16", "--diff", other).out
    assert max(map(len, out.splitlines())) <= int(columns)


def test_csv_has_every_layer_and_markdown_both_tables(neocog):
    rows = list(csv.DictReader(io.StringIO(neocog("plan", A, "--diff", B, "--format", "csv").out)))
    assert [(row["change"], row["name_a"], row["name_b"]) for row in rows] == [
        *[("kept", "input", "input"), ("kept", "conv1", "conv1"), ("added", "", "bn1"), ("kept", "relu1", "relu1")],
        *[("kept", "pool1", "pool1"), ("changed", "fc1", "fc1")],
    ]
    assert (rows[-1]["parameters_a"], rows[-1]["parameters_b"]) == ("111", "185")
    lines = neocog("plan", A, "--diff", B, "--format", "markdown").out.splitlines()
    assert "| + |  | bn1 | BN | 6x6x4 | +8 |  |" in lines
    assert "| parameters | 187 | 269 | +82 | +43.9% |" in lines


def test_variables_are_those_of_the_first_network(neocog):
    document = json.loads(neocog("plan", "pattern", "-D", "N=1", "--diff", "pattern", "--json").out)
    figures = {one["name"]: one for one in document["figures"]}
    assert figures["parameters"]["a"] == zoo("pattern", N=1).plan().totals["parameters"]
    assert figures["parameters"]["b"] == zoo("pattern").plan().totals["parameters"]


@pytest.mark.parametrize("bad", ["INPUT[10x1] -> CONV3-1(S=2, P=0)", "INPUT[10x1] -> CONF3-1", "nowhere.net", ""])
def test_a_network_that_cannot_be_planned_is_named_as_the_first_or_the_second(bad, neocog):
    for which, arguments in (("NET", (bad, "--diff", A)), ("--diff", (A, "--diff", bad))):
        code, out, err = neocog("plan", *arguments)
        assert (code, out) == (2, "")
        assert f"error: {which}: " in err
        assert json.loads(neocog("plan", *arguments, "--json").out)["error"]["where"].startswith(which)


def test_the_layers_before_the_one_that_fails_are_shown(neocog):
    err = neocog("plan", A, "--diff", "INPUT[10x1] -> RELU -> CONV3-1(S=2, P=0)").err
    assert [line.split()[0] for line in err.splitlines()[2:4]] == ["input", "relu1"]
    assert "error: --diff: conv1 at line 1, column 24: " in err


@pytest.mark.parametrize(
    "option", [("--draw", "a.svg"), ("--advice",), ("--max-params", "1M"), ("--max-memory", "1GiB")]
)
def test_what_is_about_one_network_is_refused_for_a_comparison(option, neocog):
    code, out, err = neocog("plan", A, "--diff", "lenet5", *option)
    assert (code, out) == (2, "")
    assert err == f"error: {option[0]} is not for a comparison\n  try: without --diff lenet5\n"
