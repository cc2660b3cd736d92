"""Runs that are killed at any moment and resumed are, to the last bit, those that were not."""

from __future__ import annotations

import random
import signal

import numpy as np
import pytest
from dying import train

from neocog import Network, load, resume
from neocog.training.checkpoint import checkpoint_files, read_checkpoint
from neocog.training.run import read_metrics

NET = "INPUT[28x28x1] -> POOL4 -> CONV3-5 -> BN -> RELU -> DROPOUT(0.2) -> FC10"
STEPS = 18
TIMES = ("seconds", "images_per_second", "waiting", "advice")
"""What an epoch's line says of how long it took."""
SEED = random.SystemRandom().randrange(10**6)
"""Printed where a test fails, since it is in the names of its runs."""


def asked(folder, engine, out, *more):
    """Three epochs of six steps, with everything that is drawn or remembered."""
    return (
        *(NET, folder, "--engine", engine, "--device", "cpu", "--out", out, "--epochs", 3, "--batch-size", 16),
        *("--augment", "shift=1, rotate=5, scale=0.1", "--ema", "0.9", "--optimizer", "adamw", *more),
    )


@pytest.fixture(scope="module", params=["native", "torch"])
def whole(request, dying, digits_folder, tmp_path_factory):
    """A run that nothing stops: its engine and folder, and how many events it has with a checkpoint after each step."""
    out = tmp_path_factory.mktemp("whole") / "run"
    often = ("--checkpoint-minutes", 0)
    runs = [train(*asked(digits_folder, request.param, path, *often), at_event=-1) for path in (out, f"{out}-2")]
    first, second = dying(*runs)  # the first one also writes into the cache of compiled code
    assert (first.code, second.code) == (0, 0), first.err + second.err
    return request.param, out, second.events


@pytest.fixture(autouse=True)
def _without_drawing(monkeypatch):
    """Resumed runs are compared by their numbers; their reports would take most of the time."""
    monkeypatch.setattr("neocog.training.session.write_report", lambda *_: None)


def contents(run):
    """All that a finished run holds, but for how long it took."""
    model = load(run / "model.safetensors")
    last = read_checkpoint(checkpoint_files(run / "checkpoints")[-1], Network.parse(NET))
    best = load(run / "checkpoints" / "best.safetensors")
    lines = [{name: value for name, value in line.items() if name not in TIMES} for line in read_metrics(run)]
    return {"served": model.weights, "state": last.state, "best": best.weights}, (lines, best.record["best"])


def assert_same(run, other):
    (arrays, rest), (expected, expected_rest) = contents(run), contents(other)
    assert rest == expected_rest
    for kind, named in expected.items():
        assert named.keys() == arrays[kind].keys()
        for name, array in named.items():
            np.testing.assert_array_equal(arrays[kind][name], array, err_msg=f"{kind} {name}", strict=True)
    assert list(run.rglob(".*")) == []


def check_killed(dying, whole, digits_folder, tmp_path, moments, *more):
    """Start, kill at each moment (one run each) and resume, all runs against the whole one."""
    engine, expected, _ = whole
    runs = [tmp_path / "-".join(map(str, (SEED, *moment.values()))) for moment in moments]
    cases = [
        train(*asked(digits_folder, engine, run, *more), **moment) for run, moment in zip(runs, moments, strict=True)
    ]
    for run, ended in zip(runs, dying(*cases), strict=True):
        assert ended.code == -signal.SIGKILL, (run, ended)
        if not (run / "config.yaml").exists():  # killed before there was a run
            assert not checkpoint_files(run / "checkpoints")
            continue
        resume(run, progress="none")
        assert_same(run, expected)


def test_a_run_killed_within_an_epoch_ends_with_the_same_bits(dying, whole, digits_folder, tmp_path):
    steps = random.Random(SEED).sample(range(1, STEPS), 4)
    check_killed(dying, whole, digits_folder, tmp_path, [{"at_step": step} for step in steps[:2]])
    often = ("--checkpoint-minutes", 0)
    check_killed(dying, whole, digits_folder, tmp_path, [{"at_step": step} for step in steps[2:]], *often)


def test_a_run_killed_while_a_file_is_written_ends_with_the_same_bits(dying, whole, digits_folder, tmp_path):
    events = random.Random(SEED).sample(range(whole[2]), 4)
    check_killed(dying, whole, digits_folder, tmp_path, [{"at_event": n} for n in events], "--checkpoint-minutes", 0)


@pytest.mark.slow
def test_thirty_random_moments(dying, whole, digits_folder, tmp_path):
    rng = random.Random(SEED)
    moments = [{"at_step": rng.randrange(1, STEPS), "run": k} for k in range(30)]
    check_killed(dying, whole, digits_folder, tmp_path, moments, "--checkpoint-minutes", 0)


@pytest.mark.slow
def test_every_call_that_changes_a_file(dying, whole, digits_folder, tmp_path):
    """Before each temporary file, third of its content, fsync, rename and removal, and so after each of them."""
    moments = [{"at_event": n} for n in range(whole[2])]
    check_killed(dying, whole, digits_folder, tmp_path, moments, "--checkpoint-minutes", 0)


def test_killed_again_and_again(dying, whole, digits_folder, tmp_path):
    """Each process dies in its fifth step, before that has a checkpoint."""
    engine, expected, _ = whole
    run = tmp_path / "run"
    often = ("--checkpoint-minutes", 0)
    again = [train("--resume", run, at_step=5) for _ in range(4)]
    ended = dying(train(*asked(digits_folder, engine, run, *often), at_step=5), *again)
    assert [one.code for one in ended] == [-signal.SIGKILL] * 4 + [0]
    assert "resumed in epoch 3, after step 16" in ended[-1].err
    assert_same(run, expected)
