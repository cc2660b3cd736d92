from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog import DataError
from neocog.data import Preprocessing, load_data, load_split
from neocog.data.decode import FIRST, LAID, TURNED, decode
from neocog.data.reading import SKIPPED_SHARE, in_words
from neocog.layer import Shape

SHAPE = Shape((8, 10), 3)
RANDOM = np.random.default_rng(11)


def noise(height: int, width: int, channels: int = 3) -> Image.Image:
    pixels = RANDOM.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def stored(path: Path, image: Image.Image, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    """Training, validation and test images of two classes and many sizes."""
    for split, count in (("train", 20), ("val", 6), ("test", 4)):
        for k in range(count):
            size = (int(RANDOM.integers(5, 60)), int(RANDOM.integers(5, 60)))
            stored(tmp_path / split / ("cat", "dog")[k % 2] / f"{k}.{('png', 'jpg', 'webp')[k % 3]}", noise(*size))
    return tmp_path


def refusal(*arguments) -> str:
    with pytest.raises(DataError) as caught:
        load_data(*arguments)
    return str(caught.value)


@pytest.mark.parametrize("shape", [SHAPE, Shape((8, 10), 1), Shape((30, 30), 3)])
def test_every_image_is_what_prediction_would_see_bit_for_bit(photos, shape):
    data = load_data(str(photos), shape)
    learned = Preprocessing.learn(data.train, shape)
    assert learned.glyph is None
    for dataset, folder in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        paths = sorted((photos / folder).rglob("*.*"), key=Path.as_posix)
        assert len(paths) == len(dataset)
        for path, image in zip(paths, dataset.images, strict=True):
            assert np.array_equal(learned.standardise(decode(path))[0], image)
        assert [dataset.classes[k] for k in dataset.labels] == [path.parent.name for path in paths]


def test_digits_in_files_are_taken_as_they_are(tmp_path):
    """They share a dark ground, but what is learned from files is not looked for strokes, nor is what is predicted."""
    digits = load_data("mnist").train
    for k in range(20):
        stored(tmp_path / str(digits.labels[k] % 2) / f"{k}.png", Image.fromarray(digits.images[k, :, :, 0]))
    data = load_data(str(tmp_path), Shape((28, 28), 1))
    learned = Preprocessing.learn(data.train, Shape((28, 28), 1))
    assert learned.glyph is None
    assert {image.tobytes() for image in digits.images[:20]} == {
        *(image.tobytes() for part in data for image in part.images)
    }


def test_data_sets_know_their_split_and_cannot_be_changed(photos):
    data = load_data(str(photos), SHAPE)
    assert [part.split for part in (data.train, data.validation, data.test)] == ["train", "validation", "test"]
    assert data.train.name == photos.name
    with pytest.raises(ValueError, match="read-only"):
        data.train.images[0] = 0


def test_a_validation_split_alone_is_what_is_tested_on(photos):
    os.rename(photos / "test", photos / ".away")
    data = load_data(str(photos), SHAPE)
    assert (data.test.split, len(data.test), data.validation) == ("validation", 6, None)
    assert len(data.train) == 20


def damage(photos: Path, count: int) -> dict[str, str]:
    """Break so many training files in different ways; their names with the reason to expect."""
    ways = {
        b"": "this file is empty",
        b"this is text, whatever its name says\n" * 5: "this is not an image in a known format: text",
        b"\x89PNG\r\n\x1a\n" + bytes(9): "this is not an image in a known format: a PNG image whose header is damaged",
    }
    paths = sorted((photos / "train").rglob("*.*"), key=Path.as_posix)
    broken = {}
    for k, path in enumerate(paths[:: len(paths) // count][:count]):
        content, reason = list(ways.items())[k % 3]
        path.write_bytes(content)
        broken[path.relative_to(photos).as_posix()] = reason
    return broken


def test_files_that_cannot_be_used_are_skipped_and_listed_alike_each_time(photos):
    broken = damage(photos, 2)
    first, second = (load_data(str(photos), SHAPE).train for _ in range(2))
    assert dict(first.reading.skipped) == broken
    assert first.reading == second.reading
    assert np.array_equal(first.images, second.images)
    assert len(first) == len(first.labels) == 18
    listed = "; ".join(f"{name} ({reason})" for name, reason in broken.items())
    assert in_words(first)[1:] == [f"train: skipped: 2 of 20 files: {listed}"]


def test_too_many_files_that_cannot_be_used_are_an_error(photos):
    assert SKIPPED_SHARE == 0.1
    broken = damage(photos, 3)
    message = refusal(str(photos), SHAPE)
    assert message.startswith(
        f"{photos}: at most 10% of the 20 files of the train split may be unusable\n  received: 3 so far: "
    )
    assert all(name in message for name in broken)


def test_photos_cut_anywhere_are_skipped_each_by_name(tmp_path):
    """Reliability D1: of 2,000 photos 200 cut at random bytes."""
    whole = stored(tmp_path / "whole.jpg", noise(24, 24)).read_bytes()
    random = np.random.default_rng(12)
    cut = set(random.choice(2000, 200, replace=False).tolist())
    for k in range(2000):
        path = tmp_path / "photos/train" / ("cat", "dog")[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole[: random.integers(0, len(whole) - 30)] if k in cut else whole)
    stored(tmp_path / "photos/test/cat/1.jpg", noise(9, 9))
    train = load_data(str(tmp_path / "photos"), SHAPE).train
    assert {int(Path(name).stem) for name, _ in train.reading.skipped} == cut
    (line,) = (line for line in in_words(train) if "skipped" in line)
    assert line.startswith("train: skipped: 200 of 2,000 files: train/cat/")
    assert (line.count(".jpg ("), line.endswith("; and 100 more")) == (100, True)
    assert len(train) == 1800
    assert len({image.tobytes() for image in train.images}) == 1


def test_a_class_of_which_nothing_can_be_used_is_an_error(photos):
    (photos / "train/ant").mkdir()
    (photos / "train/ant/1.png").touch()
    assert refusal(str(photos), SHAPE) == (
        f"{photos}: none of this class's training images can be used\n  received: ant"
    )


def test_what_was_done_to_images_is_counted_and_said_once(photos):
    turned = Image.Exif()
    turned[0x0112] = 6
    for k in range(3):
        stored(photos / f"train/cat/turned {k}.jpg", noise(9, 9), exif=turned)
    frames = [noise(9, 9) for _ in range(3)]
    stored(photos / "train/cat/moving.gif", frames[0], save_all=True, append_images=frames[1:])
    stored(photos / "train/cat/clear.png", Image.new("RGBA", (9, 9), (1, 2, 3, 0)))
    assert in_words(load_data(str(photos), SHAPE).train) == [
        "train: 25 images, cat (15), dog (10)",
        f"train: {FIRST.en}: 1 of 25 images",
        f"train: {LAID.en}: 1 of 25 images",
        f"train: {TURNED.en}: 3 of 25 images",
    ]


def test_many_classes_are_counted_together(tmp_path):
    for k in range(12):
        for i in range(2 + k):
            stored(tmp_path / f"train/{k}/{i}.png", noise(2, 2))
    stored(tmp_path / "test/3/1.png", noise(2, 2))
    data = load_data(str(tmp_path), SHAPE)
    assert in_words(data.train) == ["train: 90 images, from 2 to 13 in each of 12 classes"]
    assert in_words(data.test)[0] == "test: 1 image, from 0 to 1 in each of 12 classes"


def test_progress_is_told(photos):
    told = []
    load_data(str(photos), SHAPE, lambda *values: told.append(values))
    assert Counter(split for split, _, _ in told) == {"reading train": 20, "reading validation": 6, "reading test": 4}
    assert told[:3] == [("reading train", 1, 20), ("reading train", 2, 20), ("reading train", 3, 20)]


def test_a_split_for_a_model_has_the_models_classes_and_preprocessing(photos):
    model = Preprocessing((5, 5), (5, 5), (0.5,), (0.5,), crop=0.8)
    dataset = load_split(str(photos), "validation", model, ("dog", "bird", "cat"))
    paths = sorted((photos / "val").rglob("*.*"), key=Path.as_posix)
    assert [dataset.classes[k] for k in dataset.labels] == [path.parent.name for path in paths]
    assert dataset.classes == ("dog", "bird", "cat")
    assert np.array_equal(dataset.images[3], model.standardise(decode(paths[3]))[0])
    everything = load_split(str(photos), "all", model, ("cat", "dog"))
    assert (len(everything), everything.split) == (30, "all")
    assert np.bincount(everything.labels).tolist() == [15, 15]


def test_a_class_that_the_model_does_not_know_is_named(photos):
    with pytest.raises(DataError) as caught:
        load_split(str(photos), "test", Preprocessing((5, 5), (5, 5), (0.5,), (0.5,)), ("cat", "Dog"))
    assert str(caught.value) == (f"{photos}/test/dog: the model knows no such class\n  received: dog\n  try: cat, Dog")


def test_splits_that_are_not_there(photos):
    model = (Preprocessing((5, 5), (5, 5), (0.5,), (0.5,)), ("cat", "dog"))
    os.rename(photos / "test", photos / ".away")
    assert load_split(str(photos), "test", *model).split == "validation"
    os.rename(photos / "val", photos / ".away too")
    with pytest.raises(DataError, match="there is no validation split\n  received: train, test"):
        load_split(str(photos), "validation", *model)
    with pytest.raises(DataError, match=r"^mnist: there is no validation split"):
        load_split("mnist", "validation", *model)
    os.rename(photos / "train", photos / "test")
    assert "there is no training split\n  received: test alone" in refusal(str(photos), SHAPE)
    assert len(load_split(str(photos), "test", *model)) == 20


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (None, "image files are fitted to a network's input: which?"),
        (Shape((100,), 3), "image files need an input of height, width and 1 or 3 channels\n  received: INPUT[100x3]"),
        (Shape((9, 9), 4), "image files need an input of height, width and 1 or 3 channels\n  received: INPUT[9x9x4]"),
    ],
)
def test_the_input_must_be_an_images(photos, shape, says):
    assert says in refusal(str(photos), shape)


def test_a_list_is_a_source_too(photos):
    lines = [f"{path.relative_to(photos)},{path.parent.name}\n" for path in photos.rglob("train/*/*.*")]
    (photos / "mine.csv").write_text("".join(lines))
    data = load_data(str(photos / "mine.csv"), SHAPE)
    assert data.train.name == "mine"
    assert len(data.train) + len(data.test) == 20
    assert re.fullmatch(r"\d of 20 images are held out for the test, .*", data.train.reading.notes[0])


def test_a_pipe_in_a_list_is_skipped_and_not_opened(photos):
    os.mkfifo(photos / "pipe.jpg")
    paths = [path.relative_to(photos) for path in sorted(photos.rglob("train/*/*.*"))]
    rows = "".join(f"{path},{path.parent.name},train\n" for path in paths) + "pipe.jpg,cat,train\n"
    (photos / "mine.csv").write_text(rows + "val/cat/0.png,cat,test\n")
    assert load_data(str(photos / "mine.csv"), SHAPE).train.reading.skipped == (
        ("pipe.jpg", "this is not a regular file"),
    )
