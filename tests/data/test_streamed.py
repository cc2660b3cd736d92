from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog import DataError, RunError
from neocog.data import load_data, load_split, reading
from neocog.data.dataset import Rows, in_memory
from neocog.data.preprocessing import Preprocessing
from neocog.data.reading import How
from neocog.data.streamed import Streamed
from neocog.data.threads import in_threads
from neocog.layer import Shape

SHAPE = Shape((8, 10), 3)
RANDOM = np.random.default_rng(5)
STREAM = How(stream=True, threads=3)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Forty training and five test images of two classes."""
    folder = tmp_path / "photos"
    for split, count in (("train", 40), ("test", 5)):
        for k in range(count):
            path = folder / split / ("cat", "dog")[k % 2] / f"{k:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (*RANDOM.integers(5, 40, 2), 3)
            Image.fromarray(RANDOM.integers(0, 256, size, dtype=np.uint8)).save(path)
    return folder


def test_streamed_images_are_those_that_would_be_in_memory(photos):
    loaded, streamed = load_data(str(photos), SHAPE), load_data(str(photos), SHAPE, how=STREAM)
    images = streamed.train.images
    assert isinstance(images, Streamed)
    assert not in_memory(images)
    assert images.shape == loaded.train.images.shape
    rows = np.array([5, 0, 39, 5])
    assert np.array_equal(images[rows], loaded.train.images[rows])
    assert np.array_equal(images[3:30:7], loaded.train.images[3:30:7])
    assert np.array_equal(images[7], loaded.train.images[7])
    assert images[:0].shape == (0, 8, 10, 3)
    assert np.array_equal(streamed.train.labels, loaded.train.labels)
    assert Preprocessing.learn(streamed.train, SHAPE) == Preprocessing.learn(loaded.train, SHAPE)
    some = streamed.train.subset(np.array([9, 2]))
    assert isinstance(some.images, Rows)
    assert np.array_equal(some.images[:], loaded.train.images[[9, 2]])


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_number_of_threads_changes_nothing(photos, threads):
    expected = load_data(str(photos), SHAPE).train.images
    assert np.array_equal(load_data(str(photos), SHAPE, how=How(True, threads)).train.images[:], expected)


def test_what_memory_cannot_hold_is_streamed(photos, monkeypatch):
    needed = 40 * 8 * 10 * 3
    for available, streams in ((2 * needed, False), (2 * needed - 1, True), (None, False)):
        monkeypatch.setattr(reading, "available_memory", lambda available=available: available)
        assert isinstance(load_data(str(photos), SHAPE).train.images, Streamed) == streams
    monkeypatch.setattr(reading, "available_memory", lambda: 0)
    assert in_memory(load_data(str(photos), SHAPE, how=How(stream=False)).train.images)


def test_a_model_is_measured_on_streamed_images_too(photos):
    fit = Preprocessing((8, 10), (8, 10), (0.5,) * 3, (0.5,) * 3)
    found = load_split(str(photos), "test", fit, ("dog", "cat"), how=STREAM)
    expected = load_split(str(photos), "test", fit, ("dog", "cat"))
    assert np.array_equal(found.images[:], expected.images)
    assert np.array_equal(found.labels, expected.labels)


def test_in_place_of_a_file_that_cannot_be_used_stands_the_next_of_its_class(photos):
    expected = load_data(str(photos), SHAPE).train
    for name in ("cat/04.png", "cat/06.png", "dog/39.png"):
        (photos / "train" / name).write_bytes(b"no image")
    images = load_data(str(photos), SHAPE, how=STREAM).train.images
    found = images[:]
    cats, dogs = np.flatnonzero(expected.labels == 0), np.flatnonzero(expected.labels == 1)
    assert np.array_equal(found[cats[2]], expected.images[cats[4]])
    assert np.array_equal(found[cats[3]], expected.images[cats[4]])
    assert np.array_equal(found[dogs[19]], expected.images[dogs[0]])  # the last is followed by the first
    bad = sorted(images.files.name(k) for k in images.bad)
    assert bad == ["train/cat/04.png", "train/cat/06.png", "train/dog/39.png"]
    assert np.array_equal(images[cats[2]], expected.images[cats[4]])


def test_too_many_files_that_cannot_be_used_are_refused(photos):
    for k in range(0, 10, 2):
        (photos / "train" / "cat" / f"{k:02d}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="at most 4 of the 40 files may be unusable"):
        load_data(str(photos), SHAPE, how=STREAM).train.images[:]


def test_a_fingerprint_knows_files_that_were_added_renamed_or_changed_and_labels(photos):
    def fingerprint() -> str:
        return load_data(str(photos), SHAPE, how=STREAM).train.fingerprint()

    found = [fingerprint()]
    assert fingerprint() == found[0]
    cat = photos / "train" / "cat" / "04.png"
    (photos / "train" / "dog" / "new.png").write_bytes(cat.read_bytes())
    found.append(fingerprint())
    cat.rename(cat.with_name("05.png"))
    found.append(fingerprint())
    cat.with_name("05.png").write_bytes(cat.with_name("06.png").read_bytes() + b"x")
    found.append(fingerprint())
    cat.with_name("05.png").rename(photos / "train" / "dog" / "05.png")
    found.append(fingerprint())
    assert len(set(found)) == len(found)
    part = load_data(str(photos), SHAPE, how=STREAM).train
    assert part.subset(np.arange(4)).fingerprint() != part.subset(np.arange(1, 5)).fingerprint()


def test_a_file_that_never_comes_to_an_end_is_named(photos, monkeypatch):
    free, read = threading.Event(), reading.ImageFiles.read

    def stuck(files, k):
        if files.name(k) == "train/dog/03.png":
            free.wait()
        return read(files, k)

    monkeypatch.setattr(reading.ImageFiles, "read", stuck)
    images = load_data(str(photos), SHAPE, how=STREAM).train.images
    images.limit = 0.2
    with pytest.raises(RunError) as caught:
        images[:]
    free.set()
    assert str(caught.value) == (
        "train/dog/03.png: reading this image has not ended after 0.2 s\n  try: is its disk or network still there?"
    )


def test_threads_keep_the_order_and_raise_the_first_error():
    assert in_threads(lambda k: k * k, range(100), 4, 60.0, str) == [k * k for k in range(100)]
    assert in_threads(str, [], 4, 60.0, str) == []

    def fails(k: int) -> int:
        if k in (30, 70):
            raise DataError(f"item {k}")
        return k

    with pytest.raises(DataError, match="item 30"):
        in_threads(fails, range(100), 4, 60.0, str)
