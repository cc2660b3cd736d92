from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dying import Dying
from idx_files import write_digits

from neocog import Network
from neocog.data import Dataset, Splits, load_data


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
    return write_digits(tmp_path_factory.mktemp("data") / "digits", 96, 40)


@pytest.fixture(scope="session")
def dying():
    """Runs cases of the command line that die."""
    made = Dying()
    yield made
    made.close()
