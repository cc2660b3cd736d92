"""`export` writes, compares and reports; what does not agree is deleted. `eval` and `predict` take what it wrote."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from exports import digits
from idx_files import write_digits
from PIL import Image

from neocog import ModelFileError, NeocogError, RunError
from neocog.cli import main
from neocog.predict import export, exporting
from neocog.predict.beside import in_int8
from neocog.runtimes import open_model, quantised

FORMATS = {"onnx": "model.onnx", "torch": "model.pt2"}
if shutil.which("cc"):
    FORMATS["c"] = "model.c"


def call(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True, scope="module")
def _hasty():
    """Latencies are measured, and nobody relies on them here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "TIMED", 0.0)
        yield


@pytest.fixture(scope="module")
def files(residual, tmp_path_factory):
    """A folder with the model and an export in every format, and what each `export --json` said."""
    folder = tmp_path_factory.mktemp("exports")
    residual.save(folder / "model.safetensors")
    said = {}
    for to, name in FORMATS.items():
        code, out, _ = call("export", folder / "model.safetensors", "--to", to, "-o", folder / name, "--json")
        assert code == 0
        said[to] = json.loads(out)
    return folder, said


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("data") / "digits", 20, 100)


@pytest.mark.parametrize("to", FORMATS)
def test_every_export_is_compared_with_its_source(files, to):
    checked = files[1][to]["checked"]
    assert checked["golden"]["error"] < 1e-4
    assert checked["random"]["error"] < 1e-4
    assert (checked["golden"]["images"], checked["random"]["images"], checked["random"]["others"]) == (4, 64, 0)
    for name in ("source_seconds", "export_seconds"):
        assert min(checked[name]["one"], checked[name]["batch"]) > 0
    assert all(size > 0 for size in files[1][to]["bytes"])


def test_the_report_says_what_it_is_to_be_given_and_how_it_compares(files):
    folder, _ = files
    code, out, _ = call("export", folder / "model.safetensors", "--to", "onnx", "-o", folder / "again.onnx")
    assert code == 0
    for part in (
        "it takes images (N, 28, 28, 1) of bytes",
        "golden images: the same classes on 4 images",
        "64 images",
        "ms",
    ):
        assert part in out
    _, beside, _ = call(
        *("export", folder / "model.safetensors", "--to", "onnx", "-o", folder / "again.onnx"),
        *("--preprocessing", "beside"),
    )
    assert "it takes x (N, 1, 28, 28)" in beside


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_that_does_not_agree_is_deleted(residual, tmp_path, monkeypatch, to):
    monkeypatch.setattr(exporting, "AGREED", -1.0)
    with pytest.raises(RunError, match="does not give the model's answers, and was deleted"):
        export(residual, to, tmp_path / FORMATS[to])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("to", "name", "says"),
    [
        ("onnx", "model.txt", "a name ending in .onnx"),
        ("coreml", "model.mlmodel", "no such format"),
        ("torchvision", "model.bin", "a name ending in .safetensors"),
        ("c", "my-net.c", "becomes a name in C"),
    ],
)
def test_names_and_formats_that_do_not_fit_are_refused(files, tmp_path, to, name, says):
    code, _, err = call("export", files[0] / "model.safetensors", "--to", to, "-o", tmp_path / name)
    assert (code, says in err) == (2, True)


