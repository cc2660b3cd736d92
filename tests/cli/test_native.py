from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict

import pytest

from neocog import Network
from neocog.native.jit import machine
from neocog.native.stages import stages_of
from neocog.plan.tables import size

NET = "INPUT[10x8x2] -> CONV3-3 -> RELU -> POOL2 -> CONV3-40 -> TANH -> FLATTEN -> FC5"


def document(answer):
    assert (answer.code, answer.err) == (0, "")
    return json.loads(answer.out)


def test_every_layer_is_in_the_stage_that_it_runs_in(neocog):
    made = document(neocog("native", "lenet5-relu", "--json"))
    stages = [stage["layers"] for stage in made["stages"]]
    assert stages[:3] == [["input"], ["conv1", "relu1", "pool1"], ["conv2", "relu2", "pool2"]]
    assert stages[3:] == [["fc1", "relu3"], ["fc2", "relu4"], ["fc3"]]
    assert [stage["output"] for stage in made["stages"]][:3] == ["28x28x1", "14x14x6", "5x5x16"]


def test_a_sum_takes_in_the_normalization_that_only_it_reads(neocog):
    text = "INPUT[6x6x4] -> ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID] -> RELU -> POOL2 -> FLATTEN -> FC3"
    made = document(neocog("native", text, "--json"))
    assert [(stage["kind"], stage["layers"]) for stage in made["stages"]] == [
        ("input", ["input"]),
        ("weighted", ["conv1"]),
        ("blend", ["bn1", "relu1"]),
        ("weighted", ["conv2"]),
        ("blend", ["bn2", "add1"]),
        ("pool", ["relu2", "pool1"]),
        ("weighted", ["fc1"]),
    ]
    assert made["segments"] == 1 + 2 * 2  # each normalization needs all blocks twice
    out = neocog("native", text).out
    assert "blocks wait for each other 4 times a step" in out
    assert f"each block keeps {size(made['memory']['kept'])} while it waits" in out


def test_the_loss_is_the_one_for_the_last_layer(neocog):
    assert document(neocog("native", NET, "--json"))["loss"] == "cross-entropy"
    assert document(neocog("native", "lenet5", "--json"))["loss"] == "map"


def test_a_stage_says_what_was_chosen_for_it(neocog):
    made = document(neocog("native", NET, "--json"))
    network = Network.parse(NET)
    assert made["network"] == str(network)
    assert made["machine"] == asdict(machine())
    assert len(made["stages"]) == len(stages_of(network))
    first, *weighted = made["stages"]
    assert (first["forward"], first["weight_gradient"], first["input_gradient"]) == ([], [], [])
    for stage in weighted:
        (forward,), (gradient,) = stage["forward"], stage["weight_gradient"]
        assert forward["form"] in ("gather", "clipped gather")
        assert forward["weights"] in ("in place", "packed")
        assert set(forward["tile"]) == {"channels", "rows", "columns"}
        assert gradient["form"] in ("lanes hold images", "lanes hold channels")
    assert weighted[0]["input_gradient"] == []  # nobody asks for that of the images
    back = [(stage["layers"][0][:2], kernel["weights"]) for stage in weighted for kernel in stage["input_gradient"]]
    assert set(back) == {("co", "in place"), ("fc", "in place")}


def test_margins_and_memory_are_counted(neocog):
    made = document(neocog("native", "INPUT[9x8x2] -> CONV5-3 -> FC5", "--json"))
    assert made["stages"][0]["row"] == 8 + 2 + 2
    assert made["stages"][0]["plane"] >= (9 + 2 + 2) * 12
    numbers = made["machine"]["lanes"] * 4
    assert made["memory"]["arena"] >= 2 * 9 * 8 * numbers
    assert made["memory"]["arena"] % numbers == 0
    assert made["memory"]["kept"] == 0
    assert made["memory"]["weights"] >= (5 * 5 * 2 * 3 + 3 + 9 * 8 * 3 * 5 + 5) * 4


def test_the_table_has_a_line_for_each_stage(neocog, monkeypatch):
    code, out, err = neocog("native", "lenet5-relu")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split("   ")[0] for line in lines[3:9]] == [
        *("input", "conv1 relu1 pool1", "conv2 relu2 pool2", "fc1 relu3", "fc2 relu4", "fc3")
    ]
    assert " functions, for " in out
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, neocog("native", "lenet5-relu").out.splitlines())) <= 80


def test_show_prints_a_file_of_c(neocog):
    code, out, err = neocog("native", NET, "--show")
    assert (code, err) == (0, "")
    assert "conv1 relu1 pool1" in out[: out.index("*/")]
    assert "\nfloat train(struct net *n, " in out
    made = document(neocog("native", NET, "--show", "--json"))
    assert out.endswith(made["c"])
    assert all(f"void {kernel['function']}(" in out for stage in made["stages"] for kernel in stage["forward"])
    assert "c" not in document(neocog("native", NET, "--json"))


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_a_compiler_takes_what_is_shown(neocog, tmp_path):
    file = tmp_path / "net.c"
    file.write_text(neocog("native", NET, "--show").out)
    command = ["cc", "-std=c11", "-Wno-psabi", "-fsyntax-only", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_variables_of_a_pattern_are_set(neocog):
    made = document(neocog("native", "INPUT[8x8x1] -> [CONV3-4 -> RELU]*N -> FC3", "-D", "N=2", "--json"))
    assert [stage["layers"][0] for stage in made["stages"]] == ["input", "conv1", "conv2", "fc1"]


@pytest.mark.parametrize(
    ("net", "says"),
    [
        ("INPUT[8x8x2] -> CONV3-2", "no loss for a network that ends in a map (conv1)"),
        ("INPUT[8x8x2] -> CONV3-4 -> POOL8 -> FC3", "no kernel for max pooling over more than 49 positions (pool1)"),
        ("INPUT[8x8x2] -> FLATTEN -> CONV1-3", "no kernel for CONV behind FLATTEN (conv1)"),
    ],
)
def test_a_network_without_kernels_is_refused_with_the_layer(net, says, neocog):
    code, out, err = neocog("native", net)
    assert (code, out) == (2, "")
    assert err.startswith("error: the native engine has no kernels for this network\n")
    assert f"  received: {says}\n" in err
    answer = neocog("native", net, "--show", "--json")
    assert answer.code == 2
    assert json.loads(answer.out)["error"]["received"] == says
