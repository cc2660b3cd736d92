from __future__ import annotations

import gzip
import hashlib
import re
import struct
from importlib.resources import files

import numpy as np
import pytest

from neocog import DataError
from neocog.data import Dataset, load_data
from neocog.data.sources import datasets_folder

FILES = {
    "train-images-idx3-ubyte": (6, 4, 5),
    "train-labels-idx1-ubyte": (6,),
    "t10k-images-idx3-ubyte": (3, 4, 5),
    "t10k-labels-idx1-ubyte": (3,),
}


def write_idx(path, array: np.ndarray) -> None:
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_set(folder, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in FILES.items():
        write_idx(folder / f"{name}{suffix}", (np.arange(np.prod(shape)) % 7).astype(np.uint8).reshape(shape))


def cifar_batch(labels: list[int], start: int = 0) -> bytes:
    """Records whose red, green and blue planes count rows, columns and their sum."""
    rows, columns = np.indices((32, 32))
    return b"".join(
        bytes([label]) + np.stack([rows + start + k, columns, rows + columns]).astype(np.uint8).tobytes()
        for k, label in enumerate(labels)
    )


def write_cifar(folder) -> None:
    for k in range(1, 6):
        (folder / f"data_batch_{k}.bin").write_bytes(cifar_batch([k, k + 1], start=10 * k))
    (folder / "test_batch.bin").write_bytes(cifar_batch([9]))


def refusal(source: str) -> str:
    with pytest.raises(DataError) as caught:
        load_data(source)
    return str(caught.value)


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch):
    """An empty datasets folder, so that nothing depends on what this computer holds."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    monkeypatch.setenv("NEOCOG_DATA", str(folder))
    return folder


def test_mnist_comes_with_the_package():
    train, test = load_data("mnist")
    assert train.images.shape == (60_000, 28, 28, 1)
    assert test.images.shape == (10_000, 28, 28, 1)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (train.name, train.split, test.split) == ("mnist", "train", "test")
    assert train.classes == test.classes == tuple("0123456789")


def test_the_embedded_files_are_the_published_ones():
    folder = files("neocog.data") / "mnist"
    stated = re.findall(r"([0-9a-f]{64})  (\S+)", (folder / "README.md").read_text(encoding="utf-8"))
    assert [name for _, name in stated] == list(FILES)
    for digest, name in stated:
        unpacked = gzip.decompress((folder / f"{name}.gz").read_bytes())
        assert hashlib.sha256(unpacked).hexdigest() == digest


def test_images_are_read_once_and_cannot_be_changed():
    train, _ = load_data("mnist")
    assert load_data("mnist").train is train
    with pytest.raises(ValueError, match="read-only"):
        train.images[0] = 0


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_idx_files_is_read(tmp_path, suffix):
    write_set(tmp_path / "mine", suffix)
    train, test = load_data(str(tmp_path / "mine"))
    assert train.images.shape == (6, 4, 5, 1)
    assert train.images.ravel()[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert train.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert test.labels.tolist() == [0, 1, 2]
    assert train.classes == test.classes == tuple("012345")
    assert train.name == "mine"


def test_the_datasets_folder_is_looked_at_first(datasets):
    write_set(datasets / "mnist")
    assert len(load_data("mnist").train) == 6


def test_the_datasets_folder_is_the_users_cache_where_none_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for unset in (lambda: monkeypatch.setenv("NEOCOG_DATA", ""), lambda: monkeypatch.delenv("NEOCOG_DATA")):
        unset()
        assert datasets_folder().parts[-2:] == ("neocog", "datasets")


def test_a_built_in_set_has_its_own_class_names(datasets):
    write_set(datasets / "fashion-mnist", ".gz")
    data = load_data("fashion-mnist")
    assert data.train.classes[:2] == ("T-shirt/top", "Trouser")
    assert len(data.train.classes) == 10


def test_cifar_batches_are_planes_of_red_green_and_blue(datasets):
    (datasets / "cifar10").mkdir()
    write_cifar(datasets / "cifar10")
    train, test = load_data("cifar10")
    assert train.images.shape == (10, 32, 32, 3)
    assert train.labels.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert train.images[3, 7, 11].tolist() == [7 + 20 + 1, 11, 18]
    assert test.images[0, 31, 30].tolist() == [31, 30, 61]
    assert test.classes[9] == "truck"


def test_a_folder_of_cifar_batches_is_read(tmp_path):
    write_cifar(tmp_path)
    assert len(load_data(str(tmp_path)).train) == 10


def test_cifar_100_has_a_fine_label_behind_the_coarse_one(datasets):
    (datasets / "cifar100").mkdir()
    for file, labels in (("train.bin", (0, 99, 4)), ("test.bin", (49,))):
        records = [bytes([k]) + cifar_batch([label], start=k) for k, label in enumerate(labels)]
        (datasets / "cifar100" / file).write_bytes(b"".join(records))
    train, test = load_data("cifar100")
    assert train.images.shape == (3, 32, 32, 3)
    assert train.images[2, 7, 11].tolist() == [9, 11, 18]
    assert [train.classes[label] for label in train.labels] == ["apple", "worm", "beaver"]
    assert (len(test.classes), test.classes[49]) == (100, "mountain")
    (datasets / "cifar100" / "test.bin").write_bytes(bytes(3073))
    assert "a CIFAR-100 batch is records of 3074 bytes" in refusal(str(datasets / "cifar100"))


def test_an_unknown_name_shows_what_there_is():
    assert refusal("imagenet") == (
        "there is no such data set or folder\n"
        "  received: imagenet\n"
        "  try: mnist (comes with the package), fashion-mnist (neocog data get fashion-mnist), "
        "cifar10 (neocog data get cifar10), cifar100 (neocog data get cifar100), svhn (neocog data get svhn); "
        "or a folder of images, as photos/CLASS/1.jpg, or of IDX, CIFAR or SVHN files"
    )


def test_a_misspelled_name_is_guessed():
    assert refusal("minst") == "there is no such data set or folder\n  received: minst\n  try: mnist"


@pytest.mark.parametrize("source", ["", "x" * 5000, "a\0b", "/no/such/folder", "\N{SNOWMAN}"])
def test_a_source_that_is_no_path_is_refused(source):
    assert refusal(source).startswith("there is no such data set or folder\n")


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "cifar100", "svhn"])
def test_a_built_in_set_that_is_absent_says_how_to_get_it(datasets, name):
    assert refusal(name) == f"{datasets / name}: {name} is not in the datasets folder\n  try: neocog data get {name}"


def test_a_built_in_set_that_is_there_in_part_says_what_is_missing(datasets):
    (datasets / "cifar10").mkdir()
    write_cifar(datasets / "cifar10")
    (datasets / "cifar10" / "data_batch_3.bin").unlink()
    assert refusal("cifar10") == (
        f"{datasets / 'cifar10'}: cifar10 is only in part in the datasets folder\n"
        "  received: no data_batch_3.bin\n  try: neocog data get cifar10"
    )


def test_a_folder_without_data_says_what_is_looked_for(tmp_path):
    (tmp_path / "holiday.txt").write_text("nothing")
    assert refusal(str(tmp_path)) == (
        f"{tmp_path}: this folder holds no data in a known format\n"
        "  try: images in a folder for each class, as CLASS/1.jpg; "
        "or train-images-idx3-ubyte and its three companions, data_batch_1.bin to 5 and test_batch.bin, "
        "train.bin and test.bin, or train_32x32.mat and test_32x32.mat"
    )


@pytest.mark.parametrize("name", list(FILES)[1:])
def test_a_missing_file_is_named(tmp_path, name):
    write_set(tmp_path)
    (tmp_path / name).unlink()
    assert refusal(str(tmp_path)) == (f"{tmp_path}: a file of the set is missing\n  received: no {name} or {name}.gz")


def test_a_missing_cifar_batch_is_named(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    assert refusal(str(tmp_path)) == f"{tmp_path / 'data_batch_3.bin'}: a file of the set is missing"


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3074), bytes(2 * 3073 - 1)])
def test_a_cut_cifar_batch_is_refused(tmp_path, content):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(content)
    assert refusal(str(tmp_path)) == (
        f"{path}: a CIFAR-10 batch is records of 3073 bytes\n  received: {len(content):,} bytes"
    )


def test_a_label_beyond_the_classes_is_refused(tmp_path):
    write_cifar(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(cifar_batch([10]))
    message = f"{tmp_path.name} (test): labels are class numbers from 0 to 9\n  received: 10 to 10"
    assert refusal(str(tmp_path)) == message


def test_pickles_are_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sentinel"), "w"))

    import pickle

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Trap()))
    assert refusal(str(tmp_path)) == (
        f"{tmp_path}: these are CIFAR-10's Python files: reading a pickle may run code, so they are not opened\n"
        "  try: the binary version, with data_batch_1.bin to 5 and test_batch.bin"
    )
    assert not (tmp_path / "sentinel").exists()


def test_labels_of_another_number_are_refused(tmp_path):
    write_set(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(5, np.uint8))
    assert refusal(str(tmp_path)) == (
        f"{tmp_path.name} (train): there is one label for each image\n  received: 5 labels for 6 images"
    )


def test_training_and_test_images_of_two_sizes_are_refused(tmp_path):
    write_set(tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((3, 4, 6), np.uint8))
    assert refusal(str(tmp_path)) == (f"{tmp_path}: training and test images have one size\n  received: 4x5 and 4x6")


@pytest.mark.parametrize("shape", [(0, 4, 5), (6, 0, 5)])
def test_a_set_without_pixels_is_refused(tmp_path, shape):
    write_set(tmp_path)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", np.zeros(shape, np.uint8))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.zeros(shape[0], np.uint8))
    assert refusal(str(tmp_path)) == f"{tmp_path.name} (train): there are no images"


def made(**changed) -> Dataset:
    values = {
        "name": "set",
        "split": "train",
        "images": np.zeros((2, 3, 3, 1), np.uint8),
        "labels": np.array([0, 1]),
        "classes": ("a", "b"),
    }
    return Dataset(**{**values, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"images": np.zeros((2, 3, 3, 1))},
            "images are bytes of shape (N, H, W, 1 or 3)\n  received: float64 (2, 3, 3, 1)",
        ),
        (
            {"images": np.zeros((2, 3, 3), np.uint8)},
            "images are bytes of shape (N, H, W, 1 or 3)\n  received: uint8 (2, 3, 3)",
        ),
        (
            {"images": np.zeros((2, 3, 3, 4), np.uint8)},
            "images are bytes of shape (N, H, W, 1 or 3)\n  received: uint8 (2, 3, 3, 4)",
        ),
        ({"labels": np.array([0, 2])}, "labels are class numbers from 0 to 1\n  received: 0 to 2"),
        ({"labels": np.array([-1, 0])}, "labels are class numbers from 0 to 1\n  received: -1 to 0"),
        ({"classes": ("a", "a")}, "each class has a name of its own\n  received: 'a' more than once"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(changed, message):
    with pytest.raises(DataError) as caught:
        made(**changed)
    assert str(caught.value) == f"set (train): {message}"


def test_a_fingerprint_is_of_the_content_alone():
    first = made()
    assert first.fingerprint() == made(name="other", split="test").fingerprint()
    assert made(images=np.zeros((4, 3, 3, 1), np.uint8)[::2]).fingerprint() == first.fingerprint()
    others = [
        made(labels=np.array([1, 1])),
        made(classes=("a", "c")),
        made(images=np.eye(18, dtype=np.uint8)[0].reshape(2, 3, 3, 1)),
        made(images=np.zeros((2, 1, 9, 1), np.uint8)),
    ]
    assert len({first.fingerprint(), *(other.fingerprint() for other in others)}) == 5
