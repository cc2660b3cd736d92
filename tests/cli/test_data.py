from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog.cli.reading import counted
from neocog.data import get as getting


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    folder = tmp_path / "datasets"
    monkeypatch.setenv("NEOCOG_DATA", str(folder))
    return folder


def test_list_says_what_is_here_in_part_and_not(neocog, datasets):
    for name, files in (("cifar100", ("train.bin", "test.bin")), ("svhn", ("test_32x32.mat",))):
        (datasets / name).mkdir(parents=True)
        for file in files:
            (datasets / name / file).touch()
    code, out, _ = neocog("data", "list")
    assert code == 0
    states = {line.split()[0]: line for line in out.splitlines() if " MB " in line}
    assert "with neocog" in states["mnist"]
    assert " no " in states["fashion-mnist"]
    assert " yes " in states["cifar100"]
    assert "in part" in states["svhn"]
    assert str(datasets) in out
    sets = {row["name"]: row for row in json.loads(neocog("data", "list", "--json").out)["sets"]}
    assert sets["svhn"]["missing"] == ["train_32x32.mat"]
    assert sets["mnist"]["missing"] == []
    assert sets["cifar10"]["download_bytes"] == 170_052_171


def test_get_brings_each_set_into_its_folder(neocog, datasets, monkeypatch):
    asked = []

    def pretend(name, folder, watcher):
        asked.append((name, folder))
        watcher.file(getting.PUBLISHED[name].files[0])
        watcher.told(1)
        return len(asked) - 1

    monkeypatch.setattr(getting, "get", pretend)
    code, out, err = neocog("data", "get", "cifar10", "svhn")
    assert code == 0
    assert asked == [("cifar10", datasets / "cifar10"), ("svhn", datasets / "svhn")]
    assert out == f"cifar10: is in {datasets / 'cifar10'}\nsvhn: downloaded into {datasets / 'svhn'}\n"
    assert err.splitlines()[0] == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz: 170.1 MB"
    assert json.loads(neocog("data", "get", "mnist", "--json").out)["sets"][0]["files_downloaded"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data"], "the following arguments are required: WHAT"),
        (["data", "fetch"], "invalid choice: 'fetch'"),
        (["data", "get"], "the following arguments are required: NAME"),
        (["data", "get", "cifar10", "imagenet"], "there is no such set to get"),
        (["train", "lenet5-relu", "cifar100"], "try: neocog data get cifar100"),
    ],
)
def test_mistakes_are_explained(neocog, arguments, says):
    code, out, err = neocog(*arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert json.loads(neocog(*arguments, "--json").out)["error"]["rule"]


NET = "INPUT[8x8x3] -> CONV3-4 -> RELU -> POOL2 -> FC2"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Thirty images of two classes, one of which cannot be used."""
    random = np.random.default_rng(3)
    for k in range(30):
        path = tmp_path / "photos" / ("dark", "light")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 128, (12, 10, 3), dtype=np.uint8) + 127 * (k % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    (tmp_path / "photos" / "dark" / "4.png").write_bytes(b"no image")
    return tmp_path / "photos"


def test_pack_writes_a_file_that_train_and_eval_take(neocog, photos, tmp_path):
    file = tmp_path / "photos.safetensors"
    code, out, err = neocog("data", "pack", photos, file, "--size", "8x8")
    assert code == 0
    assert out.startswith(f"{file}: ")
    assert "images of 8x8x3" in out
    assert "dark/4.png" in err
    document = json.loads(neocog("data", "pack", photos, file, "--size", "8x8x3", "--json").out)
    assert document["shape"] == [8, 8, 3]
    assert sum(document["images"].values()) == 29
    assert document["bytes"] == file.stat().st_size
    settings = ("--epochs", 2, "--engine", "torch", "--device", "cpu", "--json")
    runs = {}
    for data in (file, photos):
        answer = neocog("train", NET, data, "--out", tmp_path / f"run of {data.name}", *settings)
        assert answer.code == 0
        runs[data] = json.loads(answer.out)
    for name in ("test_loss", "test_accuracy"):
        assert runs[file][name] == runs[photos][name]
    assert runs[file]["data"] == runs[photos]["data"] | {"source": str(file)}
    model = tmp_path / f"run of {file.name}" / "model.safetensors"
    results = [json.loads(neocog("eval", model, data, "--json").out) for data in (file, photos)]
    assert results[0] == results[1]


def test_train_streams_where_it_is_asked_to(neocog, photos, tmp_path):
    (photos / "dark" / "4.png").unlink()
    settings = ("--epochs", 2, "--engine", "torch", "--device", "cpu", "--json")
    results = []
    for k, how in enumerate((["--stream", "--decode-threads", 1], ["--stream"], ["--no-stream"])):
        answer = neocog("train", NET, photos, "--out", tmp_path / f"run {k}", *settings, *how)
        assert answer.code == 0
        results.append(json.loads(answer.out)["test_loss"])
    assert len(set(results)) == 1


@pytest.mark.parametrize("size", ["8", "0x8", "8x8x2", "8x8x3x1", "x", "-8x8"])
def test_a_size_that_is_none_is_refused(neocog, photos, tmp_path, size):
    code, _, err = neocog("data", "pack", photos, tmp_path / "x.safetensors", f"--size={size}")
    assert code == 2
    assert "a size such as 224x224, 224x224x3 or 28x28x1 is needed" in err


def test_image_files_need_a_size(neocog, photos, tmp_path):
    assert neocog("data", "pack", photos, tmp_path / "x.safetensors").code == 2
    assert not (tmp_path / "x.safetensors").exists()


def test_what_is_read_is_counted_in_a_log_at_each_tenth(capsys):
    with counted() as told:
        for _ in range(2):  # two runs
            for done in (*range(27, 1000, 27), 1000):
                told("reading train", done, 1000)
        told("reading test", 999, 999)
    lines = capsys.readouterr().err.splitlines()
    assert [lines[k] for k in (0, 9)] == [f"reading train: {done} of 1,000 images" for done in ("108", "1,000")]
    assert lines[:10] == lines[10:]
