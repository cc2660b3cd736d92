"""What was exported as ONNX comes back as the model that it was, bit for bit."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from exports import LAYER_EXAMPLES, RESIDUAL, network_of, varied

from neocog import ModelFileError, Network, load
from neocog.cli import main
from neocog.export.onnx_back import own_arrays, restored
from neocog.export.onnx_file import graph_of, write_onnx

SPECIAL = (
    'INPUT[9x8x2] -> CONV3-4(TABLE="0; 1; 0 1; 0 1", FLIP=yes) -> LCN3 -> LOCAL3x1-2(P=0x1) -> GROUPNORM(G=2) -> FC3'
)
SIZES = ("28x28", "56x60", "32x33", "14x14")
"""Inputs for digits: as they are, repeated, on a ground, made smaller."""


def test_arrays_of_every_layer_come_back_as_the_layer_has_them():
    for network in (*map(network_of, LAYER_EXAMPLES), Network.parse(SPECIAL)):
        weights = varied(network)
        found = own_arrays(network, graph_of(network, weights).arrays)
        aside = {name for name in weights if name not in found}
        assert not aside or "AUX" in str(network)
        for name, array in found.items():
            np.testing.assert_array_equal(array, weights[name], err_msg=f"{network}: {name}")


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("text", [RESIDUAL, *(f"INPUT[{size}x1] -> CONV3-3 -> RELU -> GAP -> FC10" for size in SIZES)])
def test_a_model_comes_back_byte_for_byte(make, tmp_path, text, inside):
    model = make(text)
    write_onnx(model, tmp_path / "model.onnx", inside=inside)
    back, fresh = restored(tmp_path / "model.onnx")
    assert fresh == ()
    assert back.sealed() == model.sealed()


def test_the_command_writes_the_same_model_file(residual, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    residual.save("before.safetensors")
    write_onnx(residual, tmp_path / "model.onnx")
    assert main(["import", "model.onnx", "-o", "after.safetensors"]) == 0
    assert "preprocessing, classes and golden images are those of the export" in capsys.readouterr().out
    assert (tmp_path / "after.safetensors").read_bytes() == (tmp_path / "before.safetensors").read_bytes()
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    assert main(["import", "model.onnx", "--classes", "names.txt", "-o", "named.safetensors"]) == 0
    assert load("named.safetensors").classes == tuple("abcdefghij")


def test_side_branches_that_are_not_exported_start_afresh(make, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = make("INPUT[28x28x1] -> CONV3-4(S=3, P=0, fit=floor) -> AUX(0.3)[GAP -> FC10] -> RELU -> FC10")
    write_onnx(model, tmp_path / "model.onnx")
    assert main(["import", "model.onnx", "-o", "after.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fresh"] == ["fc1.weight", "fc1.bias"]
    back = load("after.safetensors")
    np.testing.assert_array_equal(back.weights["fc2.weight"], model.weights["fc2.weight"])
    assert back.golden_error() < 1e-6


def test_an_export_that_was_changed_is_read_as_anybodys(residual, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_onnx(residual, tmp_path / "model.onnx", inside=False)
    proto = onnx.load("model.onnx")
    proto.graph.name = "changed"
    onnx.save(proto, "model.onnx")
    with pytest.raises(ModelFileError, match="the graph is not that of the network"):
        restored(tmp_path / "model.onnx")
    assert main(["import", "model.onnx", "--data", "mnist", "-o", "after.safetensors"]) == 0
    assert "changed since, read as anybody's" in " ".join(capsys.readouterr().out.split())
    np.testing.assert_array_equal(load("after.safetensors").weights["fc1.bias"], residual.weights["fc1.bias"])
