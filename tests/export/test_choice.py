"""Which runtime computes: every one gives the model's answers, and the fastest is measured only where it pays."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from exports import digits

from neocog import NeocogError
from neocog.runtimes import RUNTIMES, choice, choose
from neocog.runtimes.base import Runtime
from neocog.runtimes.choice import Rates, agreement, compared

HERE = ["torch", "native", "onnxruntime", *(["openvino"] if find_spec("openvino") else [])]


def fake(
    name: str, rate: float, *, wrong: bool = False, lack: str = "", slow: float = 0.0, broken: bool = False
) -> type[Runtime]:
    """A runtime that gives torch's answers, and that the stopwatch below believes to be so fast.

    It says that it takes `slow` seconds to be made ready, or cannot be made.
    """

    class Fake(RUNTIMES["torch"]):
        images_per_second = rate

        def __init__(self, model, dtype, batch=1):
            if broken:
                raise NeocogError(f"{name} does not compile this network")
            super().__init__(model, dtype, batch)

        @classmethod
        def patience(cls, network):
            return slow

        @classmethod
        def lacks(cls, model, dtype):
            return lack

        def scores(self, x):
            return super().scores(x) + wrong

    Fake.name = name
    return Fake


@pytest.fixture
def raced(monkeypatch, tmp_path):
    """Runtimes of given speeds in place of the real ones; what was timed is listed."""
    monkeypatch.setenv("NEOCOG_CACHE", str(tmp_path))
    timed: list[str] = []

    def race(*runtimes: type[Runtime]) -> list[str]:
        monkeypatch.setattr(choice, "RUNTIMES", {runtime.name: runtime for runtime in runtimes})
        monkeypatch.setattr(choice, "_seconds", stopwatch)
        return timed

    def stopwatch(made, x):
        timed.append(made.name)
        return len(x) / made.images_per_second

    return race


@pytest.mark.parametrize("name", HERE)
def test_every_runtime_gives_the_models_scores(residual, name):
    images = digits(40).images
    chosen = choose(residual, len(images), name)
    assert (chosen.runtime, chosen.model.runtime.name) == (name, name)
    np.testing.assert_allclose(chosen.model.answers(images), residual.answers(images), rtol=0, atol=1e-4)
    assert "the same classes on 32 images" in chosen.reason


def test_a_runtime_is_looked_at_in_batches_of_the_size_it_was_made_for(residual, monkeypatch):
    sizes = []
    runtime = RUNTIMES["torch"](residual, "float32")
    monkeypatch.setattr(type(runtime), "scores", lambda self, x: sizes.append(len(x)) or residual.scores(x))
    for batch, expected in ((1, [1] * 4), (3, [3, 3]), (16, [16])):
        sizes.clear()
        found = agreement(residual, runtime, batch)
        assert found.error < 1e-5  # sums of batches of other sizes are made in another order
        assert (found.others, found.images) == (0, sum(expected))
        assert sizes == expected


@pytest.mark.parametrize("name", HERE)
def test_a_runtime_takes_batches_of_other_sizes_than_it_was_made_for(residual, name):
    runtime, x = RUNTIMES[name](residual, "float32", 4), residual.preprocessing(digits(11).images)
    for size in (4, 4, 7, 1, 11):
        np.testing.assert_allclose(runtime.scores(x[:size]), residual.scores(x[:size]), rtol=0, atol=1e-4)


def test_bfloat16_states_how_far_it_is(residual):
    chosen = choose(residual, 100, "torch", "bfloat16")
    assert "outputs within" in chosen.reason
    error = agreement(residual, chosen.model.runtime, 1).error
    assert 0 < error < 0.1


def test_few_images_are_read_by_the_plain_module(residual):
    assert choose(residual, 3).model is residual


def test_where_torch_is_done_at_once_nothing_else_is_measured(residual, raced):
    timed = raced(fake("torch", 1000), fake("native", 9000))
    chosen = choose(residual, 1900)
    assert (chosen.runtime, timed) == ("torch", ["torch"])
    assert "no other was measured" in chosen.reason


def test_the_fastest_is_taken_and_remembered(residual, raced):
    timed, told = raced(fake("torch", 1000), fake("native", 9000), fake("onnxruntime", 5000)), []
    first = choose(residual, 3000, tell=told.append)
    assert first.runtime == "native"
    assert "native 9,000, onnxruntime 5,000, torch 1,000" in first.reason
    assert "measuring runtimes for 3,000 images" in told[0]
    count = len(timed)
    again = choose(residual, 3000)
    assert (again.runtime, len(timed)) == ("native", count)
    choose(residual, 3000, dtype="bfloat16")
    assert len(timed) > count


def test_the_fastest_are_timed_by_turns_and_each_counts_by_its_best(residual, raced, monkeypatch):
    timed = raced(fake("torch", 1000), fake("native", 9000), fake("onnxruntime", 8000), fake("openvino", 400))
    disturbed = {("native", 0), ("onnxruntime", 1), ("native", 2)}

    def stopwatch(made, x):
        turn = timed.count(made.name)
        timed.append(made.name)
        return len(x) / made.images_per_second * (1.9 if (made.name, turn) in disturbed else 1)

    monkeypatch.setattr(choice, "_seconds", stopwatch)
    chosen = choose(residual, 30_000)
    assert chosen.runtime == "native"
    assert "native 9,000, onnxruntime 8,000, torch 1,000, openvino 400" in chosen.reason
    assert timed[-2 * choice.TURNS :] == ["onnxruntime", "native"] * choice.TURNS


def test_where_memory_is_short_none_is_held_to_be_timed_again(residual, raced, monkeypatch):
    timed = raced(fake("torch", 1000), fake("native", 9000), fake("onnxruntime", 8000))
    monkeypatch.setattr(choice, "available_memory", lambda: 1)
    assert choose(residual, 30_000).runtime == "native"
    assert timed.count("native") == timed.count("onnxruntime") == 1


def test_one_image_at_a_time_is_measured_by_itself(residual, raced):
    timed = raced(fake("torch", 1000), fake("native", 9000))
    choose(residual, 3000)
    count = len(timed)
    choose(residual, 3000, batch=1)
    assert len(timed) > count


def test_a_runtime_with_other_answers_is_not_taken(residual, raced):
    raced(fake("torch", 1000), fake("native", 9000, wrong=True), fake("onnxruntime", 5000))
    told: list[str] = []
    assert choose(residual, 3000, tell=told.append).runtime == "onnxruntime"
    assert any("native does not give the model's answers" in line for line in told)
    with pytest.raises(NeocogError, match="native does not give the model's answers"):
        choose(residual, 3000, "native")


def test_what_cannot_run_a_model_is_left_out_or_says_why(residual, raced):
    raced(fake("torch", 1000), fake("native", 9000, lack="no kernel for LCN"))
    assert choose(residual, 3000).runtime == "torch"
    with pytest.raises(NeocogError, match="no kernel for LCN"):
        choose(residual, 3000, "native")


def test_measuring_ends_when_its_time_is_over(residual, raced, monkeypatch):
    timed = raced(fake("torch", 1000), fake("native", 9000), fake("onnxruntime", 5000))
    monkeypatch.setattr(choice, "BUDGET", -1.0)
    monkeypatch.setattr(choice, "SHARE", -1.0)
    assert choose(residual, 3000).runtime == "torch"
    assert "native" not in timed


def test_networks_of_many_layers_are_not_compiled_to_be_measured(residual, raced, monkeypatch):
    timed = raced(fake("torch", 1000), fake("native", 9000), fake("onnxruntime", 5000))
    monkeypatch.setattr(choice, "MOST_COMPILED", 5)
    assert choose(residual, 3000).runtime == "onnxruntime"
    assert "native" not in timed


def test_what_takes_long_to_be_made_is_tried_where_a_twentieth_of_torchs_time_is_longer(residual, raced):
    timed, told = raced(fake("torch", 1000), fake("native", 2000), fake("torch-compiled", 9000, slow=60)), []
    assert choose(residual, 1_000_000, tell=told.append).runtime == "native"  # torch would take 1,000 s
    assert choose(residual, 1_000_000).runtime == "native"
    assert "torch-compiled" not in timed
    assert choose(residual, 2_000_000, tell=told.append).runtime == "torch-compiled"
    assert "torch-compiled is being made ready, which may take 60 s" in told
    count = len(timed)
    assert (
        choose(residual, 3000).runtime == "torch-compiled"
    )  # what was found is remembered, as it is ready at once here
    assert len(timed) == count


def test_being_made_ready_counts_for_few_images():
    rates = Rates(1, {"onnxruntime": 40.0, "torch-compiled": 60.0}, {"onnxruntime": 0.5, "torch-compiled": 9.0})
    assert rates.fastest(100) == ["onnxruntime", "torch-compiled"]
    assert rates.fastest(10_000) == ["torch-compiled", "onnxruntime"]
    assert str(rates) == "images/s, 1 at once: torch-compiled 60 (ready in 9 s), onnxruntime 40 (ready in 0.5 s)"


def test_a_runtime_that_cannot_be_made_is_told_of_and_left_out(residual, raced):
    raced(fake("torch", 1000), fake("torch-compiled", 9000, broken=True), fake("native", 2000))
    told: list[str] = []
    assert choose(residual, 3000, tell=told.append).runtime == "native"
    assert "torch-compiled does not compile this network" in told
    assert choose(residual, 3000, tell=told.append).runtime == "native"
    assert told.count("torch-compiled does not compile this network") == 1


def test_damaged_records_are_measured_anew():
    for values in (
        {},
        {"batch": 1, "rates": {}, "ready": {}},
        {"batch": 1, "rates": {"torch": float("nan")}, "ready": {"torch": 0.0}},
        {"batch": 1, "rates": {"torch": 1.0}, "ready": {"torch": -1.0}},
        {"batch": 1, "rates": {"torch": 1.0}},
    ):
        with pytest.raises((ValueError, KeyError)):
            Rates.from_dict(values)
    kept = Rates(8, {"torch": 2.0}, {"torch": 0.1})
    assert Rates.from_dict(kept.as_dict()) == kept


def test_names_that_there_are_not_are_refused(residual):
    with pytest.raises(NeocogError, match="no such runtime"):
        choose(residual, 100, "tensorrt")
    with pytest.raises(NeocogError, match="no such dtype"):
        choose(residual, 100, "torch", "float8")
    with pytest.raises(NeocogError, match="native cannot run this model in int8"):
        choose(residual, 100, "native", "int8")


def test_outputs_that_are_no_numbers_or_too_few_differ_infinitely(residual):
    wanted = np.ones((2, 10), np.float32)
    for found in (np.full((2, 10), np.nan, np.float32), np.ones((2, 9), np.float32)):
        assert compared(residual, wanted, found) == (float("inf"), 2, 2)
    assert compared(replace(residual, loss="map"), wanted, wanted) == (0.0, 0, 2)
