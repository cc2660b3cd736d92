"""Damaged model files and bad images on the command line: exit code 2, words, and nothing written."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog import Model, Network, load, load_data
from neocog.cli import main
from neocog.data import Preprocessing
from neocog.initialise import initialise


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory) -> bytes:
    network = Network.parse("INPUT[28x28x1] -> POOL4 -> FC10")
    data = load_data("mnist").test
    learned = Preprocessing.learn(data, network.input_shape)
    model = Model(network, initialise(network), learned, data.classes, "cross-entropy")
    return model.save(tmp_path_factory.mktemp("model") / "good.safetensors").read_bytes()


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "empty": lambda good: b"",
    "seven bytes": lambda good: good[:7],
    "cut in the header": lambda good: good[:100],
    "cut in the weights": lambda good: good[:-1],
    "grown": lambda good: good + b"\0",
    "a bit of the header": lambda good: flipped(good, 40),
    "a bit of the last weight": lambda good: flipped(good, len(good) - 1),
    "a huge header": lambda good: (2**63).to_bytes(8, "little") + good[8:],
    "a pickle": lambda good: pickle.dumps({"weights": [1, 2, 3]}),
    "an archive": lambda good: b"PK\x03\x04" + good,
    "text": lambda good: b"INPUT[28x28x1] -> FC10\n",
    "deep brackets": lambda good: (100_000).to_bytes(8, "little") + b"[" * 100_000,
}


def refusal(words: list[str], folder: Path, capsys) -> str:
    before = sorted(folder.iterdir())
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert sorted(folder.iterdir()) == before
    return err


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("verb", ["eval", "predict", "plan"])
def test_a_damaged_model_file_is_refused(verb, damage, model_bytes, tmp_path, capsys):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(DAMAGE[damage](model_bytes))
    words = {"eval": ["mnist"], "predict": ["nothing.png"], "plan": []}[verb]
    assert refusal([verb, str(path), *words], tmp_path, capsys).startswith(f"error: {path}: ")


def test_a_network_that_gives_a_map_is_refused_once_and_not_with_every_image(model_bytes, tmp_path, capsys):
    good = tmp_path / "good.safetensors"
    good.write_bytes(model_bytes)
    network = Network.parse("INPUT[28x28x1] -> POOL4 -> CONV1-10")
    replace(load(good), network=network, weights=initialise(network), golden=None).save(tmp_path / "map.safetensors")
    err = refusal(["predict", str(tmp_path / "map.safetensors"), "a.png", "b.png"], tmp_path, capsys)
    assert err.count("error: ") == 1
    assert "the network gives a map of them\n  received: 7x7x10\n  try: --dense" in err


def test_names_of_classes_cannot_move_the_cursor(model_bytes, tmp_path, capsys):
    good = tmp_path / "good.safetensors"
    good.write_bytes(model_bytes)
    names = ("\x1b[31m", "two\nlines", *"23456789")
    replace(load(good), classes=names).save(good)
    Image.fromarray(load_data("mnist").test.images[0, ..., 0]).save(tmp_path / "seven.png")
    assert main(["predict", str(good), str(tmp_path / "seven.png"), "--top", "10"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 1
    assert "two\\nlines" in out


def images(folder: Path, good: Path) -> dict[str, Path]:
    """Fifteen files that are no readable picture of a digit, by what is wrong with them."""
    png, jpeg = folder / "whole.png", folder / "whole.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(png)
    Image.fromarray(noise).save(jpeg)
    contents = {
        "empty": b"",
        "text": b"seven",
        "random": bytes(range(256)) * 4,
        "pdf": b"%PDF-1.7\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "html": b"<html><img src=x onerror=alert(1)></html>",
        "a model": good.read_bytes(),
        "png signature": png.read_bytes()[:8],
        "png header": png.read_bytes()[:33],
        "half a png": png.read_bytes()[: len(png.read_bytes()) // 2],
        "half a jpeg": jpeg.read_bytes()[: len(jpeg.read_bytes()) // 2],
        "jpeg marker": jpeg.read_bytes()[:3],
    }
    found = {name: folder / f"{name}.png" for name in contents}
    for name, path in found.items():
        path.write_bytes(contents[name])
    blank = folder / "blank.png"
    Image.new("L", (50, 50), 255).save(blank)
    empty = folder / "nothing"
    empty.mkdir()
    return {**found, "blank": blank, "missing": folder / "missing.png", "a folder without images": empty}


def test_bad_images_are_refused_one_by_one(model_bytes, tmp_path, capsys):
    good = tmp_path / "good.safetensors"
    good.write_bytes(model_bytes)
    bad = images(tmp_path, good)
    assert len(bad) == 15
    for path in bad.values():
        assert refusal(["predict", str(good), str(path)], tmp_path, capsys).startswith(f"error: {path}: ")
