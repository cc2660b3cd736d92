"""A step that would not fit into memory is made in pieces, or refused before anything is written."""

from __future__ import annotations

import pytest
import torch

from neocog import NeocogError, Network, RunError, resume, train
from neocog.torch_engine.trainer import TorchTrainer
from neocog.training import room, session
from neocog.training.progress import Silence

NET = Network.parse("INPUT[28x28x1] -> CONV3-4 -> [TANH -> CONV3-4]*7 -> TANH -> POOL4 -> FC10")
BATCH = 64


def freely(monkeypatch, share):
    needed = NET.plan(batch=BATCH, optimizer="nesterov").memory["training_bytes"]
    monkeypatch.setattr(room, "available_memory", lambda: int(share * needed))


def learn(out, digits, **settings):
    given = {"epochs": 1, "batch_size": BATCH, "engine": "torch", "device": "cpu", "progress": "none", **settings}
    return train(NET, digits, out=out, **given)


def test_what_fits_in_pieces_is_trained_so_and_gives_the_same_weights(tmp_path, digits, monkeypatch):
    freely(monkeypatch, 1.01)
    plain = learn(tmp_path / "plain", digits)
    assert "computed twice" not in plain.record["reason"]
    freely(monkeypatch, 0.7)
    found = learn(tmp_path / "pieces", digits)
    assert "; volumes are computed twice to save memory: " in found.record["reason"]
    for name, array in plain.weights.items():
        assert (found.weights[name] == array).all()


def test_what_does_not_fit_at_all_is_refused_with_the_batch_that_would(tmp_path, digits, monkeypatch):
    freely(monkeypatch, 0.2)
    with pytest.raises(RunError, match="a training step needs more memory than is free") as refusal:
        learn(tmp_path / "run", digits)
    assert not (tmp_path / "run").exists()
    assert "for 64 images at once" in str(refusal.value)
    parts, most = (int(part.split("=")[1]) for part in refusal.value.hint.split(", or "))
    assert 1 <= most < BATCH <= most * parts
    assert learn(tmp_path / "run", digits, accumulate=parts).record["settings"]["accumulate"] == parts


def test_a_network_of_which_no_image_fits_needs_to_be_smaller(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(room, "available_memory", lambda: 1)
    with pytest.raises(NeocogError) as refusal:
        learn(tmp_path / "run", digits)
    assert refusal.value.hint == "a smaller network"


def test_a_mini_batch_is_no_larger_than_the_training_set(tmp_path, digits, monkeypatch):
    needed = NET.plan(batch=len(digits.train.labels), optimizer="nesterov").memory["training_bytes"]
    monkeypatch.setattr(room, "available_memory", lambda: needed)
    assert "computed twice" not in learn(tmp_path / "run", digits, batch_size=10**6).record["reason"]


@pytest.mark.parametrize("engine", ["native", "torch", "auto"])
def test_a_network_a_thousand_times_too_wide_is_refused_before_its_weights_are_drawn(
    tmp_path, digits, monkeypatch, engine
):
    wide = Network.parse("INPUT[28x28x1] -> CONV5-6000 -> RELU -> POOL2 -> FC120000 -> RELU -> FC10")
    monkeypatch.setattr(session, "initialise", None)
    with pytest.raises(RunError, match="a training step needs more memory than is free") as refusal:
        train(wide, digits, out=tmp_path / "run", epochs=1, engine=engine, device="cpu", progress="none")
    assert refusal.value.hint == "a smaller network"
    assert not (tmp_path / "run").exists()


class Starving(Silence):
    """Has torch refused memory in the first step after the first epoch: more is asked for than there are addresses."""

    def __init__(self, patch):
        self.patch = patch

    def epoch_done(self, *_):
        self.patch.setattr(TorchTrainer, "learn", lambda *_: torch.empty(2**46))


def test_memory_that_runs_out_ends_the_run_with_the_plans_numbers_and_a_whole_checkpoint(tmp_path, digits, small):
    settings = {"epochs": 2, "batch_size": 64, "engine": "torch", "device": "cpu", "seed": 3}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RunError, match="memory ran out while training") as short:
        train(small, digits, out=tmp_path / "run", progress=Starving(patch), **settings)
    assert "by the plan" in str(short.value)
    assert "the last checkpoint: " in str(short.value)
    assert "neocog train --resume" in short.value.hint
    taken_up = resume(tmp_path / "run", data=digits, progress="none")
    whole = train(small, digits, out=tmp_path / "whole", progress="none", **settings)
    for name, array in whole.weights.items():
        assert (taken_up.weights[name] == array).all()
