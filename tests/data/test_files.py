from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import numpy as np
import pytest

from neocog import DataError
from neocog.data.files import TEST_SHARE, ImageFiles, list_files
from neocog.errors import escaped


def touch(root: Path, *names: str) -> Path:
    """Empty files: listing opens none."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def named(files: ImageFiles) -> list[tuple[str, str]]:
    return [(path.as_posix(), files.classes[k]) for path, k in zip(files.paths, files.labels, strict=True)]


def notes(splits: dict[str, ImageFiles]) -> str:
    return "\n".join(note for files in splits.values() for note in files.notes)


def refusal(source: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_files(source)
    return str(caught.value).replace(str(source), "SOURCE")


def both(split: str) -> list[str]:
    return [f"{split}/cat/1.jpg", f"{split}/dog/2.jpg"]


@pytest.mark.parametrize("train", ["train", "TRAIN", "Training_set"])
@pytest.mark.parametrize("validation", ["val", "valid", "dev", "Val", "Validation Images"])
@pytest.mark.parametrize("test", ["test", "testing", "eval", "images-Test"])
def test_splits_have_many_names(tmp_path, train, validation, test):
    splits = list_files(touch(tmp_path, *both(train), *both(validation), *both(test)))
    assert list(splits) == ["train", "validation", "test"]
    for name, files in zip((train, validation, test), splits.values(), strict=True):
        assert named(files) == [(f"{name}/cat/1.jpg", "cat"), (f"{name}/dog/2.jpg", "dog")]
        assert files.notes == ()
    assert [files.split for files in splits.values()] == list(splits)


def test_splits_may_lie_within_classes(tmp_path):
    touch(tmp_path, "cat/train/1.png", "dog/train/x/2.png", "dog/test/3.png")
    splits = list_files(tmp_path)
    assert named(splits["train"]) == [("cat/train/1.png", "cat"), ("dog/train/x/2.png", "dog")]
    assert named(splits["test"]) == [("dog/test/3.png", "dog")]
    touch(tmp_path, "cat/4.png")  # then they are no splits
    assert sorted(named(list_files(tmp_path)["train"]) + named(list_files(tmp_path)["test"]))[0] == ("cat/4.png", "cat")


def test_classes_are_those_of_the_training_split_in_every_split(tmp_path):
    touch(tmp_path, "train/b/1.png", "train/a/1.png", "train/c/1.png", "val/c/1.png", "test/b/2.png", "test/a/2.png")
    splits = list_files(tmp_path)
    assert {files.classes for files in splits.values()} == {("a", "b", "c")}
    assert splits["validation"].labels.tolist() == [2]
    assert splits["validation"].notes == ("the validation split has no images of a, b",)
    assert splits["test"].notes == ("the test split has no images of c",)
    assert splits["train"].labels.dtype == np.int64


def test_a_class_that_the_training_split_lacks_is_refused(tmp_path):
    touch(tmp_path, *both("train"), "val/Dog/1.jpg")
    assert refusal(tmp_path) == (
        "SOURCE/val/Dog: the training split has no such class\n"
        "  received: class Dog of the validation split\n"
        "  try: dog"
    )


def test_a_folder_of_classes_is_split_by_a_hash(tmp_path):
    touch(tmp_path, *(f"{name}/{k}.jpg" for name in ("cat", "dog") for k in range(400)))
    splits = list_files(tmp_path)
    assert list(splits) == ["train", "test"]
    for label in (0, 1):
        share = (splits["test"].labels == label).sum() / 400
        assert share == pytest.approx(TEST_SHARE, abs=0.06)  # three deviations of 400 draws
    assert not {*splits["train"].paths} & {*splits["test"].paths}
    assert len(splits["train"]) + len(splits["test"]) == 800
    note = f"{len(splits['test'])} of 800 images are held out for the test, each by a hash of its name (20%)"
    assert splits["train"].notes == (note,)


def test_a_file_that_is_added_moves_no_other_and_another_seed_all(tmp_path):
    touch(tmp_path / "a", *(f"{name}/{k}.jpg" for name in ("cat", "dog") for k in range(100)))
    touch(tmp_path / "b", *(f"{name}/{k}.jpg" for name in ("cat", "dog") for k in range(0, 130)))
    before, after = list_files(tmp_path / "a"), list_files(tmp_path / "b")
    for split in before:
        assert {*before[split].paths} < {*after[split].paths}
    assert {*list_files(tmp_path / "a", seed=1)["test"].paths} != {*before["test"].paths}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_small_class_is_on_both_sides(tmp_path, count):
    touch(tmp_path, *(f"class {k}/{i}.jpg" for k in range(40) for i in range(count)))
    splits = list_files(tmp_path)
    for files in splits.values():
        assert set(files.labels.tolist()) == set(range(40))


def test_one_image_of_a_class_is_learned_from(tmp_path):
    splits = list_files(touch(tmp_path, "cat/1.jpg", "dog/1.jpg", "dog/2.jpg"))
    assert named(splits["test"]) in ([("dog/1.jpg", "dog")], [("dog/2.jpg", "dog")])
    assert splits["test"].notes == ("the test split has no images of cat",)
    assert refusal(touch(tmp_path / "few", "cat/1.jpg", "dog/1.jpg")).startswith(
        "SOURCE: a test needs images that are held out, so some class needs two"
    )


def test_a_validation_split_alone_holds_nothing_out(tmp_path):
    assert list(list_files(touch(tmp_path, *both("train"), *both("val")))) == ["train", "validation"]


def test_a_test_split_alone_is_listed(tmp_path):
    splits = list_files(touch(tmp_path, *both("test")))
    assert list(splits) == ["test"]
    assert splits["test"].classes == ("cat", "dog")


def test_classes_may_be_called_as_splits_are(tmp_path):
    splits = list_files(touch(tmp_path, "valid/1.jpg", "valid/2.jpg", "invalid/1.jpg", "train/1.jpg", "train/2.jpg"))
    assert splits["train"].classes == ("invalid", "train", "valid")


def test_a_split_twice_is_refused(tmp_path):
    touch(tmp_path, *both("train"), *both("val"), *both("valid"))
    assert refusal(tmp_path) == "SOURCE: there is one folder for the validation split\n  received: val, valid"


def test_what_is_left_out_is_said(tmp_path):
    touch(tmp_path, *both("train"), "train/dog/deep/3.jpg", "train/dog/a.heic", "train/dog/b.txt", "train/dog/c.txt")
    touch(tmp_path, "train/.hidden/1.jpg", "train/cat/._1.jpg", "train/loose.png", "top.png", "test/1.jpg", "docs/x.md")
    touch(tmp_path, "train/nothing/.keep")
    splits = list_files(tmp_path)
    assert sorted(named(splits["train"]) + named(splits["test"])) == [
        *[("train/cat/1.jpg", "cat"), ("train/dog/2.jpg", "dog"), ("train/dog/deep/3.jpg", "dog")]
    ]
    assert notes(splits).split("\n")[:4] == [
        "folders that are no split with classes are left out: docs, test",
        "files whose names do not end as images' do are left out, by their ending: .txt 2, .heic 1",
        "folders without images are no classes: train/nothing",
        "images outside of class folders are left out: train/loose.png, top.png",
    ]


@pytest.mark.parametrize(
    "suffix", [*("jpg", "jpeg", "jfif", "png", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm"), "JPG", "TiFF"]
)
def test_endings_of_images(tmp_path, suffix):
    splits = list_files(touch(tmp_path, *(f"{name}/{k}.{suffix}" for name in "ab" for k in range(3))))
    assert sum(map(len, splits.values())) == 6


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "SOURCE: there are no images"),
        (("a.jpg", "b.jpg"), "SOURCE: there are no images\n  received: images outside of class folders are left out"),
        (
            ("cat/1.jpg", "cat/2.jpg"),
            "SOURCE: a classifier needs two classes or more\n  received: cat\n  try: train/CLASS/1.jpg",
        ),
        (
            ("photos/cat/1.jpg", "photos/dog/2.jpg"),
            "SOURCE: a classifier needs two classes or more\n  received: photos\n"
            "  try: SOURCE/photos, if the folders in it are classes or splits: cat, dog",
        ),
        (
            ("train/photos/cat/1.jpg", "train/photos/dog/2.jpg"),
            "SOURCE: a classifier needs two classes or more\n  received: photos\n"
            "  try: SOURCE/train/photos, if the folders in it are classes or splits: cat, dog",
        ),
        (
            ("cat/1.jpg", "Cat/2.jpg"),
            "SOURCE: these class names differ in case or Unicode form only\n  received: 'Cat'",
        ),
        (
            ("caf\N{LATIN SMALL LETTER E WITH ACUTE}/1.jpg", "cafe\N{COMBINING ACUTE ACCENT}/2.jpg"),
            "SOURCE: these class names differ in case or Unicode form only\n  received: 'cafe\\u0301'",
        ),
        (
            ("cat/1.jpg", "dog/1.jpg", "bird/1.HEIC", "bird/2.heic", "bird/notes.txt"),
            "SOURCE/bird: the photographs of this class are in formats that are not read\n"
            "  received: .heic 2\n  try: the same ones saved as JPEG or PNG",
        ),
        (("stra\N{LATIN SMALL LETTER SHARP S}e/1.jpg", "STRASSE/2.jpg"), "SOURCE: these class names differ in case"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, names, message):
    assert refusal(touch(tmp_path, *names)).startswith(message)


def test_one_name_in_two_unicode_forms_is_one_class_across_splits(tmp_path):
    composed, apart = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    splits = list_files(touch(tmp_path, f"train/{composed}/1.jpg", "train/tea/1.jpg", f"test/{apart}/1.jpg"))
    assert named(splits["test"]) == [(f"test/{apart}/1.jpg", composed)]


NAMES = {
    "emoji": ("\N{CAT FACE}", "\N{CAT FACE}"),
    "right to left": ("\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}", "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}"),
    "joined": ("\N{MAN}\N{ZERO WIDTH JOINER}\N{GIRL}", "\N{MAN}\N{ZERO WIDTH JOINER}\N{GIRL}"),
    "newline": ("two\nlines", "two\\nlines"),
    "escape": ("\x1b[31mred", "\\x1b[31mred"),
    "override": ("a\u202egpj", "a\\u202egpj"),
    "line separator": ("a\u2028b", "a\\u2028b"),
    "spaces": (" a  b ", " a  b "),
    "255 bytes": ("n" * 255, "n" * 255),
    "no UTF-8": (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_any_name_survives_and_is_shown_on_one_line(tmp_path, kind):
    name, shown = NAMES[kind]
    file = f"{name[:200]}.jpg"
    splits = list_files(touch(tmp_path, f"train/{name}/{file}", "train/other/1.jpg", f"test/{name}/{file}"))
    assert splits["test"].paths == (Path("test", name, file),)
    assert (tmp_path / splits["test"].paths[0]).exists()
    assert splits["test"].classes[splits["test"].labels[0]] == shown == escaped(name)
    shown.encode()  # class names go into files of UTF-8


def test_no_pipe_or_socket_is_listed(tmp_path, monkeypatch):
    touch(tmp_path, *both("train"), *both("test"))
    os.mkfifo(tmp_path / "train/cat/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # a socket's path may not be long
        listening.bind("train/cat/socket.jpg")
    (tmp_path / "train/cat/gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "train/cat/self.jpg").symlink_to("self.jpg")
    splits = list_files(tmp_path)
    assert named(splits["train"]) == [("train/cat/1.jpg", "cat"), ("train/dog/2.jpg", "dog")]
    assert splits["train"].notes == (
        "what is no regular file is left out: train/cat/gone.jpg, train/cat/pipe.jpg, train/cat/self.jpg and 1 more",
    )


def test_circles_of_links_are_cut(tmp_path):
    touch(tmp_path, *both("train"), *both("test"))
    (tmp_path / "train/cat/up").symlink_to("..")
    (tmp_path / "train/cat/here").symlink_to(".")
    splits = list_files(tmp_path)
    paths = [path.as_posix() for path in splits["train"].paths]
    assert paths == ["train/cat/1.jpg", "train/cat/up/dog/2.jpg", "train/dog/2.jpg"]
    assert "folders that were listed already are not listed again: train/cat/here" in notes(splits)


def test_many_links_do_not_multiply(tmp_path):
    touch(tmp_path, *both("test"), "train/dog/1.jpg")
    for depth in range(30):  # 2^30 ways lead to the last one
        folder = touch(tmp_path, f"train/cat/{depth}/x.jpg") / f"train/cat/{depth}"
        for name in ("a", "b"):
            (folder / name).symlink_to(f"../{depth + 1}", target_is_directory=True)
    (tmp_path / "train/cat/30").mkdir()
    assert len(list_files(tmp_path)["train"]) == 31


@pytest.mark.parametrize("target", ["../../../outside", "../../../outside/secret.jpg", "/"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, target):
    touch(tmp_path, "outside/secret.jpg")
    root = touch(tmp_path / "data", *both("train"), *both("test"))
    (root / "train/cat/link.jpg").symlink_to(target)
    assert refusal(root).startswith(
        "SOURCE/train/cat/link.jpg: this link leads out of the data's folder, and is not followed\n  received: "
    )


def test_links_within_the_folder_and_hard_links_are_followed(tmp_path):
    root = touch(tmp_path / "data", *both("train"), *both("test"))
    (root / "train/cat/linked.jpg").symlink_to("1.jpg")
    (root / "train/cat/hard.jpg").hardlink_to(root / "train/cat/1.jpg")
    (tmp_path / "way").symlink_to("data")
    assert len(list_files(tmp_path / "way")["train"]) == 4


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    root = touch(tmp_path, *both("train"), *both("test"))
    scandir = os.scandir

    def forbidden(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", forbidden)
    assert refusal(root) == "SOURCE/train/dog: this cannot be read\n  received: Permission denied"


def listed(folder: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


TABLES = {
    "plain": "a.jpg,cat,train\nb c.jpg,dog,training\nd.jpg,cat,Val\ne.jpg,dog,TEST\n",
    "with a header": "path,label,split\na.jpg,cat,train\nb c.jpg,dog,train\nd.jpg,cat,valid\ne.jpg,dog,test",
    "in another order": "Set,Class,x,File\ntrain,cat,,a.jpg\ntrain,dog,,b c.jpg\ndev,cat,,d.jpg\neval,dog,,e.jpg\n",
    "quoted, from Windows": '\ufeff"a.jpg","cat","train"\r\n"b c.jpg","dog","train"\r\nd.jpg,cat,val\r\ne.jpg,dog,test',
    "with semicolons": "path;label;split\na.jpg;cat;train\nb c.jpg;dog;train\nd.jpg;cat;val\ne.jpg;dog;test\n",
    "with tabs": "a.jpg\tcat\ttrain\nb c.jpg\tdog\ttrain\nd.jpg\tcat\tval\ne.jpg\tdog\ttest\n",
    "with empty lines": "\na.jpg , cat, train\n\n , ,\nb c.jpg,dog,train\nd.jpg,cat,val\n\ne.jpg,dog,test\n\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_lists_images(tmp_path, kind):
    splits = list_files(listed(tmp_path, TABLES[kind]))
    assert named(splits["train"]) == [("a.jpg", "cat"), ("b c.jpg", "dog")]
    assert (named(splits["validation"]), named(splits["test"])) == ([("d.jpg", "cat")], [("e.jpg", "dog")])
    assert splits["train"].root == tmp_path


def test_a_table_without_splits_has_a_test_held_out(tmp_path):
    lines = "".join(f"{k}.jpg,{'cat' if k % 2 else 'dog'}\n" for k in range(100))
    splits = list_files(listed(tmp_path, lines))
    assert list(splits) == ["train", "test"]
    assert splits["train"].classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["train.txt", "images.lst", "all.list"])
def test_a_list_of_lines_is_caffes(tmp_path, name):
    lines = "".join(f"my images/{k}.jpg {k % 3 * 7}\n" for k in range(30))
    splits = list_files(listed(tmp_path, lines, name))
    assert splits["train"].classes == ("0", "7", "14")  # numbers in their order
    path, number = named(splits["train"])[0]
    assert re.fullmatch(r"my images/\d+\.jpg", path)
    assert int(Path(path).stem) % 3 * 7 == int(number)


def test_labels_of_a_list_may_be_names(tmp_path):
    splits = list_files(listed(tmp_path, "a.jpg cat\nb.jpg cat\nc.jpg 7\nd.jpg 7\n", "a.txt"))
    assert splits["train"].classes == ("7", "cat")


def test_a_name_with_a_line_break_or_bytes_that_are_no_utf_8_can_be_listed(tmp_path):
    splits = list_files(listed(tmp_path, b'"a\nb.jpg",cat,train\ncaf\xe9.jpg,dog,train\nc.jpg,dog,test\n'))
    assert splits["train"].paths == (Path("a\nb.jpg"), Path(os.fsdecode(b"caf\xe9.jpg")))


def test_paths_may_be_written_as_on_windows(tmp_path):
    touch(tmp_path, "x/1.jpg", "x/2.jpg", "x\\3.jpg")
    splits = list_files(listed(tmp_path, "x\\1.jpg,cat,train\nx\\2.jpg,dog,test\nx\\3.jpg,dog,train\n"))
    assert splits["train"].paths == (Path("x/1.jpg"), Path("x\\3.jpg"))  # the last is a name with a backslash


def test_absolute_paths_within_the_folder_are_made_relative(tmp_path):
    touch(tmp_path, "x/1.jpg")
    splits = list_files(listed(tmp_path, f"{tmp_path}/x/1.jpg,cat,train\nx/../2.jpg,dog,train\n3.jpg,dog,test\n"))
    assert [path.as_posix() for path in splits["train"].paths] == ["x/1.jpg", "2.jpg"]


WRONG = {
    "a path outside": ("../a.jpg,cat\n", "line 1: this path leads out of the list's folder\n  received: ../a.jpg"),
    "an absolute path outside": ("/etc/passwd,cat\n", "line 1: this path leads out of the list's folder"),
    "a path that climbs": ("a/../../b.jpg,cat\n", "line 1: this path leads out of the list's folder"),
    "a link outside": ("link/a.jpg,cat\n", "line 1: this path leads out of the list's folder"),
    "no path": (",cat\n", "line 1: this is no path"),
    "no label": ("a.jpg,\n", "line 1: this image has no label\n  received: a.jpg"),
    "other columns": (
        "picture,breed\na.jpg,cat\n",
        "line 1: the first line names neither known columns nor an image\n  received: picture,breed\n  try: path,label",
    ),
    "twice": ("a.jpg,cat\nb.jpg,cat\na.jpg,dog\n", "line 3: this image is in line 1 already\n  received: a.jpg"),
    "twice, written otherwise": ("a.jpg,cat\nx/../a.jpg,dog\n", "line 2: this image is in line 1 already"),
    "one column": ("a.jpg\nb.jpg\n", "line 1: a row is path,label or path,label,split\n  received: a.jpg"),
    "a short row": ("a.jpg,cat,train\nb.jpg,cat\n", "line 2: a row is path,label or path,label,split"),
    "another split": ("a.jpg,cat,train\nb.jpg,cat,night\n", "line 2: there is no such split\n  received: night"),
    "an open quote": ('a.jpg,cat\n"b.jpg,cat\n', "line 2: this line is no row of a table"),
    "a zero byte": ("a.jpg,cat\nb\0.jpg,dog\n", "line 2: this is no path\n  received: b\\x00.jpg"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_line_is_named(tmp_path, kind):
    content, message = WRONG[kind]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to("..")
    assert refusal(listed(tmp_path / "data", content)).startswith(f"SOURCE, {message}")


def test_other_files_are_no_lists(tmp_path):
    assert refusal(listed(tmp_path, "a", "x.md")).startswith("SOURCE: this file is no list of images\n  try: a name")
    assert refusal(listed(tmp_path, "")).startswith("SOURCE: there are no images")
    assert refusal(listed(tmp_path, "a.jpg,cat\n".encode("utf-16"))).startswith("SOURCE: a list is text in UTF-8\n")
    assert refusal(listed(tmp_path, "a.jpg\n", "x.txt")).startswith("SOURCE, line 1: a line is a path and a label")
    os.mkfifo(tmp_path / "pipe.csv")
    assert refusal(tmp_path / "pipe.csv") == "SOURCE: this is not a regular file"
    assert refusal(tmp_path / "none.csv") == "SOURCE: this is not a regular file"
