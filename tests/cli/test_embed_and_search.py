from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from neocog import load
from neocog.retrieval import load_index


@pytest.fixture(scope="module")
def model(trained):
    return trained[1] / "model.safetensors"


@pytest.fixture(scope="module")
def photos(test_digits, tmp_path_factory):
    """Eight digits as PNG files in folders by class."""
    folder = tmp_path_factory.mktemp("digit files")
    for k in range(8):
        path = folder / str(test_digits.labels[k]) / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(test_digits.images[k, ..., 0]).save(path)
    return folder


@pytest.fixture(scope="module")
def index(neocog, model, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "digits.safetensors"
    answer = neocog("embed", model, folder, "--pool", "none", "-o", path, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["images"], found["labelled"], found["layer"]) == (200, True, "pool2")
    return path


def test_an_image_finds_itself_first(neocog, index, photos):
    file = sorted(photos.rglob("*.png"))[0]
    answer = neocog("search", index, file, "--top", 3, "--json")
    (result,) = json.loads(answer.out)["results"]
    assert result["file"] == str(file)
    assert len(result["nearest"]) == 3
    assert result["nearest"][0]["label"] == file.parent.name
    assert result["nearest"][0]["name"] == f"some digits/test/{file.stem}"
    assert result["nearest"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert neocog("search", index, file).out.splitlines()[1].startswith("  1.000  some digits/test/")


def test_recall_says_how_often_neighbours_are_of_the_same_class(neocog, index, model, folder, tmp_path):
    found = json.loads(neocog("search", index, "--recall", "--json").out)
    assert found["recall"]["1"] > 0.6
    assert found["recall"]["1"] <= found["recall"]["5"] <= found["recall"]["10"]
    train = tmp_path / "train.safetensors"
    neocog("embed", model, folder, "--split", "train", "--pool", "none", "-o", train)
    against = json.loads(neocog("search", train, "--recall", index, "--json").out)
    assert (against["queries"], against["images"]) == (200, 384)
    assert "recall@1" in neocog("search", train, "--recall", index).out


def test_files_are_embedded_with_their_names_into_an_array(neocog, model, photos, tmp_path):
    files = sorted(photos.rglob("*.png"))[:3]
    answer = neocog("embed", model, *files, "--layer", "relu1", "--pool", "none", "-o", tmp_path / "f.npy")
    assert answer.code == 0, answer.err
    features = np.load(tmp_path / "f.npy")
    beside = json.loads((tmp_path / "f.json").read_text())
    assert features.shape == (3, 14 * 14 * 4)
    assert (beside["names"], beside["labels"], beside["layer"]) == ([str(file) for file in files], None, "relu1")


def test_a_folder_of_classes_has_labels(neocog, model, photos, tmp_path):
    neocog("embed", model, photos, "--split", "all", "-o", tmp_path / "i.safetensors")
    found = load_index(tmp_path / "i.safetensors")
    assert len(found) == 8
    assert all(found.label(k) == name.split("/")[0] for k, name in enumerate(found.names))


def test_a_file_that_is_no_image_is_left_out_and_named(neocog, model, photos, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    files = sorted(photos.rglob("*.png"))
    answer = neocog("embed", model, *files[:4], broken, *files[4:], "-o", tmp_path / "i.safetensors", "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    assert (found["images"], [one["file"] for one in found["skipped"]]) == (8, [str(broken)])
    assert "skipped: " in answer.err
    assert load_index(tmp_path / "i.safetensors").names == tuple(map(str, files))
    assert neocog("embed", model, broken, broken, "-o", tmp_path / "none.safetensors").code == 2


def test_another_models_index_is_refused(neocog, index, model, photos, tmp_path):
    other = load(model)
    path = tmp_path / "other.safetensors"
    neocog("rewrite", model, "set-weights", "--layer", "fc1", "--bias", "1", "-o", path)
    assert load(path).network == other.network
    answer = neocog("search", index, *sorted(photos.rglob("*.png"))[:1], "--model", path)
    assert answer.code == 2
    assert "made by another model" in answer.err


def test_an_index_whose_model_is_elsewhere_says_how_to_name_it(neocog, index, photos, tmp_path):
    moved = tmp_path / "another" / "place" / "moved.safetensors"
    moved.parent.mkdir(parents=True)
    moved.write_bytes(index.read_bytes())
    answer = neocog("search", moved, *sorted(photos.rglob("*.png"))[:1])
    assert answer.code == 2
    assert "try: --model with the file that made the index" in answer.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("search", "INDEX"), "an image to look for"),
        (("search", "INDEX", "no.png"), "no.png"),
        (("search", "MODEL", "no.png"), "this is no index"),
        (("search", "INDEX", "x.png", "--recall", "INDEX"), "takes no images"),
        (("embed", "MODEL", "DATA", "--layer", "relu7", "-o", "OUT"), "there is no such layer"),
        (("embed", "MODEL", "DATA", "-o", "out.csv"), "a name ending in"),
        (("embed", "MODEL", "no.png", "-o", "OUT"), "no.png"),
    ],
)
def test_mistakes_are_explained(neocog, index, model, folder, tmp_path, arguments, says):
    named = {"INDEX": index, "MODEL": model, "DATA": folder, "OUT": tmp_path / "o.safetensors"}
    answer = neocog(*(named.get(word, word) for word in arguments))
    assert answer.code == 2
    assert says in answer.err
    assert not (tmp_path / "o.safetensors").exists()
