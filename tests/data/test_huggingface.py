"""Sets of Hugging Face, by its library where it is installed, and by what stands in for it otherwise: its interface."""

from __future__ import annotations

import io
import sys
from types import ModuleType

import numpy as np
import pytest
from PIL import Image as PillowImage

from neocog import DataError
from neocog.data import load_data
from neocog.data.reading import How
from neocog.layer import Shape

SHAPE = Shape((6, 6), 3)


class Image:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Value:
    pass


class Table:
    """A `datasets.Dataset`: columns by name, rows by number, images as bytes once they are not to be decoded."""

    def __init__(self, features: dict, columns: dict[str, list], fingerprint: str = "f") -> None:
        self.features, self.columns, self._fingerprint = features, columns, fingerprint

    def cast_column(self, name: str, feature: Image) -> Table:
        assert isinstance(feature, Image)
        return Table({**self.features, name: feature}, self.columns, self._fingerprint)

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        row = {name: values[key] for name, values in self.columns.items()}
        assert not self.features["picture"].decode, "images are decoded by neocog alone"
        return row


def png(value: int) -> bytes:
    stream = io.BytesIO()
    PillowImage.new("RGB", (9, 9), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def table(start: int, count: int, unlabelled: int = 0, **features) -> Table:
    pictures = [{"bytes": png(k), "path": None} for k in range(start, start + count + unlabelled)]
    labels = [k % 2 for k in range(start, start + count)] + [-1] * unlabelled
    kinds = {"id": Value(), "picture": Image(), "kind": ClassLabel(["hen", "duck"]), **features}
    return Table(kinds, {"id": labels, "picture": pictures, "kind": labels})


@pytest.fixture
def library(monkeypatch):
    """What the library's two functions give."""
    module = ModuleType("datasets")
    module.sets = {}
    module.load_dataset = lambda name: module.sets[name]
    module.load_from_disk = lambda path: module.sets[path]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


@pytest.mark.parametrize("how", [How(stream=False), How(stream=True)])
def test_a_set_of_the_hub_is_read(library, how):
    library.sets["farm/birds"] = {"train": table(0, 20), "test": table(100, 6, unlabelled=2)}
    train, test = load_data("hf:farm/birds", SHAPE, how=how)
    assert (len(train), len(test)) == (20, 6)
    assert train.classes == test.classes == ("duck", "hen")  # in the order of all image files, by name
    assert [train.classes[k] for k in train.labels[:3]] == ["hen", "duck", "hen"]
    assert train.images[:][:, 2, 2].tolist() == [[k, 0, 0] for k in range(20)]
    assert test.images[:][:, 2, 2].tolist() == [[k, 0, 0] for k in range(100, 106)]
    assert train.name == "birds"


def test_a_set_that_was_saved_to_disk_is_read(library, tmp_path):
    library.sets[str(tmp_path)] = table(0, 20)
    (tmp_path / "dataset_info.json").write_text("{}")
    train, test = load_data(str(tmp_path), SHAPE)
    assert len(train) + len(test) == 20


def test_a_fingerprint_is_that_of_the_library(library):
    found = []
    for fingerprint in ("f", "g"):
        library.sets["birds"] = {"train": table(0, 8), "test": table(0, 8)}
        library.sets["birds"]["train"]._fingerprint = fingerprint
        found.append(load_data("hf:birds", SHAPE, how=How(stream=True)).train.fingerprint())
    assert found[0] != found[1]


def refusal(source: str) -> str:
    with pytest.raises(DataError) as caught:
        load_data(source, SHAPE)
    return str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refusal("hf:birds") == (
        "sets of Hugging Face are read by its library\n  received: hf:birds\n  try: pip install 'neocog[hf]'"
    )


def test_what_the_library_cannot_have_is_refused_with_its_reason(library):
    assert "this set cannot be had\n  received: 'birds'" in refusal("hf:birds")


@pytest.mark.parametrize(("column", "kind"), [("picture", "Image"), ("kind", "ClassLabel")])
def test_a_set_without_images_or_classes_is_refused(library, column, kind):
    library.sets["birds"] = {"train": table(0, 4, **{column: Value()})}
    message = refusal("hf:birds")
    assert f"hf:birds: the set has a column of kind {kind}" in message
    assert f"{column} (Value)" in message


def test_an_image_that_is_damaged_is_skipped_and_named(library):
    library.sets["birds"] = {"train": table(0, 20), "test": table(0, 4)}
    library.sets["birds"]["train"].columns["picture"][5]["bytes"] = b"no image"
    train = load_data("hf:birds", SHAPE).train
    assert train.name == "birds"
    assert np.array_equal(train.images[:, 0, 0, 0], [k for k in range(20) if k != 5])
    assert train.reading.skipped[0][0] == "train/5"
