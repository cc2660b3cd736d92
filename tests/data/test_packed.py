from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from neocog import DataError, RunError
from neocog.data import Dataset, Splits, load_data, packed, sources
from neocog.data.pack import pack
from neocog.data.packed import HEADER, read_packed
from neocog.data.preprocessing import Preprocessing
from neocog.data.reading import How
from neocog.layer import Shape

SHAPE = Shape((8, 10), 3)
RANDOM = np.random.default_rng(5)


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (*RANDOM.integers(5, 40, 2), 3)
    Image.fromarray(RANDOM.integers(0, 256, size, dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three splits; one training file cannot be used."""
    folder = tmp_path / "photos"
    for split, count in (("train", 12), ("val", 4), ("test", 5)):
        for k in range(count):
            photo(folder / split / ("cat", "dog")[k % 2] / f"{k}.png")
    (folder / "train" / "dog" / "3.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def small_blocks(monkeypatch):
    """So that a small set has several."""
    monkeypatch.setattr(packed, "BLOCK", 1000)


@pytest.fixture
def file(photos, small_blocks, tmp_path) -> Path:
    path = tmp_path / "photos.safetensors"
    pack(str(photos), path, SHAPE)
    return path


def parts(data: Splits) -> list[Dataset]:
    assert data.validation is not None
    return [data.train, data.validation, data.test]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_data(str(path))
    return str(caught.value)


def test_what_is_packed_is_what_would_have_been_loaded(photos, file):
    loaded, mapped = load_data(str(photos), SHAPE), load_data(str(file))
    for before, after in zip(parts(loaded), parts(mapped), strict=True):
        assert np.array_equal(before.images, after.images)
        assert np.array_equal(before.labels, after.labels)
        assert before.fingerprint() == after.fingerprint()
        fields = ("name", "split", "classes", "reading")
        assert [getattr(before, field) for field in fields] == [getattr(after, field) for field in fields]
    assert Preprocessing.learn(loaded.train, SHAPE) == Preprocessing.learn(mapped.train, SHAPE)
    assert mapped.train.reading.skipped[0][0] == "train/dog/3.png"


def test_images_are_mapped_and_cannot_be_written(file):
    images = load_data(str(file)).train.images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_a_packed_set_is_a_safetensors_file(photos, file):
    arrays = load_file(file)
    assert np.array_equal(arrays["test.images"], load_data(str(photos), SHAPE).test.images)
    splits = ("test", "train", "validation")
    assert sorted(arrays) == ["about", *(f"{split}.{array}" for split in splits for array in ("images", "labels"))]


def test_the_number_of_decoding_threads_changes_nothing(photos, tmp_path):
    for threads in (1, 5):
        pack(str(photos), tmp_path / f"{threads}.safetensors", SHAPE, how=How(threads=threads))
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "5.safetensors").read_bytes()


def test_a_set_with_its_own_size_is_packed_as_it_is(tmp_path, monkeypatch):
    digits = load_data("mnist")
    small = Splits(*(Dataset(d.name, d.split, d.images[:50], d.labels[:50], d.classes) for d in digits))
    monkeypatch.setattr(sources, "_built_in", lambda name, folder: small)
    path = tmp_path / "digits.safetensors"
    size = pack("mnist", path)
    assert size == path.stat().st_size
    again = load_data(str(path))
    assert np.array_equal(again.train.images, small.train.images)
    assert (again.train.name, again.train.reading, again.validation) == ("mnist", None, None)
    with pytest.raises(DataError, match="--size 28x28x1, or none"):
        pack("mnist", path, Shape((32, 32), 1))


def test_damage_anywhere_is_refused(file):
    """One bit at places all over the file, each byte of what describes it among them."""
    whole = file.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = len(whole[8 : 8 + length].rstrip())
    for place in {*range(8 + header + 1), *range(8 + header, len(whole), 41), len(whole) - 1}:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(bytes(damaged))
        assert str(file) in refusal(file), place


def test_a_damaged_block_is_named(file):
    damaged = bytearray(file.read_bytes())
    damaged[HEADER + 5 * 8 * 10 * 3 + 7] ^= 1  # in image 5; a block of 1000 bytes has 4 of them
    file.write_bytes(bytes(damaged))
    assert refusal(file) == (
        f"{file}: this data set is damaged\n  received: block 2 of train.images, rows 4 to 7\n  try: pack it again"
    )


@pytest.mark.parametrize("length", [0, 5, 8, 500, HEADER, HEADER + 1, -1, -500])
def test_a_file_that_is_cut_off_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    assert str(file) in refusal(file)


def test_another_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    header = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"x")
    assert refusal(path) == (
        f"{path}: this safetensors file is no data set\n  try: a file that neocog data pack has written"
    )


def test_a_run_that_fails_leaves_no_file_and_keeps_the_one_before(photos, file, monkeypatch):
    before = file.read_bytes()
    for image in (photos / "train" / "cat").iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(DataError, match="may be unusable"):
        pack(str(photos), file, SHAPE)
    assert file.read_bytes() == before
    assert {path.name for path in file.parent.iterdir()} == {"photos", file.name}


def test_names_and_places_that_will_not_do_are_refused(photos, tmp_path):
    with pytest.raises(DataError, match=r"ends in \.safetensors"):
        pack(str(photos), tmp_path / "photos.bin", SHAPE)
    with pytest.raises(DataError, match=r"which\?"):
        pack(str(photos), tmp_path / "photos.safetensors")
    (tmp_path / "taken").touch()
    with pytest.raises(RunError):
        pack(str(photos), tmp_path / "taken" / "photos.safetensors", SHAPE)


def test_a_class_that_none_of_the_training_images_shows_is_refused(photos, tmp_path):
    for k in range(40):
        photo(photos / "train" / "cat" / f"more {k}.png")
    for image in (photos / "train" / "dog").iterdir():
        if image.name != "3.png":
            image.unlink()
    with pytest.raises(DataError, match="none of this class's training images"):
        pack(str(photos), tmp_path / "photos.safetensors", SHAPE)
    assert not (tmp_path / "photos.safetensors").exists()


def test_reading_says_which_file_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_packed(tmp_path / "none.safetensors")
