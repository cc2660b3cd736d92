from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(1)
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{k}.png")
    return tmp_path / "photos"


def test_a_healthy_folder_ends_with_0(neocog, photos):
    code, out, err = neocog("data", "doctor", photos)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "nothing is the matter"
    assert "cat         4      2" in out


def test_a_leak_ends_with_1_and_names_the_files_and_what_to_do(neocog, photos):
    (photos / "test/cat/9.png").write_bytes((photos / "train/cat/0.png").read_bytes())
    code, out, _ = neocog("data", "doctor", photos)
    assert code == 1
    assert "GRAVE  leak: the same image in two splits, 1 time" in out
    assert "  train/cat/0.png = test/cat/9.png" in out
    assert "  try: take them out of the training split" in out
    assert out.splitlines()[-1] == "1 finding, 1 of them grave"


def test_the_document_holds_findings_and_figures(neocog, photos):
    (photos / "train/dog/bad\x1b.png").write_bytes(b"\x89PNG nothing more")
    code, out, _ = neocog("data", "doctor", photos, "--json")
    document = json.loads(out)
    assert (code, document["grave"]) == (1, True)
    (finding,) = document["findings"]
    assert finding["name"] == "corrupt"
    assert finding["places"] == [["train/dog/bad\\x1b.png"]]
    assert document["classes"]["train"] == {"cat": 4, "dog": 5}


def test_images_in_memory_are_looked_at_too(neocog, folder):
    code, out, _ = neocog("data", "doctor", folder, "--json")
    document = json.loads(out)
    assert (code, document["grave"]) == (0, False)
    assert document["images"] == {"train": 384, "test": 200}


def test_with_a_network_decoding_is_held_against_it(neocog, photos):
    net = "INPUT[32x32x3] -> CONV3-4 -> RELU -> GAP -> FC2"
    code, out, _ = neocog("data", "doctor", photos, "--net", net)
    assert code == 0
    assert "images/s are decoded" in out
    assert "plan" in out  # measures the machine, whose step times are not known here


def test_a_source_that_is_not_there_is_a_mistake(neocog):
    code, _, err = neocog("data", "doctor", "nowhere")
    assert code == 2
    assert "no such data set or folder" in err
