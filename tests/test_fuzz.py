"""Seconds of what `bench/fuzz.py` does for minutes, and that it would find what is wrong."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import fuzz  # noqa: E402

from neocog import DataError  # noqa: E402

SEEDS = (339115, 1)  # `bench/fuzz.py` draws others for as long as it is let; the first found something


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    return {reader.name: reader for reader in fuzz.readers(tmp_path_factory.mktemp("examples"))}


NAMES = [
    "notation",
    "model",
    "sealed-model",
    "index",
    "sealed-index",
    "checkpoint",
    "sealed-checkpoint",
    "config",
    "recipe",
    "list",
    "shards",
    "idx",
    "mat",
    "packed",
    "image",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_accepts_what_is_changed_at_random_or_says_why_not(name, readers, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path / "finds")
    reader, rngs = readers[name], [random.Random(seed) for seed in SEEDS]
    finds = [find for rng in rngs for _ in range(150) if (find := reader.try_one(rng, tmp_path))]
    assert not finds
    assert reader.given == 300
    assert reader.refusals


def test_every_reader_is_tried(readers):
    assert list(readers) == NAMES


def reads(error):
    def read(path):
        if error:
            raise error

    return read


def test_an_error_that_is_no_explanation_is_a_find_and_its_input_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path / "finds")
    rng = random.Random(1)
    bad = fuzz.Reader("bad", reads(KeyError("x")), [b"some bytes"], ".txt")
    assert "KeyError" in bad.try_one(rng, tmp_path)
    assert [path.name for path in (tmp_path / "finds").iterdir()] == ["bad-1.txt"]
    explained = fuzz.Reader("explained", reads(DataError("no")), [b"some bytes"])
    assert explained.try_one(rng, tmp_path) is None
    assert (explained.accepted, explained.refusals) == (0, {"no"})
    fine = fuzz.Reader("fine", reads(None), [b"some bytes"])
    assert fine.try_one(rng, tmp_path) is None
    assert fine.accepted == 1
