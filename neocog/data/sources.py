"""Where data comes from: built-in names, and folders in the formats those sets are published in."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..files import usual_cache_folder
from ..layer import Shape
from .dataset import Dataset, Splits, Told, silence
from .folders import holds_images
from .huggingface import PREFIX, is_hugging_face
from .idx import read_idx
from .packed import SUFFIX, read_packed
from .preprocessing import Preprocessing
from .published import DIGITS, FINE, OBJECTS, PUBLISHED
from .reading import HOW, How, read_split, read_splits
from .shards import is_shards
from .svhn import FILES as SVHN_FILES
from .svhn import read_svhn

CIFAR_PIXELS = 3 * 32 * 32
LARGEST = 2**31  # bytes in one batch file: far more than the published ones have


class _Unknown(DataError):
    """A folder without files of any published set."""


def load_data(source: str, shape: Shape | None = None, told: Told = silence, how: How = HOW) -> Splits:
    """Training and test images of a built-in set, of a folder that holds IDX, CIFAR or SVHN files, or of image files.

    Image files, in folders, lists, tar files or sets of Hugging Face (docs/data.md), are fitted to `shape`, the
    network's `input_shape`; `told` hears how many are done, and `how` says whether they are decoded once or each time
    they are needed. A file that `neocog data pack` wrote is mapped into memory. A built-in set is looked for in the
    datasets folder: `$NEOCOG_DATA`, else the user's cache folder. Raises DataError naming what was looked for and
    where.
    """
    data = found(source)
    splits = data if isinstance(data, Splits) else read_splits(data, shape, told, how)
    named = source in PUBLISHED or source.startswith(PREFIX)
    return replace(splits, source=source if named else os.path.abspath(source))


def load_split(
    source: str,
    split: str,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    told: Told = silence,
    how: How = HOW,
) -> Dataset:
    """One split of what `load_data` takes, as a model with this preprocessing and these classes takes it.

    Raises DataError as `load_data` does, and for a split that there is not.
    """
    data = found(source)
    if isinstance(data, Path):
        return read_split(data, split, preprocessing, classes, told, how)
    dataset = getattr(data, split, None)
    if not isinstance(dataset, Dataset):
        raise DataError(f"there is no {split} split", where=source[:80], hint="--split test or --split train")
    return dataset


def found(source: str) -> Splits | Path:
    """A set in one of the published formats, or the path of a source of image files."""
    if source in PUBLISHED:
        return _built_in(source, datasets_folder() / source)
    path = Path(source)
    if path.suffix.lower() == SUFFIX and os.path.isfile(path):
        return read_packed(path)
    if source and _is_folder(path):  # the path of nothing would be the working folder
        if is_hugging_face(path):
            return path
        try:
            return _from_folder(path, path.resolve().name, None)
        except _Unknown:
            if not (is_shards(path) or holds_images(path)):
                raise
            return path
    if source.startswith(PREFIX) or is_shards(path) or os.path.isfile(path):
        return path
    near = get_close_matches(source, PUBLISHED, n=1, cutoff=0.6)
    known = ", ".join(f"{name} ({_whereabouts(name)})" for name in PUBLISHED)
    folders = "or a folder of images, as photos/CLASS/1.jpg, or of IDX, CIFAR or SVHN files"
    raise DataError(
        "there is no such data set or folder",
        received=source[:80],
        hint=near[0] if near else f"{known}; {folders}",
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long for the file system, or one with a zero byte
        return False


def _whereabouts(name: str) -> str:
    if not PUBLISHED[name].missing(datasets_folder() / name):
        return "in the datasets folder"
    return "comes with the package" if name == "mnist" else f"neocog data get {name}"


def datasets_folder() -> Path:
    """`$NEOCOG_DATA`, or `neocog/datasets` in the user's cache folder."""
    given = os.environ.get("NEOCOG_DATA")
    return Path(given) if given else usual_cache_folder() / "datasets"


@cache
def _built_in(name: str, folder: Path) -> Splits:
    """Read once in a process: training, measuring and reporting use the same arrays, which nothing may change."""
    published = PUBLISHED[name]
    missing = published.missing(folder)
    if not missing:
        return _from_folder(folder, name, published.classes)
    if name == "mnist" and len(missing) == len(published.keeps):
        return _from_folder(files(__package__) / "mnist", name, published.classes)
    in_part = len(missing) < len(published.keeps)
    raise DataError(
        f"{name} is {'only in part' if in_part else 'not'} in the datasets folder",
        where=str(folder),
        received=f"no {', '.join(missing)}" if in_part else "",
        hint=f"neocog data get {name}",
    )


