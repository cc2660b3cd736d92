from __future__ import annotations

import json

import pytest

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
