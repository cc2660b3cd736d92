from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from dying import Dying

from neocog import Network
from neocog.data import Dataset, Splits, load_data


def write_idx(path, values):
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype("u1").tobytes())


def first(dataset: Dataset, count: int) -> Dataset:
    return replace(dataset, images=dataset.images[:count], labels=dataset.labels[:count])


@pytest.fixture(scope="session")
def digits() -> Splits:
    """A few hundred real digits."""
    whole = load_data("mnist")
    return Splits(first(whole.train, 384), first(whole.test, 200))


@pytest.fixture(scope="session")
def small() -> Network:
    """A network that learns a few hundred digits in a second."""
    return Network.parse("INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10")


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory) -> Path:
    """A folder of 96 training and 40 test digits, as IDX files."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    folder.mkdir()
    whole = load_data("mnist")
    for prefix, dataset, count in (("train", whole.train, 96), ("t10k", whole.test, 40)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", dataset.images[:count, :, :, 0])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", dataset.labels[:count])
    return folder


@pytest.fixture(scope="session")
def dying():
    """Runs cases of the command line that die."""
    made = Dying()
    yield made
    made.close()
