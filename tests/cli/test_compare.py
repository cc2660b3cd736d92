from __future__ import annotations

import json

import pytest

NET = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10"


@pytest.fixture(scope="module")
def runs(neocog, folder, tmp_path_factory):
    parent = tmp_path_factory.mktemp("runs")
    for name, options in (("first", ()), ("second", ("--lr", 0.002)), ("third", ("--seed", 1))):
        quick = ("--epochs", 2, "--device", "cpu", "--batch-size", 32)
        assert neocog("train", NET, folder, "--out", parent / name, *quick, *options).code == 0
    return [parent / name for name in ("first", "second", "third")]


def test_results_settings_that_differ_and_a_verdict_are_printed(neocog, runs):
    code, out, _ = neocog("compare", *runs[:2])
    assert code == 0
    assert "test accuracy" in out
    assert [line.split() for line in out.splitlines() if line.startswith("lr ")] == [["lr", "0.02", "0.002"]]
    assert "second against first: -" in out
    assert "seed" not in out.split("against")[0]


def test_the_document_says_the_same_in_numbers(neocog, runs):
    code, out, _ = neocog("compare", *runs, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["settings"] == {"lr": [0.02, 0.002, 0.02], "seed": [0, 0, 1]}
    assert [len(found[part]) for part in ("runs", "against_the_first")] == [3, 2]
    for run, other in zip(found["runs"][1:], found["against_the_first"], strict=True):
        assert other["difference"] == pytest.approx(run["test_accuracy"] - found["runs"][0]["test_accuracy"])
        assert other["only_second"] - other["only_first"] == found["runs"][0]["wrong"] - run["wrong"]
        assert other["interval"][0] <= other["difference"] <= other["interval"][1]


def test_the_page_is_written_where_it_is_wanted(neocog, runs, tmp_path):
    page = tmp_path / "a" / "page.html"
    code, out, _ = neocog("compare", *runs, "-o", page)
    assert code == 0
    assert str(page) in out
    assert "first, second, third" in page.read_text(encoding="utf-8")


def test_runs_of_one_name_are_called_by_their_paths(neocog, runs):
    code, out, _ = neocog("compare", runs[0], runs[1], runs[0])
    assert code == 0
    assert f"{runs[0]} against {runs[0]}: +0.00 points" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{0}",), "two runs or more"),
        (("{0}", "nowhere"), "no folder of a finished run"),
        (("{0}", "{1}", "-o", "page.txt"), "a name ending in .html is needed"),
    ],
)
def test_what_cannot_be_compared_is_refused(neocog, runs, arguments, says):
    code, _, err = neocog("compare", *(text.format(*runs) for text in arguments))
    assert code == 2
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics.jsonl", b"no JSON\n"),
        ("metrics.jsonl", b""),
        ("answers.npy", b"no array"),
        ("answers.npy", b"\x80\x04K\x01."),
    ],
)
def test_damaged_files_of_a_run_are_refused(neocog, runs, tmp_path, name, content):
    for file in [path for path in runs[0].iterdir() if path.is_file()]:
        (tmp_path / file.name).write_bytes(content if file.name == name else file.read_bytes())
    code, _, err = neocog("compare", runs[1], tmp_path)
    assert code == 2
    assert "the files of this run cannot be read" in err
