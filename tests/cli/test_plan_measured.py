"""`neocog plan` with times, measurements and effective fields, on a calibration made up."""

from __future__ import annotations

import json
from functools import partial

import pytest
from made_up import MACHINE, PACE

from neocog.measure import native_time, time
from neocog.plan.tables import size

NET = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"
STEPS = [(mode, engine) for mode in ("training", "inference") for engine in ("torch", "native")]


@pytest.fixture(autouse=True)
def calibrated(monkeypatch):
    monkeypatch.setattr("neocog.measure.time.calibration_for", lambda plan, **_: MACHINE)
    monkeypatch.setattr("neocog.measure.pace.pace_for", lambda plan, **_: PACE)


def test_times_are_predicted_for_training_and_inference(neocog):
    code, out, _ = neocog("plan", NET, "--time")
    assert code == 0
    for line, (mode, engine) in zip(out.splitlines()[-4:], STEPS, strict=True):
        assert line.startswith(f"{mode} by {engine}, batch 1, float32: ")
        assert "in four of five), " in line
    document = json.loads(neocog("plan", NET, "--time", "--json").out)
    assert [(step["mode"], step["engine"]) for step in document["time"]] == STEPS
    assert all(step["low"] <= step["seconds"] <= step["high"] for step in document["time"])


def test_what_the_native_engine_does_not_cover_is_predicted_for_torch_alone(neocog):
    out = neocog("plan", "INPUT[16x16x1] -> POOL9(S=1) -> FC3", "--time").out
    assert "by torch" in out
    assert "native" not in out


def test_the_native_engine_s_memory_is_said_in_all_and_by_purpose(neocog):
    document = json.loads(neocog("plan", NET, "--batch", 40, "--time", "--json").out)
    native = document["native"]
    for mode in ("inference", "training"):
        assert native[f"{mode}_bytes"] == sum(native["parts"][mode].values())
    assert native["parts"]["training"]["batch"] > 40 * 6 * 6 * 2 * 4
    out = neocog("plan", NET, "--batch", 40, "--time").out
    sizes = [size(native[f"{mode}_bytes"]) for mode in ("inference", "training")]
    assert "the native engine takes {} for inference, {} for training".format(*sizes) in " ".join(out.split())
    assert "native" not in json.loads(neocog("plan", NET, "--json").out)


def test_measuring_puts_what_was_predicted_beside_what_happened(neocog, monkeypatch):
    for module in (time, native_time):
        monkeypatch.setattr(module, "compare", partial(module.compare, seconds=0.05))
    code, out, _ = neocog("plan", NET, "--batch", 4, "--measure", "--json")
    document = json.loads(out)
    assert code == 0
    assert [(one["predicted"]["mode"], one["predicted"]["engine"]) for one in document["measured"]] == STEPS
    for one in document["measured"]:
        assert [layer["name"] for layer in one["layers"]] == ["input", "conv1", "relu1", "pool1", "fc1"]
        assert one["measured"]["seconds"] > 0
    assert document["measured_memory"].keys() == {"training", "inference"}
    assert all(one["peak_bytes"] > 0 for one in document["measured_memory"].values())


def test_a_limit_on_latency_names_the_slowest_layer(neocog):
    code, _, err = neocog("plan", NET, "--max-latency", "0.01us")
    assert code == 1
    assert "expected for a batch of 1 in float32" in err
    assert "begin with conv1, CONV3-4: it has the most" in err
    assert neocog("plan", NET, "--max-latency", "1s").code == 0


@pytest.mark.parametrize("text", ["20", "0ms", "1h", "1e3s"])
def test_a_time_needs_its_unit(text, neocog):
    code, _, err = neocog("plan", NET, "--max-latency", text)
    assert code == 2
    assert "a time above 0 with us, ms, s as in 20ms is needed" in err


def test_effective_fields_are_listed_and_drawn(neocog, tmp_path):
    code, out, _ = neocog(
        "plan", "INPUT[16x16x1] -> CONV3-4 -> CONV3-4 -> FC3", "--effective-field", tmp_path / "f.png"
    )
    assert code == 0
    assert "effective" in out
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert neocog("plan", NET, "--effective-field", tmp_path / "f.svg").code == 2


def test_measuring_is_not_for_families_or_comparisons(neocog):
    assert "is not for a comparison" in neocog("plan", NET, "--diff", NET, "--measure").err
    assert "not for a family" in neocog("plan", "N=1 INPUT[8x8x1] -> [RELU]*N", "-D", "N=1..2", "--time").err