def test_without_a_compiler_c_is_written_and_said_not_to_be_compared(residual, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    report = export(residual, "c", tmp_path / "model.c")
    assert report.checked is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.c", "model.h"]


# -- using them ----------------------------------------------------------------------------------------------------


def test_several_files_are_measured_in_one_table(files, data):
    folder, _ = files
    models = [folder / name for name in ("model.safetensors", "model.onnx", "model.pt2")]
    code, out, _ = call("eval", *models, data, "--trust", "--json")
    document = json.loads(out)
    assert (code, document["images"]) == (0, 100)
    first, *others = document["models"]
    assert (first["deviation"], first["runtime"]) == (0.0, "torch")
    for other in others:
        assert (other["top1"], other["top5"], other["other_classes"]) == (first["top1"], first["top5"], 0)
        assert 0 < other["deviation"] < 1e-3
        assert other["images_per_second"] > 0
    _, text, _ = call("eval", *models, data, "--trust")
    assert all(name in text for name in ("model.onnx", "onnxruntime", "deviation", "100 test images"))


def test_one_export_alone_is_measured_as_a_model_is(files, data):
    folder, _ = files
    documents = [
        json.loads(call("eval", folder / name, data, "--json")[1]) for name in ("model.safetensors", "model.onnx")
    ]
    for document in documents:
        del document["model"], document["golden_error"]
    first, second = documents
    assert first.keys() == second.keys()
    assert first["confusion"] == second["confusion"]


def test_models_of_other_images_are_not_compared(files, data, make, tmp_path):
    other = make("INPUT[28x28x1] -> POOL4 -> FC10")
    file = tmp_path / "other.safetensors"
    type(other)(other.network, other.weights, other.preprocessing, tuple("abcdefghij"), other.loss).save(file)
    code, _, err = call("eval", files[0] / "model.safetensors", file, data)
    assert (code, "classes are not the model's" in err, str(file) in err) == (2, True, True)


def test_predict_takes_an_export(files, tmp_path):
    folder, _ = files
    image = tmp_path / "seven.png"
    Image.fromarray(digits(1).images[0, ..., 0]).save(image)
    found = [
        json.loads(call("predict", folder / name, image, "--json")[1])["predictions"][0]
        for name in ("model.safetensors", "model.onnx")
    ]
    assert found[0]["class"] == found[1]["class"]
    np.testing.assert_allclose(
        [top["probability"] for top in found[0]["top"]], [top["probability"] for top in found[1]["top"]], atol=1e-4
    )


def test_a_score_map_needs_the_model_file(files, tmp_path):
    image = tmp_path / "page.png"
    Image.fromarray(np.zeros((60, 60), np.uint8)).save(image)
    code, _, err = call("predict", files[0] / "model.onnx", image, "--dense")
    assert (code, "an export takes images of one size" in err) == (2, True)


def test_a_runtime_is_taken_that_is_asked_for(files, data):
    model = files[0] / "model.safetensors"
    code, _, err = call("eval", model, data, "--runtime", "onnxruntime")
    assert (code, "runtime onnxruntime, float32: asked for" in err) == (0, True)
    code, _, err = call("eval", files[0] / "model.onnx", data, "--runtime", "native")
    assert (code, "an export is run by onnxruntime" in err) == (2, True)


def test_a_program_of_torch_is_opened_only_where_it_is_trusted(files, data):
    file = files[0] / "model.pt2"
    code, _, err = call("eval", file, data)
    assert (code, "torch runs what a .pt2 file holds" in err, "--trust" in err) == (2, True, True)
    assert call("eval", file, data, "--trust")[0] == 0


def test_a_program_says_which_torch_wrote_it_and_takes_any_batch(files, residual, tmp_path):
    told = {"neocog.json": ""}
    program = torch.export.load(files[0] / "model.pt2", extra_files=told)
    assert json.loads(told["neocog.json"])["torch"] == torch.__version__
    images = digits(7).images
    with torch.no_grad():
        for count in (1, 7):
            found = program.module()(torch.from_numpy(images[:count].copy()))
            np.testing.assert_allclose(found.numpy(), residual.answers(images[:count]), rtol=0, atol=1e-4)


def test_programs_of_others_are_refused(tmp_path):
    file = tmp_path / "other.pt2"
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, file)
    with pytest.raises(ModelFileError, match="was not written by neocog"):
        open_model(file, trust=True)
    file.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ModelFileError, match="torch cannot load"):
        open_model(file, trust=True)


def test_what_is_missing_says_how_to_get_it(files, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelFileError, match=r"pip install 'neocog\[export\]'"):
        open_model(files[0] / "model.onnx")


def test_formats_of_preprocessing_are_two(residual, tmp_path):
    with pytest.raises(NeocogError, match="inside or beside"):
        export(residual, "onnx", tmp_path / "a.onnx", preprocessing="outside")


# -- int8 ----------------------------------------------------------------------------------------------------------


def test_int8_is_calibrated_on_the_users_images_and_says_what_it_costs(files, data):
    code, out, err = call("eval", files[0] / "model.safetensors", data, "--dtype", "int8", "--drop", 50, "--json")
    assert code == 0
    assert "runtime onnxruntime, int8: top-1" in err
    assert "in float32" in err
    assert json.loads(out)["images"] == 100


def test_int8_that_costs_more_than_allowed_is_refused(residual, monkeypatch):
    labels = residual.answers(digits(60).images).argmax(1)
    right = replace(digits(60), labels=labels)
    monkeypatch.setattr(quantised, "quantised", lambda model, images: Upside())
    with pytest.raises(RunError, match="int8 may cost"):
        in_int8(residual, right, 0.01)
    exact, rough = in_int8(residual, right, 1.0)
    assert exact.result.top1 == 1.0
    assert rough.result.top1 < 1.0


class Upside:
    """Scores upside down."""

    name, reads_bytes = "onnxruntime", False

    def scores(self, x):
        return np.linspace(0, 1, 10, dtype=np.float32)[None].repeat(len(x), axis=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--runtime", "native"), "int8 is computed by onnxruntime"),
        (("--drop", "a tenth"), "a number from 0 to 100"),
    ],
)
def test_int8_has_one_runtime_and_a_limit(files, data, options, says):
    code, _, err = call("eval", files[0] / "model.safetensors", data, "--dtype", "int8", *options)
    assert (code, says in err) == (2, True)
