from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neocog import DataError, train
from neocog.data import Dataset, Preprocessing, load_data
from neocog.data.order import share
from neocog.data.pack import pack
from neocog.data.reading import How
from neocog.layer import Shape
from neocog.network import Network
from neocog.training import ahead
from neocog.training.ahead import Ahead, Passes, advice
from neocog.training.augment import Augment
from neocog.training.batches import Batches
from neocog.training.metrics import Meter
from neocog.training.progress import describe
from neocog.training.run import read_metrics

NET = "INPUT[9x8x3] -> CONV3-4 -> RELU -> POOL2(fit=floor) -> FC2"
SHAPE = Shape((9, 8), 3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Sixty images of two classes."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    random = np.random.default_rng(3)
    for k in range(60):
        path = folder / ("dark", "light")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 128, (12, 10, 3), dtype=np.uint8) + 127 * (k % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def run(data, out: Path, **settings):
    """The weights and the log of a training run."""
    model = train(
        Network.parse(NET),
        data,
        epochs=2,
        batch_size=8,
        augment="flip, mixup=0.5, cutmix=1",
        engine="torch",
        device="cpu",
        progress="none",
        out=out,
        **settings,
    )
    return model.weights, [line for line in read_metrics(out) if line["kind"] == "epoch"]


def test_passes_are_those_of_the_epochs_each_drawn_while_another_is_taken():
    images = np.random.default_rng(1).integers(0, 256, (40, 9, 8, 3), np.uint8)
    noise = Dataset("noise", "train", images, np.arange(40) % 2, ("a", "b"))
    batches = Batches(noise, Preprocessing.learn(noise, SHAPE), 8, Augment(shift=1), 5)
    with Passes(batches, 2, 3) as passes:
        for epoch in (2, 3):
            found, expected = passes.next(), batches.epoch(epoch)
            np.testing.assert_array_equal(found.order, expected.order)
            np.testing.assert_array_equal(found.moves, expected.moves)


def test_a_run_is_the_same_in_memory_streamed_by_any_number_of_threads_and_packed(photos, tmp_path):
    pack(str(photos), tmp_path / "photos.safetensors", SHAPE)
    sources = {
        "memory": load_data(str(photos), SHAPE),
        "one thread": load_data(str(photos), SHAPE, how=How(True, 1)),
        "four threads": load_data(str(photos), SHAPE, how=How(True, 4)),
        "packed": load_data(str(tmp_path / "photos.safetensors")),
    }
    weights = {name: run(data, tmp_path / name, validation=7)[0] for name, data in sources.items()}
    for name, found in weights.items():
        for array in found:
            assert np.array_equal(found[array], weights["memory"][array]), name


def test_a_larger_input_than_the_images_is_fitted_ahead_alike(photos, tmp_path):
    fit = Preprocessing.learn(load_data(str(photos), SHAPE).train, Shape((20, 20), 3))
    assert not fit.fits
    whole, streamed = (load_data(str(photos), SHAPE, how=How(stream)).train for stream in (False, True))
    courses = []
    for dataset in (whole, streamed):
        with Ahead(Batches(dataset, fit, 8, Augment(), 0).epoch(1)) as images:
            courses.append([images.course(first, [0.1] * 2) for first in (0, 2)])
    for first, second in zip(*courses, strict=True):
        for step in range(2):
            for before, after in zip(first.batch(step), second.batch(step), strict=True):
                assert np.array_equal(before, after)


def test_an_error_of_the_reading_thread_ends_the_run_with_its_name(photos, tmp_path):
    data = load_data(str(photos), SHAPE, how=How(True, 2))
    data.train.images.most_bad = 0
    bad = data.train.images.files.paths[17]
    whole = (photos / bad).read_bytes()
    (photos / bad).write_bytes(b"")
    try:
        with pytest.raises(DataError, match="may be unusable") as caught:
            run(data, tmp_path / "run")
    finally:
        (photos / bad).write_bytes(whole)
    assert str(bad) in str(caught.value)


class Slow:
    """A clock for the engine's waiting: each look at it is an hour later, longer than any epoch here takes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 3600.0
        return self.now


def test_waiting_is_measured_shown_and_explained(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ahead, "perf_counter", Slow())
    monkeypatch.setattr(ahead, "cores", lambda: 4)
    _, epochs = run(load_data(str(photos), SHAPE, how=How(True, 2)), tmp_path / "run")
    assert all(epoch["waiting"] == 1.0 for epoch in epochs)  # by that clock it waited for longer than the epoch was
    assert epochs[0]["advice"] == (
        "the engine waits for images: 2 threads on 4 cores cannot decode them fast enough. Try: --decode-threads 4, "
        f"which decodes more at a time; or neocog data pack {photos} photos.safetensors --size 9x8x3, "
        "which decodes them once for all, and train on that"
    )
    monkeypatch.undo()
    _, epochs = run(load_data(str(photos), SHAPE), tmp_path / "in memory")
    assert [(epoch["waiting"], epoch["advice"]) for epoch in epochs] == [(0.0, "")] * 2


def test_advice_depends_on_what_is_waited_for(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "cores", lambda: 2)
    streamed = load_data(str(photos), SHAPE, how=How(True, 2)).train
    assert advice(0.05, streamed) == ""
    assert "--decode-threads" not in advice(0.06, streamed.subset(np.arange(10)))  # each core is busy
    assert "INPUT[9x8x3]" in advice(0.06, load_data(str(photos), SHAPE).train)
    pack(str(photos), tmp_path / "photos.safetensors", SHAPE)
    assert "read from a disk" in advice(0.5, load_data(str(tmp_path / "photos.safetensors")).train)


def test_files_that_cannot_be_used_are_said(photos, tmp_path):
    streamed = load_data(str(photos), SHAPE, how=How(True, 2)).train
    streamed.images.bad = dict.fromkeys((3, 1, 4, 5), DataError("this is no image"))
    names = [streamed.images.files.name(k) for k in (1, 3, 4)]
    assert advice(0.0, streamed) == (
        "files that cannot be used, in place of which others of their class stand: "
        f"{', '.join(f'{name} (this is no image)' for name in names)} and 1 more"
    )


def test_an_epochs_line_shows_waiting_where_there_was_any():
    from neocog.training.metrics import Epoch

    values = (1, 10, 0.1, 1.0, 0.5, 1.0, 0.5, "test", 2.0, 100.0)
    assert "waiting" not in describe(Epoch(*values), 3)
    assert describe(Epoch(*values, 0.234, "advice"), 3).endswith("2.0 s  waiting 23%\n  advice")
    assert describe(Epoch(*values, 0.234, "advice"), 3, said="advice").endswith("2.0 s  waiting 23%")
    meter = Meter()
    assert meter.waiting == 0.0


def test_reading_for_mean_and_deviation_is_told_of(photos, tmp_path):
    told = []
    settings = {"validation": 7, "told": lambda *what: told.append(what)}
    streamed = load_data(str(photos), SHAPE, how=How(True, 2))
    run(streamed, tmp_path / "run", **settings)
    learned = len(streamed.train) - 7
    assert told == [("reading for mean and deviation", learned, learned)]
    run(load_data(str(photos), SHAPE), tmp_path / "in memory", **settings)
    assert len(told) == 1


def test_no_more_is_read_ahead_than_memory_is_meant_to_hold(photos, monkeypatch):
    monkeypatch.setattr(ahead, "READY_BYTES", 3 * 8 * 9 * 8 * 3)
    dataset = load_data(str(photos), SHAPE, how=How(True)).train
    batches = Batches(dataset, Preprocessing.learn(dataset, SHAPE), 8, Augment(), 0)
    with Ahead(batches.epoch(1)) as images:
        assert images.most == 3
    in_memory = load_data(str(photos), SHAPE).train
    with Ahead(Batches(in_memory, Preprocessing.learn(in_memory, SHAPE), 8, Augment(), 0).epoch(1)) as images:
        assert images.most == len(batches)


@pytest.mark.parametrize("count", [0, 1, 5, 64, 1000])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_are_the_whole_without_padding(count, world):
    parts = [range(count)[share(count, rank, world)] for rank in range(world)]
    assert [k for part in parts for k in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_that_there_is_not_has_no_share(rank):
    with pytest.raises(ValueError, match="of 2 processes"):
        share(10, rank, 2)


def numbers(count: int) -> Batches:
    """Images that hold their own number, moved at random."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 1)).copy()
    dataset = Dataset("numbers", "train", images, np.arange(count) % 3, tuple("abc"))
    augment = Augment.parse("shift=1, mixup=1, cutmix=1")
    return Batches(dataset, Preprocessing.learn(dataset, Shape((4, 4), 1)), 10, augment, 3)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_together_see_what_one_sees_in_the_same_order(world):
    one = numbers(97)
    for epoch in (1, 2):
        whole = one.epoch(epoch)
        shares = [whole.of_rank(rank, world) for rank in range(world)]
        rates = [0.1] * len(one)
        expected = whole.course(0, rates)
        found = [part.course(0, rates) for part in shares]
        for step in range(len(one)):
            for k, values in enumerate(expected.batch(step)):
                assert np.array_equal(np.concatenate([course.batch(step)[k] for course in found]), values)


def test_a_mini_batch_smaller_than_the_number_of_processes_is_refused():
    with pytest.raises(DataError, match="batch_size=11 or more"):
        numbers(97).epoch(1).of_rank(0, 11)
