from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from neocog import __version__, load, zoo
from neocog.check.network_check import Row
from neocog.cli import VERBS
from neocog.zoo import names

NET = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10"


def document(answer, code=0):
    assert (answer.code, "Traceback" in answer.err) == (code, False)
    return json.loads(answer.out)


@pytest.fixture(scope="session")
def images(test_digits, tmp_path_factory) -> list[Path]:
    """PNG files of the first ten test digits."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{k}.png" for k in range(10)]
    for path, image in zip(paths, test_digits.images, strict=False):
        Image.fromarray(image[..., 0]).save(path)
    return paths


def test_train_answers_with_the_numbers_of_the_run(trained):
    answer, out = trained
    record = document(answer)
    assert {"test_accuracy", "seconds", "epochs", "images_per_second", "engine"} <= set(record)
    assert 0.6 < record["test_accuracy"] <= 1
    assert (record["epochs"], record["engine"], record["device"], record["test_images"]) == (6, "native", "cpu", 200)
    assert record["seconds"] > 0
    assert record["images_per_second"] > 0
    assert record["folder"] == str(out)


def test_the_progress_of_training_goes_to_stderr(trained):
    lines = trained[0].err.splitlines()
    assert "384 images" in lines[0]
    assert [line[:9] for line in lines[1:]] == [f"epoch {k}/6" for k in range(1, 7)]


def test_a_run_leaves_model_metrics_settings_and_report(trained):
    _, out = trained
    assert sorted(entry.name for entry in out.iterdir()) == [
        "answers.npy",
        "checkpoints",
        "config.yaml",
        "events.out.tfevents.neocog",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
        "results.csv",
    ]


def test_train_ends_with_the_accuracy_the_files_and_commands_that_work(neocog, folder, images, tmp_path):
    out = tmp_path / "a run"
    options = ("--epochs", 1, "--device", "cpu", "--target-accuracy", 0.01)
    code, text, err = neocog("train", NET, folder, "--out", out, *options)
    lines = text.splitlines()
    assert code == 0
    assert " of 200 test images right (" in lines[1]
    assert f"model   {out}/model.safetensors" in lines
    assert f"report  {out}/report.html" in lines
    commands = [line.split("  # ")[0].strip() for line in lines[lines.index("next:") + 1 :]]
    assert [command.split()[:2] for command in commands] == [["neocog", verb] for verb in ("predict", "eval", "plan")]
    assert f"'{out}/model.safetensors'" in commands[0]
    assert commands[1].endswith(f"'{folder}'")
    assert "epoch 1/1" in err
    for command in commands:
        assert neocog(*shlex.split(command.replace("IMAGE...", f"'{images[0]}'"))[1:]).code == 0


def test_a_recipe_gives_what_the_command_line_does_not(neocog, folder, tmp_path):
    recipe = tmp_path / "a.toml"
    recipe.write_text(f'network = "{NET}"\ndata = "{folder}"\nepochs = 2\naugment = "shift=1"\nema = 0.9\n')
    out = tmp_path / "run"
    answer = neocog("train", "--recipe", recipe, "--epochs", 1, "--device", "cpu", "--out", out, "--json")
    record = document(answer)
    assert record["network"] == NET
    assert {name: record["settings"][name] for name in ("epochs", "augment", "ema", "batch_size")} == {
        "epochs": 1,
        "augment": "shift=1",
        "ema": 0.9,
        "batch_size": 64,
    }


def test_several_seeds_give_a_run_each_and_their_mean(neocog, folder, tmp_path):
    quick = ("--epochs", 1, "--device", "cpu")
    code, text, _ = neocog("train", NET, folder, "--seeds", "2", "--out", tmp_path / "many", *quick)
    assert code == 0
    assert "points of the test images right, 2 seeds" in " ".join(text.split())
    found = document(neocog("train", NET, folder, "--seeds", "7..8", "--out", tmp_path / "more", *quick, "--json"))
    assert [run["seed"] for run in found["runs"]] == [7, 8]
    assert load(tmp_path / "more" / "seed-8" / "model.safetensors").record["settings"]["seed"] == 8
    code, _, err = neocog("train", NET, folder, "--seeds", "2", "--seed", 1, *quick)
    assert (code, "--seeds takes the place of --seed" in err) == (2, True)


def test_a_learning_rate_is_found_without_a_run(neocog, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = document(neocog("train", NET, folder, "--find-lr", "rates.svg", "--device", "cpu", "--json"))
    assert found["suggestion"] == found["lowest"] / 10
    assert (tmp_path / "rates.svg").read_text(encoding="utf-8").startswith("<svg")
    assert [path.name for path in tmp_path.iterdir()] == ["rates.svg"]
    code, text, _ = neocog("train", NET, folder, "--find-lr", "rates.svg", "--device", "cpu")
    assert code == 0
    assert f"--lr {found['suggestion']:.2g}" in text


def test_training_may_start_from_a_model_and_be_measured_by_views(neocog, trained, folder, tmp_path):
    start, quick = trained[1] / "model.safetensors", ("--epochs", 1, "--device", "cpu", "--lr", 0.001)
    found = document(
        neocog("train", NET, folder, "--from", start, "--tta", "shift=1", *quick, "--out", tmp_path / "run", "--json")
    )
    assert found["settings"]["start"] == str(start)
    assert found["test_accuracy"] > 0.7
    model = tmp_path / "run" / "model.safetensors"
    assert document(neocog("eval", model, folder, "--tta", "shift=1", "--json"))["top1"] == found["tta_accuracy"]


def test_eval_measures_what_training_measured(neocog, trained, folder):
    answer, out = trained
    result = document(neocog("eval", out / "model.safetensors", folder, "--json"))
    assert result["top1"] == document(answer)["test_accuracy"]
    assert result["top1"] <= result["top5"] <= 1
    assert [row["class"] for row in result["per_class"]] == list("0123456789")
    assert sum(row["images"] for row in result["per_class"]) == result["images"] == 200
    assert result["golden_error"] == 0
    learned = document(neocog("eval", out / "model.safetensors", folder, "--split", "train", "--json"))
    assert (learned["split"], learned["images"]) == ("train", 384)


def test_eval_prints_each_class_and_the_totals(neocog, trained, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = neocog("eval", trained[1] / "model.safetensors", folder)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in lines[2:12]] == list("0123456789")
    assert " on 200 test images (" in lines[13]
    assert max(map(len, lines)) <= 80


def test_predict_reads_image_files(neocog, trained, images):
    model = trained[1] / "model.safetensors"
    result = document(neocog("predict", model, *images, "--json", "--top", 2))
    assert [entry["file"] for entry in result["predictions"]] == [str(path) for path in images]
    assert result["failed"] == []
    for entry, own in zip(result["predictions"], load(model).predict(images), strict=True):
        assert entry["class"] == entry["top"][0]["class"] == own.best
        assert len(entry["top"]) == 2
        assert 1 >= entry["top"][0]["probability"] >= entry["top"][1]["probability"] >= 0


def test_predict_answers_for_the_good_files_when_one_is_bad(neocog, trained, images, tmp_path):
    model = trained[1] / "model.safetensors"
    bad = tmp_path / "notes.png"
    bad.write_text("no image")
    files = [images[0], bad, tmp_path / "gone.png", images[1]]
    answer = neocog("predict", model, *files, "--json")
    result = document(answer, code=2)
    assert [entry["file"] for entry in result["predictions"]] == [str(images[0]), str(images[1])]
    assert [entry["file"] for entry in result["failed"]] == [str(bad), str(tmp_path / "gone.png")]
    assert f"error: {bad}: this is not an image" in answer.err
    code, out, err = neocog("predict", model, *files)
    assert code == 2
    assert [line.split(": ")[0] for line in out.splitlines()] == [str(images[0]), str(images[1])]
    assert err.count("error: ") == 2


def test_predict_shows_the_likeliest_classes_on_one_line_each(neocog, trained, images):
    code, out, _ = neocog("predict", trained[1] / "model.safetensors", images[0], "--top", 1)
    best = load(trained[1] / "model.safetensors").predict(images[0])[0]
    assert code == 0
    assert out.startswith(f"{images[0]}: {best.best} ({best.classes[0][1]:.1%})")
    assert len(out.splitlines()) == 1


def test_predict_takes_a_file_whose_name_no_terminal_can_show(neocog, trained, images, tmp_path):
    odd = tmp_path / os.fsdecode(b"odd\xff\x1b[2J.png")
    shutil.copy(images[0], odd)
    for options in ((), ("--json",)):
        code, out, err = neocog("predict", trained[1] / "model.safetensors", odd, *options)
        assert (code, err) == (0, "")
        assert "odd" in out
        assert "\x1b" not in out


def test_check_finds_a_sound_network_sound(neocog):
    sound = "INPUT[12x12x2] -> CONV3-4 -> BN -> RELU -> POOL2 -> FC5"  # as in the README
    code, out, err = neocog("check", sound)
    assert (code, err) == (0, "")
    assert "all agree" in out.splitlines()[-1]
    result = document(neocog("check", sound, "--json"))
    assert result["agree"] is True
    assert {"conv1", "relu1", "fc1"} <= {check["node"] for check in result["checks"]}
    assert set(result["checks"][0]) == set(Row._fields)


def test_check_refuses_what_does_not_fit_into_memory(neocog, monkeypatch):
    monkeypatch.setattr("neocog.resources.available_memory", lambda: 12 * 2**30)
    code, _, err = neocog("check", "vgg16", "--batch", 64)
    assert code == 1
    assert "a check compares in float64 and needs about 138.2 GiB of memory; 12.0 GiB are free" in err
    assert "try: --batch 1, which needs 9.6 GiB" in err
    monkeypatch.setattr("neocog.resources.available_memory", lambda: 2**30)
    assert "try: a smaller input, or fewer maps" in neocog("check", "vgg16").err


def test_check_says_on_a_terminal_what_it_is_doing(neocog, monkeypatch):
    text = "INPUT[6x6x1] -> CONV3-2 -> FC3"
    assert neocog("check", text).err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to the library that draws the bar
    assert "checking" in neocog("check", text).err


def test_check_exits_1_and_names_the_layer_when_a_gradient_is_wrong(neocog, monkeypatch):
    from neocog.layers.conv import Conv

    right = Conv.backward

    def wrong(self, params, cache, dy):
        dxs, dparams = right(self, params, cache, dy)
        return dxs, dparams | {"bias": 1.01 * dparams["bias"]}

    monkeypatch.setattr(Conv, "backward", wrong)
    code, out, _ = neocog("check", "INPUT[6x6x1] -> CONV3-2 -> RELU -> FC3")
    assert code == 1
    assert "conv1: gradients-autograd differs by 9.9e-03, allowed 1e-10\n  dbias" in out
    assert "disagree (!)" in out.splitlines()[-1]
    result = document(neocog("check", "INPUT[6x6x1] -> CONV3-2 -> RELU -> FC3", "--json"), code=1)
    assert result["agree"] is False
    wrong_layers = {check["node"] for check in result["checks"] if not check["ok"]}
    assert "conv1" in wrong_layers
    assert "fc1" not in wrong_layers


def test_zoo_lists_every_network_with_its_size(neocog, monkeypatch):
    for columns in ("80", None):
        monkeypatch.setenv("COLUMNS", columns) if columns else monkeypatch.delenv("COLUMNS")
        code, out, err = neocog("zoo")
        assert (code, err) == (0, "")
        assert [name for name in names() if f"\n{name} " not in out] == []
        assert "138,357,544" in out
        assert not columns or max(map(len, out.splitlines())) <= 80
    listed = document(neocog("zoo", "--json"))["networks"]
    assert [entry["name"] for entry in listed] == list(names())
    assert all(entry["parameters"] > 0 and entry["source"] for entry in listed)


def test_zoo_prints_a_text_that_is_a_network(neocog, tmp_path):
    code, out, err = neocog("zoo", "vgg16")
    assert (code, err) == (0, "")
    (tmp_path / "my.net").write_text(out, encoding="utf-8")
    assert document(neocog("plan", tmp_path / "my.net", "--json"))["network"] == str(zoo("vgg16"))
    assert document(neocog("zoo", "vgg16", "--json"))["text"] == out


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_examples_within_the_screen(verb, neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = neocog(verb, "--help")
    assert (code, err) == (0, "")
    options, examples = out.split("\nexamples:\n")
    assert all(line.startswith(f"  neocog {verb}") for line in examples.splitlines())
    assert max(map(len, options.splitlines())) <= 80
    assert "--json" in options


def test_the_overview_lists_the_verbs(neocog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = neocog("--help")
    assert (code, err) == (0, "")
    assert [verb for verb in VERBS if f"\n  {verb} " not in out] == []
    assert max(map(len, out.splitlines())) <= 80
    assert neocog("-h").out == neocog("help").out == out
    assert neocog("help", "zoo").out == neocog("zoo", "--help").out
    without = neocog()
    assert (without.code, without.out, without.err) == (2, "", out)
    assert neocog("--version") == (0, f"neocog {__version__}\n", "")
