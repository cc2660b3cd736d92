from __future__ import annotations

import json

import pytest

from neocog.cli.plan_limits import BYTE_UNITS, COUNT_UNITS, amount

NET = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"  # 187 parameters and 2,700 MACs: see test_plan.py


def test_every_exceeded_limit_is_explained_after_the_plan_with_exit_code_1(neocog):
    code, out, err = neocog("plan", NET, "--max-params", "0.1K", "--max-macs", 2600, "--max-memory", "1GiB")
    assert code == 1
    assert "4 layers, 187 parameters" in out
    assert err == (
        "error: 187 parameters, 87 more than the 100 allowed\n"
        "  try: begin with fc1, FC3: it has the most, 111 (59.4%)\n"
        "error: 2,700 MACs an image, 100 more than the 2,600 allowed\n"
        "  try: begin with conv1, CONV3-4: it has the most, 2,592 (96.0%)\n"
    )


def test_the_memory_limit_is_for_training_at_the_batch_given(neocog):
    options = ("--max-memory", "1MiB", "--optimizer", "adam", "--batch")
    assert neocog("plan", NET, *options, 1).code == 0
    code, _, err = neocog("plan", NET, *options, 1000)
    assert code == 1
    assert "to train with adam, batch 1000, float32" in err
    assert "begin with pool1, POOL2: it has the most" in err  # its switches, gradients and workspace


def test_json_has_the_limits_in_the_one_document(neocog):
    code, out, err = neocog("plan", NET, "--max-params", 186, "--max-macs", "2.7K", "--memory-limit", "1MiB", "--json")
    document = json.loads(out)
    assert (code, err.count("error: ")) == (1, 1)
    assert document["budgets"] == [
        {"name": "params", "limit": 186, "value": 187, "ok": False, "largest": {"layer": "fc1", "value": 111}},
        {"name": "macs", "limit": 2700, "value": 2700, "ok": True, "largest": {"layer": "conv1", "value": 2592}},
    ]
    assert document["memory_limit"]["limit"] == 2**20
    assert "budgets" not in json.loads(neocog("plan", NET, "--json").out)


def test_the_largest_batch_that_fits_is_printed_and_fits(neocog):
    code, out, err = neocog("plan", NET, "--memory-limit", "6MiB")
    batch = int(out.splitlines()[-1].split()[1].replace(",", ""))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith("whose training fits 6.0 MiB with momentum, float32")
    assert neocog("plan", NET, "--batch", batch, "--max-memory", "6MiB").code == 0
    assert neocog("plan", NET, "--batch", batch + 1, "--max-memory", "6MiB").code == 1
    assert "not even one image" in neocog("plan", NET, "--memory-limit", 10).out
    csv = neocog("plan", NET, "--memory-limit", "6MiB", "--format", "csv")
    assert ("largest" in csv.out, "largest" in csv.err) == (False, True)


@pytest.mark.parametrize("option", ["--max-params", "--max-macs", "--max-memory", "--memory-limit"])
@pytest.mark.parametrize("text", ["", "0", "-1", "1e6", "1 M", "M", "1T", "1.M", "0.1", "٣", "9" * 13, "1KK"])
def test_a_limit_that_is_no_amount_is_refused(option, text, neocog):
    code, out, err = neocog("plan", NET, f"{option}={text}")
    assert (code, out) == (2, "")
    assert f"argument {option}: a number from 1, alone or with K" in err


@pytest.mark.parametrize(
    ("units", "text", "value"),
    [
        *((COUNT_UNITS, text, value) for text, value in (("10k", 10_000), ("1.5M", 1_500_000), ("2b", 2 * 10**9))),
        *((BYTE_UNITS, text, value) for text, value in (("2GB", 2 * 10**9), ("512MiB", 2**29), ("1.5g", 3 * 2**29))),
    ],
)
def test_units_are_those_in_use_in_any_case(units, text, value):
    assert amount("1M", units)(text) == value


@pytest.mark.parametrize("text", ["1MiB", "1MB"])
def test_bytes_are_no_count(text, neocog):
    assert neocog("plan", NET, "--max-params", text).code == 2


def test_advice_names_layer_and_place_and_never_changes_the_exit_code(neocog):  # fact M6
    net = "INPUT[32x32x3] -> CONV3-8 -> POOL4 -> FC10"
    code, out, err = neocog("plan", net, "--advice")
    assert (code, err) == (0, "")
    assert "advice: pool1 at line 1, column 30: POOL4 pools over more than 3x3 values" in out
    document = json.loads(neocog("plan", net, "--advice", "--json").out)
    assert {"pool1"} <= {one["layer"] for one in document["advice"]}
    assert all(set(one) == {"layer", "at", "rule", "text"} for one in document["advice"])
    good = "INPUT[16x16x1] -> [CONV3-8 -> CONV3-8 -> POOL2]*2 -> FC3"
    assert neocog("plan", good, "--advice").out.endswith("advice: none, every layer follows the sizing rules\n")
