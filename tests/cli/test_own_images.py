"""A stranger's photos from folder to prediction, by the command line alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog import load

NET = "INPUT[16x16x3] -> CONV3-8 -> RELU -> POOL2 -> FC2"
BROKEN = "sun/3.jpg"


def picture(k: int, sun: bool) -> Image.Image:
    """A sun or a tree at some place on a ground of some colour, with noise, at some size."""
    random = np.random.default_rng([k, sun])
    height, width = random.integers(60, 200, 2)
    i, j = np.indices((height, width)) / min(height, width)
    i, j = i - i.mean() + random.uniform(-0.1, 0.1), j - j.mean() + random.uniform(-0.1, 0.1)
    shape = i**2 + j**2 < 0.08 if sun else (np.abs(j) < 0.08) | ((i < 0) & (np.abs(j) < i + 0.4))
    colours = np.where(shape[..., None], (250, 210, 40) if sun else (30, 120, 50), random.integers(60, 200, 3))
    return Image.fromarray(np.clip(colours + random.normal(0, 12, colours.shape), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Twenty photos in two classes: one is cut off, one lies on its side and says so."""
    folder = tmp_path_factory.mktemp("my data") / "photos"
    for name in ("sun", "tree"):
        (folder / name).mkdir(parents=True)
        for k in range(10):
            picture(k, name == "sun").save(folder / name / f"{k}.jpg", quality=90)
    whole = (folder / BROKEN).read_bytes()
    (folder / BROKEN).write_bytes(whole[: len(whole) // 2])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(5, sun=False).transpose(Image.Transpose.ROTATE_90).save(folder / "tree/5.jpg", exif=exif)
    return folder


@pytest.fixture(scope="module")
def run(neocog, photos, tmp_path_factory):
    """What training with nothing but network and folder answers, and its folder."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return neocog("train", NET, photos, "--out", out, "--json"), out


def test_one_command_trains_on_a_folder(run, photos):
    answer, out = run
    assert answer.code == 0
    record = json.loads(answer.out)
    assert record["data"]["training_images"] + record["data"]["test_images"] == 19
    assert record["test_accuracy"] >= 0.5
    said = [line for line in answer.err.splitlines() if not line.startswith("epoch")]
    lines = record["data"]["files"]
    assert said[: len(lines)] == lines
    assert any("of 20 images are held out for the test" in line for line in lines)
    skipped = [line for line in lines if "skipped: 1 of " in line]
    assert len(skipped) == 1
    assert f"{BROKEN} (this image is damaged and cannot be decoded: " in skipped[0]
    assert any("turned upright as EXIF says: 1 of" in line for line in lines)
    assert "skipped: 1 of " in (out / "config.yaml").read_text()
    assert "skipped: 1 of " in (out / "report.html").read_text()


def test_validation_images_are_measured_after_each_epoch_and_test_images_at_the_end(neocog, tmp_path):
    for split, count in (("train", 4), ("valid", 3), ("testing", 2)):
        for k in range(count):
            for name in ("sun", "tree"):
                path = tmp_path / "photos" / split / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(k, name == "sun").save(path)
    answer = neocog("train", NET, tmp_path / "photos", "--epochs", 2, "--out", tmp_path / "run", "--json")
    record = json.loads(answer.out)
    assert (record["data"]["training_images"], record["test_images"]) == (8, 4)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["measured_on"] for line in epochs] == ["validation"] * 2
    said = json.loads(neocog("eval", tmp_path / "run/model.safetensors", tmp_path / "photos", "--json").out)
    assert said["top1"] == record["test_accuracy"]
    validation = neocog(
        "eval", tmp_path / "run/model.safetensors", tmp_path / "photos", "--split", "validation", "--json"
    )
    assert json.loads(validation.out)["top1"] == epochs[-1]["accuracy"]


def test_the_training_images_are_predicted(neocog, run, photos):
    answer = neocog("predict", run[1] / "model.safetensors", photos, "--json")
    assert answer.code == 2  # for the broken file
    said = json.loads(answer.out)
    assert [Path(failed["file"]) for failed in said["failed"]] == [photos / BROKEN]
    assert len(said["predictions"]) == 19
    model = load(run[1] / "model.safetensors")
    held = {"test": [], "train": []}
    for line in said["predictions"]:
        path = Path(line["file"])
        right = line["class"] == path.parent.name
        held["test" if path in _held_out(photos) else "train"].append(right)
    assert all(held["train"])
    assert len(held["train"]) == model.record["data"]["training_images"]


def _held_out(photos: Path) -> list[Path]:
    from neocog.data.files import list_files

    return [photos / path for path in list_files(photos)["test"].paths]


def test_the_photo_on_its_side_is_read_as_if_it_were_upright(neocog, run, photos, tmp_path):
    with Image.open(photos / "tree/5.jpg") as turned:
        turned.rotate(-90, expand=True).save(tmp_path / "upright.png")
    answer = neocog("predict", run[1] / "model.safetensors", photos / "tree/5.jpg", tmp_path / "upright.png", "--json")
    first, second = json.loads(answer.out)["predictions"]
    assert first["top"] == second["top"]
    assert first["notes"] == ["turned upright as EXIF says", "middle resized to 16x16"]


def test_eval_says_what_training_said(neocog, run, photos):
    record = json.loads(run[0].out)
    answer = neocog("eval", run[1] / "model.safetensors", photos, "--json")
    assert answer.code == 0
    said = json.loads(answer.out)
    assert (said["top1"], said["images"]) == (record["test_accuracy"], record["data"]["test_images"])
    everything = neocog("eval", run[1] / "model.safetensors", photos, "--split", "all")
    assert "on 19 images (" in everything.out
    assert f"skipped: 1 of 20 files: {BROKEN}" in everything.err


def test_eval_matches_classes_by_name(neocog, run, photos, tmp_path):
    """A folder with one of the classes, whose number there would be 0."""
    for k in range(3):
        path = tmp_path / f"test/tree/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(k, sun=False).save(path)
    said = json.loads(neocog("eval", run[1] / "model.safetensors", tmp_path, "--json").out)
    assert [row["images"] for row in said["per_class"]] == [0, 3]
    (tmp_path / "test/moon").mkdir()
    picture(1, sun=True).save(tmp_path / "test/moon/1.png")
    answer = neocog("eval", run[1] / "model.safetensors", tmp_path)
    assert answer.code == 2
    assert (
        answer.err
        == f"error: {tmp_path}/test/moon: the model knows no such class\n  received: moon\n  try: sun, tree\n"
    )


def test_a_folder_with_too_many_broken_photos_stops_before_anything_is_written(neocog, tmp_path):
    for k in range(10):
        for name in ("sun", "tree"):
            path = tmp_path / "photos" / name / f"{k}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    answer = neocog("train", NET, tmp_path / "photos", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "at most 10% of the" in answer.err
    assert "(this file is empty)" in answer.err
    assert not (tmp_path / "run").exists()
