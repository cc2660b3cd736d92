"""The doctor says what is the matter with runs that are made ill on purpose, and nothing of one that is well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neocog import Network, train
from neocog.data import Splits
from neocog.initialise import initialise
from neocog.torch_engine import build
from neocog.training.doctor import dead_relus, first_loss, mode_gap, step_sizes
from neocog.training.progress import Silence
from neocog.training.run import read_metrics

WITH_BN = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> BN -> RELU -> POOL2 -> FC10"


class Listener(Silence):
    """Keeps what it is told of."""

    def __init__(self):
        self.findings = []

    def found(self, finding):
        self.findings.append(finding)


def findings(network, data, path, **settings):
    """What is found in a run, by name; told, logged and shown are the same."""
    listener = Listener()
    quick = {"epochs": 3, "batch_size": 32, "device": "cpu", "out": path}
    train(network, data, progress=listener, **{**quick, **settings})
    logged = [line["finding"] for line in read_metrics(path) if line["kind"] == "finding"]
    assert logged == [finding.as_dict() for finding in listener.findings]
    page = (path / "report.html").read_text(encoding="utf-8")
    assert [f"<dt>{finding.name}</dt>" in page for finding in listener.findings] == [True] * len(listener.findings)
    assert all(finding.action for finding in listener.findings)
    return {finding.name: finding for finding in listener.findings}


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_of_a_healthy_run_nothing_is_said(engine, small, digits, tmp_path):
    assert findings(small, digits, tmp_path / "run", engine=engine, lr=0.05) == {}


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_run_that_learns_nothing_is_told_from_one_that_cannot(engine, small, digits, tmp_path):
    rng = np.random.default_rng(0)
    mixed = Splits(replace(digits.train, labels=rng.permutation(digits.train.labels)), digits.test)
    can = findings(small, mixed, tmp_path / "mixed", epochs=1, engine=engine, lr=0.05)["not learning"]
    assert "though it can learn one mini-batch by heart" in can.says
    assert "labels" in can.action
    cannot = findings(small, digits, tmp_path / "zeros", epochs=1, engine=engine, init="zeros")["not learning"]
    assert "cannot even learn one mini-batch by heart" in cannot.says
    assert "init=auto" in cannot.action


def test_steps_that_are_too_small_are_named_with_their_layers(small, digits, tmp_path):
    found = findings(small, digits, tmp_path / "run", epochs=2, lr=1e-7, schedule="constant", weight_decay=0.0)
    assert "a larger learning rate" in found["steps too small"].action
    assert [place[0].split()[0] for place in found["steps too small"].places] == ["conv1.weight", "fc1.weight"]


def test_the_steps_of_layers_with_rates_of_their_own_are_as_asked(small, digits, tmp_path):
    assert findings(small, digits, tmp_path / "run", lr=0.05, rates="conv1=0") == {}


def test_images_in_both_splits_are_found_before_the_first_step(small, digits, tmp_path):
    images = digits.test.images.copy()
    images[3] = digits.train.images[5]
    found = findings(small, Splits(digits.train, replace(digits.test, images=images)), tmp_path / "run", epochs=1)
    assert ("train image 5", "test image 3") in found["leak"].places


def test_a_run_is_the_same_with_the_doctor_looking_more_closely(digits, tmp_path, monkeypatch):
    """What it runs on copies leaves weights and random numbers alone."""
    network = Network.parse("INPUT[28x28x1] -> POOL2 -> CONV3-4 -> BN -> RELU -> POOL2 -> DROPOUT(0.3) -> FC10")
    quick = {"epochs": 2, "batch_size": 32, "device": "cpu", "progress": "none", "engine": "torch"}
    watched = train(network, digits, out=tmp_path / "watched", **quick).weights
    monkeypatch.setattr("neocog.training.doctor.Doctor._look_inside", lambda self, weights: ())
    alone = train(network, digits, out=tmp_path / "alone", **quick).weights
    assert all(np.array_equal(watched[name], array) for name, array in alone.items())


NET = Network.parse("INPUT[6x6x1] -> CONV3-4 -> RELU -> GAP -> FC8 -> RELU -> FC3")


@pytest.mark.parametrize(
    ("loss", "says"), [(1.1, None), (3.0, None), (4.5, "ln 3"), (0.3, "ln 3"), (float("nan"), None)]
)
def test_a_first_loss_is_held_against_that_of_knowing_nothing(loss, says):
    found = [finding.says for finding in first_loss(loss, NET, "cross-entropy")]
    assert found == (
        [] if says is None else [f"the first loss is {loss:.3g}; a network that knows nothing has 1.1 = {says}"]
    )


def test_a_first_loss_of_penalties_is_no_matter():
    assert list(first_loss(900.0, Network.parse("INPUT[6x6x1] -> FC84 -> RBF10"), "map")) == []


def test_dead_relus_are_counted_by_layer():
    weights = initialise(NET, 0, "he")
    weights["conv1.bias"][:3] = -1e3
    weights["fc1.bias"][:3], weights["fc1.bias"][3:] = -1e3, 1e3
    x = np.random.default_rng(1).normal(size=(20, 1, 6, 6)).astype(np.float32)
    (finding,) = dead_relus(NET, weights, x)
    assert finding.places == (("relu1 3 of 4",),)  # of relu2 3 of 8 are fewer than the share that is said
    assert list(dead_relus(NET, initialise(NET, 0, "he"), x)) == []


def test_step_sizes_are_relative_and_of_weights_alone():
    before = initialise(NET, 0, "he")
    after = {name: array * np.float32(1.001) for name, array in before.items()}
    assert list(step_sizes(before, after)) == []
    after["fc1.weight"] = before["fc1.weight"] * np.float32(1.5)
    after["conv1.weight"] = before["conv1.weight"]
    after["fc2.bias"] = before["fc2.bias"] + np.float32(100)
    large, small = step_sizes(before, after)
    assert (large.name, large.places) == ("steps too large", (("fc1.weight 5.0e-01",),))
    assert (small.name, small.places) == ("steps too small", (("conv1.weight 0.0e+00",),))


def test_running_statistics_that_lag_behind_are_found(digits):
    network = Network.parse(WITH_BN)
    weights = initialise(network, 0, "he")
    x = np.ascontiguousarray(digits.train.images.transpose(0, 3, 1, 2), np.float32) / 64 + 50
    (finding,) = mode_gap(network, weights, x, said_in_training(network, weights, x), 32)
    assert "100.0% are right in training mode" in finding.says


def test_what_is_drawn_in_training_mode_is_the_same_whatever_was_drawn_before(digits, monkeypatch):
    monkeypatch.setattr("neocog.training.doctor.GAP", -2)  # so that something is always said
    network = Network.parse(WITH_BN.replace("FC10", "DROPOUT -> FC10"))
    weights = initialise(network, 0, "he")
    x = np.ascontiguousarray(digits.train.images.transpose(0, 3, 1, 2), np.float32) / 255
    said = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            said += mode_gap(network, weights, x, digits.train.labels, 32)
    assert said[0] == said[1]


def said_in_training(network, weights, x):
    """What the network says of the images in training mode, which then is right of all of them."""
    with torch.no_grad():
        module = build(network, weights=weights).train()
        return torch.cat([module(torch.from_numpy(x[k : k + 32])) for k in range(0, len(x), 32)]).argmax(dim=1).numpy()
