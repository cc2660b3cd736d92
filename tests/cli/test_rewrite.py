from __future__ import annotations

import json

import numpy as np
import pytest

from neocog import load
from neocog.rewrite import REWRITES


@pytest.fixture(scope="module")
def model(trained):
    return trained[1] / "model.safetensors"


def test_a_model_is_rewritten_into_another_file(neocog, model, tmp_path):
    before = model.read_bytes()
    out = tmp_path / "dense.safetensors"
    answer = neocog("rewrite", model, "fc-to-conv", "-o", out)
    assert answer.code == 0, answer.err
    assert model.read_bytes() == before
    for part in (
        "CONV7-10(P=0)",
        "CONV3-4",
        "parameters",
        "training memory",
        "verified    equal: largest difference",
        "next:",
    ):
        assert part in answer.out, part
    made = load(out)
    assert made.golden_error() == 0
    assert str(made.network).endswith("-> CONV7-10(P=0)")


def test_the_rewritten_model_evaluates_and_predicts_like_any_other(neocog, model, folder, tmp_path):
    out = tmp_path / "dense.safetensors"
    neocog("rewrite", model, "fc-to-conv", "-o", out)
    found = [json.loads(neocog("eval", one, folder, "--json").out)["top1"] for one in (model, out)]
    assert found[0] == found[1]


def test_json_has_the_change_and_the_verification(neocog, model, tmp_path):
    answer = neocog(
        "rewrite",
        model,
        "prune-channels",
        "--layer",
        "conv1",
        "--share",
        "0.5",
        "-o",
        tmp_path / "p.safetensors",
        "--json",
    )
    found = json.loads(answer.out)
    assert found["rewrite"] == "prune-channels"
    assert found["options"] == {"layer": "conv1", "share": 0.5}
    assert not found["verification"]["equal"]
    figures = {one["name"]: one for one in found["figures"]}
    assert figures["parameters"]["b"] < figures["parameters"]["a"]


def test_lists_rewrites_and_arrays(neocog, model):
    listed = json.loads(neocog("rewrite", "--list", "--json").out)["rewrites"]
    assert [one["name"] for one in listed] == [one.name for one in REWRITES]
    assert all(one.name in neocog("rewrite", "--list").out for one in REWRITES)
    arrays = json.loads(neocog("rewrite", model, "--json").out)["arrays"]
    assert [a["name"] for a in arrays] == list(load(model).weights)
    assert "4x1x3x3" in neocog("rewrite", model).out


def test_a_bias_raised_by_one_is_shown_in_the_mean(neocog, model, tmp_path):
    answer = neocog(
        "rewrite", model, "set-weights", "--layer", "conv1", "--bias", "-1", "-o", tmp_path / "b.safetensors", "--json"
    )
    before, after = json.loads(answer.out)["layer_means"]
    assert after - before == pytest.approx(-1, abs=1e-5)
    changed = load(tmp_path / "b.safetensors").weights["conv1.bias"] - load(model).weights["conv1.bias"]
    np.testing.assert_allclose(changed, -1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rewrite",), "a model file is needed"),
        (("rewrite", "MODEL", "fc-to-conv"), "-o says which file"),
        (("rewrite", "MODEL", "fc-to-conv", "-o", "MODEL"), "the old model is kept"),
        (("rewrite", "MODEL", "fc-to-cow", "-o", "OUT"), "there is no such rewrite"),
        (("rewrite", "MODEL", "fc-to-conv", "--layer", "fc1", "-o", "OUT"), "fc-to-conv has no such option"),
        (("rewrite", "MODEL", "dilate", "-o", "OUT"), "dilate needs --layer"),
        (
            ("rewrite", "MODEL", "prune-channels", "--layer", "conv1", "--share", "2", "-o", "OUT"),
            "--share is how much",
        ),
        (("rewrite", "MODEL", "set-weights", "--layer", "conv1", "--filter", "x", "-o", "OUT"), "--filter is which"),
        (("rewrite", "MODEL", "transplant", "--source", "nowhere.safetensors", "-o", "OUT"), "nowhere.safetensors"),
    ],
)
def test_mistakes_are_explained_and_nothing_is_written(neocog, model, tmp_path, arguments, says):
    out = tmp_path / "out.safetensors"
    named = {"MODEL": model, "OUT": out}
    before = model.read_bytes()
    answer = neocog(*(named.get(word, word) for word in arguments))
    assert answer.code == 2
    assert says in answer.err
    assert not out.exists()
    assert model.read_bytes() == before