def _from_folder(folder: Traversable, name: str, classes: tuple[str, ...] | None) -> Splits:
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise DataError("this folder cannot be read", where=str(folder), received=error.strerror or "") from None
    if "data_batch_1.bin" in names:
        return _cifar(folder, name, classes or OBJECTS)
    if "train.bin" in names:
        return _cifar_100(folder, name, classes or FINE)
    if SVHN_FILES["train"] in names:
        return _svhn(Path(str(folder)), name, classes or DIGITS)
    if any(entry.startswith("train-images-idx3-ubyte") for entry in names):
        return _idx(folder, name, classes)
    if "data_batch_1" in names:
        raise DataError(
            "these are CIFAR-10's Python files: reading a pickle may run code, so they are not opened",
            where=str(folder),
            hint="the binary version, with data_batch_1.bin to 5 and test_batch.bin",
        )
    raise _Unknown(
        "this folder holds no data in a known format",
        where=str(folder),
        hint="images in a folder for each class, as CLASS/1.jpg; or train-images-idx3-ubyte and its three companions, "
        "data_batch_1.bin to 5 and test_batch.bin, train.bin and test.bin, or train_32x32.mat and test_32x32.mat",
    )


def _idx(folder: Traversable, name: str, classes: tuple[str, ...] | None) -> Splits:
    def read(prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"), 3)
        return images[..., None], read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"), 1)

    train, test = read("train"), read("t10k")
    if train[0].shape[1:] != test[0].shape[1:]:
        sizes = " and ".join("x".join(map(str, images.shape[1:3])) for images, _ in (train, test))
        raise DataError("training and test images have one size", where=str(folder), received=sizes)
    if classes is None:
        highest = max(int(labels.max(initial=0)) for _, labels in (train, test))
        classes = tuple(str(k) for k in range(highest + 1))
    return Splits(_dataset(name, "train", *train, classes), _dataset(name, "test", *test, classes))


def _find(folder: Traversable, name: str) -> Traversable:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError("a file of the set is missing", where=str(folder), received=f"no {name} or {name}.gz")


def _cifar(folder: Traversable, name: str, classes: tuple[str, ...]) -> Splits:
    train = [_cifar_batch(folder / f"data_batch_{k}.bin") for k in range(1, 6)]
    test = _cifar_batch(folder / "test_batch.bin")
    joined = np.concatenate([images for images, _ in train]), np.concatenate([labels for _, labels in train])
    return Splits(_dataset(name, "train", *joined, classes), _dataset(name, "test", *test, classes))


def _cifar_100(folder: Traversable, name: str, classes: tuple[str, ...]) -> Splits:
    """Two labels before each image, of which the second is the fine one."""
    train, test = (_cifar_batch(folder / file, labels=2) for file in ("train.bin", "test.bin"))
    return Splits(_dataset(name, "train", *train, classes), _dataset(name, "test", *test, classes))


def _svhn(folder: Path, name: str, classes: tuple[str, ...]) -> Splits:
    train, test = (read_svhn(folder / file) for file in SVHN_FILES.values())
    return Splits(_dataset(name, "train", *train, classes), _dataset(name, "test", *test, classes))


def _cifar_batch(path: Traversable, labels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Records of label bytes, of which the last counts, and 32 x 32 planes of red, green, blue (Krizhevsky, 2009)."""
    record = labels + CIFAR_PIXELS
    if not path.is_file():
        raise DataError("a file of the set is missing", where=str(path))
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size == 0 or size % record or size > LARGEST:
            raise DataError(
                f"a CIFAR-{10**labels} batch is records of {record} bytes", where=str(path), received=f"{size:,} bytes"
            )
        file.seek(0)
        records = np.frombuffer(file.read(), np.uint8).reshape(-1, record)
    return records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, labels - 1]


def _dataset(
    name: str, split: str, images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: tuple[str, ...]
) -> Dataset:
    images = np.ascontiguousarray(images)
    images.setflags(write=False)
    return Dataset(name, split, images, labels.astype(np.int64), classes)
