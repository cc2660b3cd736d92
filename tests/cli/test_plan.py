from __future__ import annotations

import csv
import io
import json

import pytest

from neocog import Network
from neocog.plan.drawing import draw
from neocog.zoo import text

NET = "INPUT[6x6x2] -> CONV3-4 -> RELU -> POOL2 -> FC3"


def layer(name, op, token, inputs, output, counts, field):
    """One layer of the JSON document, without what the public contract does not name."""
    costs = dict(zip(("parameters", "connections", "macs"), counts, strict=True))
    seen = dict(zip(("size", "jump", "start"), field, strict=True))
    return (
        {"name": name, "op": op, "token": token, "input": inputs, "output": output} | costs | {"receptive_field": seen}
    )


LAYERS = [  # counted by hand: a 3x3x2 filter has 18 weights; facts C4, C11, P1
    layer("input", "INPUT", "INPUT[6x6x2]", [6, 6, 2], [6, 6, 2], (0, 0, 0), (1, 1, 0)),
    layer("conv1", "CONV", "CONV3-4", [6, 6, 2], [6, 6, 4], (4 * 19, 144 * 19, 144 * 18), (3, 1, 0)),
    layer("relu1", "RELU", "RELU", [6, 6, 4], [6, 6, 4], (0, 0, 0), (3, 1, 0)),
    layer("pool1", "POOL", "POOL2", [6, 6, 4], [3, 3, 4], (0, 36 * 4, 0), (4, 2, 0.5)),
    layer("fc1", "FC", "FC3", [3, 3, 4], [1, 1, 3], (3 * 37, 3 * 37, 3 * 36), (8, 2, 2.5)),
]


