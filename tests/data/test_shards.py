from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog import DataError
from neocog.data import load_data, shards
from neocog.data.files import list_files
from neocog.data.reading import How, in_words
from neocog.data.shards import shard_paths
from neocog.layer import Shape

SHAPE = Shape((6, 6), 3)


def png(value: int, size: int = 9) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (value, value, 0)).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(start: int, count: int) -> list[tuple[str, bytes]]:
    """Images whose colour is their number, of three classes."""
    members = []
    for k in range(start, start + count):
        members += [(f"{k:06d}.png", png(k)), (f"{k:06d}.cls", str(k % 3).encode())]
    return members


@pytest.fixture
def source(tmp_path) -> str:
    for shard in range(3):
        write(tmp_path / f"train-{shard:04d}.tar", samples(10 * shard, 10))
    write(tmp_path / "val-0000.tar", samples(50, 6))
    return str(tmp_path / "train-{0000..0002}.tar")


def refusal(source: object) -> str:
    with pytest.raises(DataError) as caught:
        load_data(str(source), SHAPE)
    return str(caught.value)


@pytest.mark.parametrize("how", [How(stream=False), How(stream=True, threads=3)])
def test_shards_are_read_as_a_data_set(source, how):
    train, test = load_data(source, SHAPE, how=how)
    assert len(train) + len(test) == 30
    assert train.classes == ("0", "1", "2")
    assert train.name == "train"
    for dataset in (train, test):
        numbers = dataset.images[:][:, 3, 3, 0]
        assert np.array_equal(numbers % 3, dataset.labels)
    assert sorted([*train.images[:][:, 0, 0, 0], *test.images[:][:, 0, 0, 0]]) == list(range(30))
    assert (train.images[:][..., 2] == 0).all()


def test_the_split_is_the_word_that_a_name_begins_with(tmp_path):
    write(tmp_path / "train.tar", samples(0, 6))
    assert list(list_files(tmp_path / "train.tar")) == ["train", "test"]  # some are held out
    write(tmp_path / "val.tar", samples(0, 6))
    assert list(list_files(tmp_path / "val.tar")) == ["validation"]


def test_a_folder_of_shards_has_all_its_splits(tmp_path, source):
    splits = list_files(tmp_path)
    assert {name: len(files) for name, files in splits.items()} == {"train": 30, "validation": 6}
    assert len(load_data(str(tmp_path), SHAPE).test) == 6
    (tmp_path / "more").mkdir()  # it may hold images
    assert "no data in a known format" in refusal(tmp_path)


def test_labels_may_stand_in_json_and_be_names(tmp_path):
    members = []
    for k, name in enumerate(["cat", "dog"] * 5):
        members += [(f"a/{k}.jpg", png(k)), (f"a/{k}.json", json.dumps({"label": name, "x": 1}).encode())]
    assert load_data(str(write(tmp_path / "set.tar", members)), SHAPE).train.classes == ("cat", "dog")


def test_samples_without_an_image_or_a_label_are_left_out_and_noted(tmp_path):
    members = [*samples(0, 9), ("lonely.png", png(1)), ("text.cls", b"1"), ("readme", b"hello")]
    train = load_data(str(write(tmp_path / "set.tar", members)), SHAPE).train
    (note,) = [line for line in in_words(train) if "left out" in line]
    assert (
        note
        == "train: samples without an image or a label are left out: set.tar/lonely.png, set.tar/text, set.tar/readme"
    )


def test_nothing_is_extracted_and_links_are_no_images(tmp_path):
    path = tmp_path / "data" / "set.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for name, content in [("../../escaped.png", png(1)), ("../../escaped.cls", b"0"), *samples(0, 6)]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("000009.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    train, test = load_data(str(path), SHAPE)
    assert len(train) + len(test) == 7
    assert [found.name for found in tmp_path.rglob("*")] == ["data", "set.tar"]


def test_numbers_in_braces_name_the_shards():
    paths = [str(path) for path in shard_paths(Path("/data/a-{008..011}-b.tar"))]
    assert paths == [f"/data/a-{number}-b.tar" for number in ("008", "009", "010", "011")]


@pytest.mark.parametrize("braces", ["{3..1}", "{0..100000}"])
def test_numbers_that_make_no_sense_are_refused(tmp_path, braces):
    assert "there are from 1 to 100,000 shards" in refusal(tmp_path / f"a-{braces}.tar")


def test_a_shard_that_is_not_there_is_named(source, tmp_path):
    (tmp_path / "train-0001.tar").unlink()
    assert refusal(source) == f"{tmp_path / 'train-0001.tar'}: there is no such file"


@pytest.mark.parametrize("content", [b"", b"no tar file" * 100])
def test_what_is_no_tar_file_is_refused(tmp_path, content):
    (tmp_path / "set.tar").write_bytes(content)
    assert f"{tmp_path / 'set.tar'}: this is no tar file, or a compressed or damaged one" in refusal(
        tmp_path / "set.tar"
    )


def test_a_compressed_shard_is_refused(tmp_path):
    write(tmp_path / "set.tar", samples(0, 6), mode="w:gz")
    assert "this is no tar file, or a compressed" in refusal(tmp_path / "set.tar")


def test_a_shard_that_is_cut_off_within_a_member_is_refused(tmp_path):
    path = write(tmp_path / "set.tar", [*samples(0, 6), ("big.png", bytes(5000)), ("big.cls", b"1")])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"big.png") + 3000])
    assert str(path) in refusal(path)


def test_limits_hold_for_members_labels_and_images(tmp_path, monkeypatch):
    path = write(tmp_path / "set.tar", samples(0, 6))
    monkeypatch.setattr(shards, "MOST_MEMBERS", 11)
    assert "a shard has at most 11 members" in refusal(path)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "FILE_BYTES", 60)
    assert f"{path}, 000000.png: an image file has at most 60 bytes" in refusal(path)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "LABEL_BYTES", 0)
    assert f"{path}, 000000.cls: a label has at most 0 bytes" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("7.cls", b""), ("7.cls", b"\xff"), ("7.json", b"{}"), ("7.json", b"[1"), ("7.json", b"[" * 9999)],
)
def test_a_label_that_is_none_is_refused(tmp_path, name, content):
    path = write(tmp_path / "set.tar", [*samples(0, 6), ("7.png", png(7)), (name, content)])
    assert f"{path}, {name}: a label is a class's number or name" in refusal(path)


def test_a_member_that_comes_twice_is_refused(tmp_path):
    assert "a member comes twice" in refusal(write(tmp_path / "set.tar", samples(0, 3) + samples(0, 3)))


def test_a_damaged_image_is_skipped_with_its_place(tmp_path):
    path = write(tmp_path / "set.tar", [*samples(0, 12), ("bad.png", b"no image"), ("bad.cls", b"1"), *samples(20, 12)])
    data = load_data(str(path), SHAPE)
    skipped = [name for dataset in data for name, _ in dataset.reading.skipped]
    assert skipped == ["set.tar/bad.png"]
