from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from neocog.explain import METHODS


@pytest.fixture(scope="session")
def digits(test_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits to explain")
    paths = [folder / f"{k}.png" for k in range(2)]
    for path, image in zip(paths, test_digits.images, strict=False):
        Image.fromarray(image[..., 0]).save(path)
    return paths


def document(answer, code=0):
    assert (answer.code, "Traceback" in answer.err) == (code, False), answer.err
    return json.loads(answer.out)


def test_explain_writes_a_picture_and_says_what_is_on_it(neocog, trained, digits, tmp_path):
    model, out = trained[1] / "model.safetensors", tmp_path / "why.png"
    found = document(neocog("explain", model, *digits, "--method", "grad-cam", "-o", out, "--json"))
    assert (found["method"], found["picture"]) == ("grad-cam", str(out))
    for one, path in zip(found["explanations"], digits, strict=True):
        assert one["file"] == str(path)
        assert one["layer"] == "pool2"
        assert one["target"].startswith("class ")
        assert 0 <= one["probability"] <= 1
        assert set(one["evidence"]) == {
            *("completeness_gap", "randomised_similarity"),
            *("deletion", "insertion", "random_deletion", "random_insertion"),
        }
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_explain_prints_the_caption(neocog, trained, digits, tmp_path):
    model, out = trained[1] / "model.safetensors", tmp_path / "why.png"
    options = ("--method", "gradient", "--target", 3, "--no-evidence", "-o", out)
    code, text, err = neocog("explain", model, digits[0], *options)
    lines = text.splitlines()
    assert (code, err) == (0, "")
    assert f"{digits[0]}: class 3, " in lines[0]
    assert lines[1].startswith("gradient (Simonyan et al., 2013); scale 0 to ")
    assert lines[-1] == f"picture  {out}"


def test_explain_speaks_chinese(neocog, trained, digits, tmp_path):
    model, out = trained[1] / "model.safetensors", tmp_path / "why.png"
    options = ("--method", "gradient", "--target", 3, "--no-evidence", "--lang", "zh", "-o", out)
    code, text, err = neocog("explain", model, digits[0], *options)
    lines = text.splitlines()
    assert (code, err) == (0, "")
    assert f"{digits[0]}：类别 3，" in lines[0]
    assert lines[-1] == f"图片  {out}"
    code, text, err = neocog("explain", "--list", "--lang", "zh")
    assert (code, err) == (0, "")
    assert text.split()[0] == "方法"


def test_explain_lists_every_method(neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, text, _ = neocog("explain", "--list")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()[2:] if not line.startswith(" ")] == [m.name for m in METHODS]
    assert [row["method"] for row in document(neocog("explain", "--list", "--json"))["methods"]] == [
        method.name for method in METHODS
    ]


@pytest.mark.parametrize(
    "options", [("--method", "filters"), ("--method", "maximise", "--layer", "conv1", "--count", 2)]
)
def test_some_methods_need_no_image(neocog, trained, tmp_path, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = document(neocog("explain", trained[1] / "model.safetensors", *options, "--json"))
    assert found["picture"] == "explain.png"
    with Image.open("explain.png") as picture:
        assert picture.width > 100


def test_a_data_set_is_looked_at(neocog, trained, folder, tmp_path):
    out, model = tmp_path / "patches.png", trained[1] / "model.safetensors"
    options = ("--method", "patches", "--data", folder, "--layer", "relu1", "--unit", 1, "--split", "train")
    found = document(neocog("explain", model, *options, "-o", out, "--json"))
    assert {row["unit"] for row in found["patches"]} == {1}
    values = [row["value"] for row in found["patches"]]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "a model is needed"),
        (("MODEL", "--method", "grad-cam"), "grad-cam needs an image"),
        (("MODEL", "IMAGE", "--method", "gradcam"), "there is no such method"),
        (("MODEL", "IMAGE", "--layer", "conv9"), "the network has no layer of this name"),
        (("MODEL", "IMAGE", "--target", "cat"), "the model knows no such class"),
        (("MODEL", "IMAGE", "-o", "why.jpg"), "a name ending in .png is needed"),
        (("MODEL", "nowhere.png"), "nowhere.png"),
        (("MODEL", "--method", "patches"), "this method needs a data set"),
        (("MODEL", "IMAGE", "--memory-limit", "lots"), "a number from 1"),
    ],
)
def test_mistakes_end_with_2_and_a_reason(neocog, trained, digits, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    names = {"MODEL": trained[1] / "model.safetensors", "IMAGE": digits[0]}
    answer = neocog("explain", *(names.get(a, a) for a in arguments), "--json")
    assert says in document(answer, code=2)["error"]["rule"] + answer.err
    assert not list(tmp_path.iterdir())


def test_a_limit_below_one_image_fails_before_anything_runs(neocog, trained, digits, tmp_path):
    model = trained[1] / "model.safetensors"
    answer = neocog("explain", model, digits[0], "--memory-limit", "1KiB", "-o", tmp_path / "a.png", "--json")
    assert document(answer, code=1)["error"]["rule"] == "one image needs more memory than it may take"
    assert np.array_equal(list(tmp_path.iterdir()), [])