def test_json_is_the_public_contract(neocog):
    code, out, err = neocog("plan", NET, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert [{key: row[key] for key in LAYERS[0]} for row in document["layers"]] == LAYERS
    assert set(document["layers"][0]) - set(LAYERS[0]) == {"from", "kept"}
    totals = {"parameters": 187, "connections": 2991, "macs": 2700, "activations": 72 + 144 + 36 + 3}
    assert {key: document["totals"][key] for key in totals} == totals
    memory = document["memory"]  # fact M4; what is really alive is worked out by hand in tests/plan/test_timeline.py
    parameters, volumes, batch = 4 * 187, 4 * 255, 4 * 72 + 8
    kinds = {"activations": volumes, "activation_gradients": volumes, "parameters": parameters}
    kinds |= {"parameter_gradients": parameters, "optimizer": parameters, "batch": batch, "im2col": 4 * 18 * 36}
    assert {kind: memory[f"{kind}_bytes"] for kind in kinds} == kinds
    assert memory["training_peak"] == {"phase": "backward", "layer": "pool1", "bytes": memory["training_bytes"]}
    assert memory["inference_peak"] == {"phase": "forward", "layer": "pool1", "bytes": memory["inference_bytes"]}
    assert document["memory"]["batch"] == 1
    assert Network.parse(document["network"]) == Network.parse(NET)


def test_memory_is_for_the_batch_type_and_optimizer_that_were_asked_for(neocog):
    _, out, _ = neocog("plan", NET, "--json", "--batch", 8, "--dtype", "bfloat16", "--optimizer", "adam")
    memory = json.loads(out)["memory"]
    assert (memory["batch"], memory["dtype"], memory["optimizer"]) == (8, "bfloat16", "adam")
    assert memory["activations_bytes"] == 8 * 2 * 255
    assert memory["optimizer_bytes"] == 2 * 4 * 187


def test_the_table_has_every_layer_and_the_totals(neocog):
    code, out, err = neocog("plan", NET)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["layer", "written", "output", "parameters", "connections", "MACs", "sees", "jump"]
    assert lines[3].split() == ["conv1", "CONV3-4", "6x6x4", "76", "2,736", "2,592", "3", "1"]
    assert "4 layers, 187 parameters, 2,991 connections" in lines


@pytest.mark.parametrize("network", ["vgg16", "lenet5", "resnet50", "alexnet"])
@pytest.mark.parametrize("columns", ["80", "100", "132"])
def test_the_table_fits_the_screen_and_cuts_no_number(network, columns, neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    _, out, _ = neocog("plan", network, "--timeline")
    assert max(map(len, out.splitlines())) <= int(columns)
    plan = json.loads(neocog("plan", network, "--json").out)
    missing = [row["name"] for row in plan["layers"] if row["macs"] and f"{row['macs']:,}" not in out]
    assert missing == []
    header = out.splitlines()[0].split()
    left_out = {"connections", "jump", "sees", "written"} - set(header)
    assert not left_out or f"(left out at {columns} columns: " in out
    assert all(name in out for name in left_out)


def test_into_a_pipe_nothing_is_left_out_and_nothing_is_coloured(shell):
    done = shell("neocog plan resnet50 | cat", FORCE_COLOR="")
    assert (done.returncode, done.stderr) == (0, "")
    assert "connections" in done.stdout.splitlines()[0]
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("columns", ["0", "1", "20", "nonsense"])
def test_an_odd_width_is_no_reason_to_fail(columns, neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert neocog("plan", NET).code == 0


def test_csv_has_a_line_for_each_layer_with_plain_numbers(neocog):
    rows = list(csv.DictReader(io.StringIO(neocog("plan", NET, "--format", "csv").out)))
    assert [row["name"] for row in rows] == [row["name"] for row in LAYERS]
    assert [int(row["connections"]) for row in rows] == [row["connections"] for row in LAYERS]
    assert (rows[3]["input"], rows[3]["output"], rows[3]["start"]) == ("6x6x4", "3x3x4", "0.5")


def test_markdown_is_a_table_with_totals(neocog):
    lines = neocog("plan", NET, "--format", "markdown").out.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {9}
    assert table[-1] == "| **total** |  |  | **187** | **2,991** | **2,700** |  |  |"
    assert "- 4 layers, 187 parameters, 2,991 connections" in lines


def test_net_is_a_text_a_file_a_zoo_name_or_a_model(neocog, tmp_path, trained):
    def parameters(*net):
        code, out, err = neocog("plan", *net, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)["totals"]["parameters"]

    (tmp_path / "my.net").write_text(f"# mine\n{NET}\n", encoding="utf-8")
    (tmp_path / "windows.net").write_bytes(b"\xef\xbb\xbf" + NET.replace(" -> ", "\r\n -> ").encode())
    (tmp_path / "plain").write_text(NET, encoding="utf-8")
    for file in ("my.net", "windows.net", "plain"):
        assert parameters(tmp_path / file) == parameters(NET) == 187
    assert parameters("vgg16") == parameters(text("vgg16")) == 138_357_544  # fact M1
    assert parameters(trained[1] / "model.safetensors") == 4 * 10 + (7 * 7 * 4 + 1) * 10


def test_draw_writes_a_figure_beside_the_answer(neocog, tmp_path):
    file = tmp_path / "new folder" / "my figure.SVG"
    assert neocog("plan", NET, "--json", "--draw", file) == neocog("plan", NET, "--json")
    figure = file.read_bytes()
    assert figure == draw(Network.parse(NET).plan(), title=NET)
    assert b"INPUT[6x6x2] -&gt; CONV3-4" in figure
    assert neocog("plan", NET, "--draw", file.with_suffix(".png")).code == 0
    assert file.with_suffix(".png").read_bytes() == draw(Network.parse(NET).plan(), ".png", title=NET)


def test_a_figure_that_cannot_be_written_is_said_before_anything_is_printed(neocog, tmp_path):
    code, out, err = neocog("plan", NET, "--draw", tmp_path / "figure.jpg")
    assert (code, out) == (2, "")
    assert "a name ending in .svg or .png is needed, not" in err
    (tmp_path / "taken.svg").mkdir()
    code, out, err = neocog("plan", NET, "--draw", tmp_path / "taken.svg")
    assert (code, out) == (1, "")
    assert f"{tmp_path / 'taken.svg'}: this file cannot be written" in err
    assert [path.name for path in tmp_path.iterdir()] == ["taken.svg"]


def test_pattern_variables_are_given_with_D(neocog):
    pattern = "INPUT[8x8x1] -> [CONV3-4 -> RELU]*N -> POOL2?p -> FC3"
    plans = {
        (n, p): [
            row["op"] for row in json.loads(neocog("plan", pattern, "-D", f"N={n}", f"-Dp={p}", "--json").out)["layers"]
        ]
        for n in (1, 3)
        for p in (0, 1)
    }
    for (n, p), ops in plans.items():
        assert ops == ["INPUT", *["CONV", "RELU"] * n, *["POOL"] * p, "FC"]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("28x28", "INPUT[28x28] is a sequence, 28 steps of 28 channels; a grey image is INPUT[28x28x1]\n"),
        ("100x8", "INPUT[100x8] is a sequence, 100 steps of 8 channels\n"),
    ],
)
def test_a_sequence_is_said_to_be_one(neocog, size, said):
    assert neocog("plan", f"INPUT[{size}] -> FC3").out.endswith(said)
    assert "sequence" not in neocog("plan", f"INPUT[{size}x1] -> FC3").out


def test_a_network_that_does_not_fit_shows_the_layers_before_the_arithmetic_and_the_fixes(neocog):  # fact C3
    code, out, err = neocog("plan", "INPUT[10x1] -> CONV1-2 -> RELU -> CONV3-1(S=2, P=0) -> RELU")
    lines = err.splitlines()
    assert (code, out) == (2, "")
    assert [line.split()[0] for line in lines[2:5]] == ["input", "conv1", "relu1"]
    assert lines[5].startswith("error: conv2 at line 1, column 35: ")
    assert "(10 - 3 + 0)/2 + 1 = 4.5" in lines[5]
    assert "W=10, F=3, P=0, S=2" in lines[6].replace("L=", "W=").replace("H=", "W=")
    assert "fit=floor" in lines[7]


@pytest.mark.parametrize("net", ["INPUT[10x1] -> CONV3-1(S=2, P=0)", "INPUT[10x1] -> CONF3-1", "lenet", "nowhere.net"])
def test_with_json_an_error_is_a_document_too(net, neocog):
    code, out, err = neocog("plan", net, "--json")
    error = json.loads(out)["error"]
    assert code == 2
    assert set(error) == {"kind", "where", "rule", "received", "hint"}
    assert error["rule"] in err


def test_the_timeline_of_a_training_step_is_a_table_or_json(neocog):
    asked = ("plan", "INPUT[32x32x3] -> CONV3-64 -> RELU -> FC2", "--batch", "64", "--timeline")
    out = neocog(*asked).out
    rows = [line.split() for line in out.splitlines() if line.startswith(("forward ", "backward ", "update "))]
    moments = json.loads(neocog(*asked, "--json").out)["timeline"]
    assert [(row[0], row[1]) for row in rows] == [(moment["phase"], moment["layer"]) for moment in moments]
    assert [row[0] for row in rows] == ["forward"] * 4 + ["backward"] * 3 + ["update"]
    peak = max(moments, key=lambda moment: moment["bytes"])
    assert peak["layer"] in [row[1] for row in rows if row[-1] == "100%"]
    assert neocog(*asked, "--diff", "lenet5").code == 2
