from __future__ import annotations

import json

import numpy as np
import pytest

from neocog import NeocogError
from neocog.training.seeds import Runs, parse_seeds, train_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", (0,)), ("3", (0, 1, 2)), ("4..6", (4, 5, 6)), ("7..7", (7,)), ("2, 9,4", (2, 9, 4)), ("1,1,2", (1, 2))],
)
def test_seeds_are_a_number_of_them_a_range_or_a_list(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "0", "five", "3..1", "1..", "-1", "1,", "1..2..3", "1001", "0..1000", "0..999999999"]
)
def test_what_says_no_seeds_is_refused(text):
    with pytest.raises(NeocogError, match="seeds are how many, a range or a list, of 1 to 1000"):
        parse_seeds(text)


def test_each_seed_has_a_run_and_the_folder_a_summary(small, digits, tmp_path):
    quick = {"epochs": 1, "batch_size": 32, "progress": "none", "device": "cpu"}
    runs = train_seeds(small, digits, (3, 5), out=tmp_path / "many", **quick)
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["seed-3", "seed-5", "seeds.json"]
    assert [model.record["settings"]["seed"] for model in runs.models] == [3, 5]
    first, second = runs.accuracies
    assert runs.mean == pytest.approx((first + second) / 2)
    assert runs.deviation == pytest.approx(abs(first - second) / np.sqrt(2))
    summary = json.loads((tmp_path / "many" / "seeds.json").read_text(encoding="utf-8"))
    assert [run["seed"] for run in summary["runs"]] == [3, 5]
    assert summary["mean"] == runs.mean
    assert Runs(runs.folder, runs.seeds[:1], runs.models[:1]).deviation is None


def test_folders_of_several_runs_are_numbered(small, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        train_seeds(small, digits, (0,), epochs=1, batch_size=128, progress="none", device="cpu")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mnist-seeds-1", "mnist-seeds-2"]
