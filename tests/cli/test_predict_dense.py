"""`neocog predict --dense` and `neocog eval --dense` from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dense_models import PADDED, PADLESS, model_of, picture
from PIL import Image

from neocog.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dense")
    model_of(PADLESS["chain"][0]).save(folder / "chain.safetensors")
    model_of(PADDED["VGG"][0].replace("16x16x3", "16x16x1")).save(folder / "vgg.safetensors")
    for name, size in (("page", (25, 30)), ("other", (44, 31))):
        Image.fromarray(picture(*size)[..., 0]).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"nothing")
    return folder


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["predict", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_map_as_json(place, capsys):
    code, out, _ = run(capsys, place / "chain.safetensors", place / "page.png", "--dense", "--json")
    assert code == 0
    (image,) = json.loads(out)["images"]
    (one,) = image["maps"]
    assert (image["image"], one["size"], one["stride"], one["network_stride"]) == ([25, 30], [4, 5], [4, 4], [4, 4])
    assert (one["window"], one["receptive_field"], one["method"]) == ([12, 12], [12, 12], "own")
    assert one["first_cell"] == {"box": [0, 0, 12, 12], "sees": [[0, 11], [0, 11]]}
    assert one["unread"] == [1, 2]
    assert (one["cells_that_see_padding"], one["crops"], one["tiles"]) == (0, 20, 1)
    assert one["operations_ratio"] > 2
    assert sum(each["probability"] for each in image["averaged"]) == pytest.approx(1)


def test_it_is_said_what_the_map_is_and_what_it_equals(place, capsys):
    code, out, _ = run(capsys, place / "chain.safetensors", place / "page.png", "--dense", "--stride", "2", "--prove")
    assert code == 0
    assert "a map of 7 x 10 cells, windows of 12 pixels, stride 2, of 4 by dilation" in out
    assert "the first cell stands for (0, 0, 12, 12) of the image" in out
    assert "no cell sees padding" in out
    assert "it equals 70 crops" in out
    assert "proof (holds" in out
    assert "no crop sees padding, so every cell has the scores of its crop cut out: 70 compared" in out


def test_the_proof_of_a_network_that_pads_says_whose_padding_is_seen(place, capsys):
    code, out, _ = run(capsys, place / "vgg.safetensors", place / "other.png", "--dense", "--prove", "--json")
    assert code == 0
    document = json.loads(out)
    proof = document["images"][0]["maps"][0]["proof"]
    assert document["proved"] is True
    assert proof["edge"]["said"] == sum(one["first"] for one in proof["padding_seen"]) > 0
    assert proof["inside"]["difference"] < 1e-5
    assert proof["crop_sees_padding_of"] == ["conv1", "conv2", "conv3", "conv4"]
    assert proof["cut_out"]["difference"] > 1e-3
    assert "differ" in run(capsys, place / "vgg.safetensors", place / "other.png", "--dense", "--prove")[1]


def test_a_proof_that_fails_is_exit_code_1(place, capsys, monkeypatch):
    from neocog.dense.tiles import Tiling

    original = Tiling.scores
    monkeypatch.setattr(Tiling, "scores", lambda self, block, read: original(self, block, read) + np.float32(0.01))
    code, out, _ = run(capsys, place / "chain.safetensors", place / "page.png", "--dense", "--prove")
    assert code == 1
    assert "FAILS" in out


def test_a_folder_gets_scores_pictures_boxes_and_the_document(place, capsys, tmp_path):
    code, out, err = run(
        capsys, place / "chain.safetensors", place / "page.png", place / "other.png", "--dense", "--scales", "1,1.5",
        "--boxes", "0.5", "-o", tmp_path / "out", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    written = [path for image in json.loads(out)["images"] for path in image["written"]]
    assert sorted(written) == sorted(map(str, (tmp_path / "out").iterdir()))
    assert {path.rsplit("/", 1)[1] for path in written if "page" in path} == {
        "page-1.0.npy", "page-1.5.npy", "page-1.0-classes.png", "page-1.5-classes.png", "page-boxes.png", "page.json",
    }  # fmt: skip
    assert np.load(tmp_path / "out" / "page-1.5.npy").shape == (3, 7, 9)
    assert json.loads((tmp_path / "out" / "page.json").read_text())["boxes"] == json.loads(out)["images"][0]["boxes"]


@pytest.mark.parametrize("extra", [[], ["--class", "c1"], ["--boxes", "0.9", "--boxes-by", "regions"]])
def test_a_picture(place, capsys, tmp_path, extra):
    code, out, _ = run(
        capsys, place / "chain.safetensors", place / "page.png", "--dense", "-o", tmp_path / "it.png", *extra
    )
    assert code == 0
    assert f"written: {tmp_path / 'it.png'}" in out
    with Image.open(tmp_path / "it.png") as shown:
        assert shown.size[0] > 400


def test_one_image_that_cannot_be_used_does_not_stop_the_others(place, capsys):
    code, out, err = run(
        capsys, place / "chain.safetensors", place / "broken.png", place / "page.png", "--dense", "--json"
    )
    document = json.loads(out)
    assert code == 2
    assert len(document["images"]) == 1
    assert document["failed"] == [
        {"file": str(place / "broken.png"), "error": "this is not an image in a known format"}
    ]
    assert "error:" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--stride", "2"], "--stride belongs to --dense"),
        (["--boxes", "0.5"], "--boxes belongs to --dense"),
        (["--dense", "--stride", "3"], "divides the network's own, which is 4 pixels"),
        (["--dense", "--stride", "0"], "a whole number from 1"),
        (["--dense", "--scales", "1,big"], "scales are numbers or fit"),
        (["--dense", "--scales", "0"], "scales are numbers or fit"),
        (["--dense", "--scales", "0.1"], "through a window of 12x12 pixels"),
        (["--dense", "--boxes", "2"], "a probability from 0 to 1"),
        (["--dense", "--boxes-by", "regions"], "--boxes THRESHOLD asks for them"),
        (["--dense", "--background", "void"], "names no class"),
        (["--dense", "--class", "c1"], "-o OUT.png shows"),
        (["--dense", "-o", "map.gif"], "-o is a .npy or .png file, or a folder"),
        (["--dense", "-o", "map.npy", "--scales", "1,2"], "holds one map"),
        (["--dense", "--tta", "flip"], "--tta is for whole images"),
        (["--dense", "--max-pixels", "100"], "at most 0.0001 megapixels"),
    ],
)  # fmt: skip
def test_mistakes_are_explained(place, capsys, arguments, says):
    code, _, err = run(capsys, place / "chain.safetensors", place / "page.png", *arguments)
    assert code == 2
    assert says in err


def test_evaluation_by_averages_over_windows_and_scales(capsys, tmp_path, place):
    folder = tmp_path / "data"
    for k in range(6):
        (folder / f"c{k % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(12, 12, seed=k)[..., 0]).save(folder / f"c{k % 3}" / f"{k}.png")
    arguments = ["eval", str(place / "chain.safetensors"), str(folder), "--split", "all", "--json"]
    documents = []
    for extra in ([], ["--dense"], ["--dense", "--scales", "fit,1.5", "--stride", "2"]):
        assert main([*arguments, *extra]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    plain, one_window, several = documents
    assert one_window["loss"] == pytest.approx(plain["loss"], abs=1e-5)
    assert several["loss"] != pytest.approx(plain["loss"], abs=1e-5)
    assert main([*arguments, "--scales", "1"]) == 2
    assert "--scales and --stride belong to --dense" in capsys.readouterr().err
