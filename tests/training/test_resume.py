"""What resuming accepts, refuses and says; what signals, a full disk and another process do to a run."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import struct
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from dying import train as dying_train
from PIL import Image

from neocog import DataError, NeocogError, Network, RunError, load, resume, train
from neocog.cli import main
from neocog.data import Splits, load_data
from neocog.data.reading import How
from neocog.native.engine import NativeNetwork
from neocog.training import lock
from neocog.training import session as room
from neocog.training.checkpoint import Checkpoint, checkpoint_files, read_checkpoint
from neocog.training.lock import Lock
from neocog.training.progress import Silence
from neocog.training.run import EVENTS, RESULTS, RunFolder, read_metrics
from neocog.training.verifying import state_hash, verify_resume

NET = Network.parse("INPUT[28x28x1] -> POOL4 -> CONV3-3 -> RELU -> FC10")
STEPS = 6
"""In each epoch."""


@pytest.fixture(autouse=True)
def _without_drawing(monkeypatch):
    monkeypatch.setattr("neocog.training.session.write_report", lambda *_: None)


class Stop(Silence):
    """Presses Ctrl-C once so many steps were made, or more; says what it was told."""

    def __init__(self, after=10**9):
        self.left, self.headline = after, ""

    def started(self, headline, epochs, steps):
        self.headline, self.steps = headline, steps

    def stepped(self, epoch, meter, steps):
        self.left -= steps
        if self.left <= 0:
            self.left = 10**9
            signal.raise_signal(signal.SIGINT)


def begun(data, out, after=7, **settings):
    """A run that is left in its second epoch of three."""
    quick = {"epochs": 3, "batch_size": 16, "out": out, "device": "cpu", "progress": Stop(after)}
    with pytest.raises(KeyboardInterrupt, match="neocog train --resume"):
        train(NET, data, **{**quick, **settings})
    return out


@pytest.fixture(autouse=True)
def _one_step_at_a_time(monkeypatch):
    monkeypatch.setattr("neocog.training.loop.FASTER", 1)


@pytest.fixture(scope="module")
def stopped_once(digits_folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neocog.training.loop.FASTER", 1)
        return begun(digits_folder, tmp_path_factory.mktemp("stopped") / "run", augment="shift=1")


@pytest.fixture
def stopped(stopped_once, tmp_path):
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def table(run):
    """`results.csv` but for times."""
    rows = csv.DictReader((run / RESULTS).read_text().splitlines())
    return [{name: cell for name, cell in row.items() if name not in ("seconds", "images_per_s")} for row in rows]


def lines(run):
    return [(line["kind"], line.get("step"), line.get("epoch"), line.get("loss")) for line in read_metrics(run)]


def test_ctrl_c_leaves_a_checkpoint_from_which_the_run_ends_as_if_nothing_had_been(stopped, digits_folder, tmp_path):
    assert names(stopped / "checkpoints") == [
        "best.safetensors",
        "step-00000006.safetensors",
        "step-00000007.safetensors",
    ]
    assert load(stopped / "interrupted.safetensors").record["interrupted"] is True
    progress = Stop()
    model = resume(stopped, progress=progress)
    assert "resumed in epoch 2, after step 7" in progress.headline
    assert progress.steps == 3 * STEPS - 7
    whole = train(
        *(NET, digits_folder), epochs=3, batch_size=16, out=tmp_path / "whole", progress="none", augment="shift=1"
    )
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(model.weights[name], array, strict=True)
    assert lines(stopped) == lines(tmp_path / "whole")
    assert model.record["resumed"] == [{"step": 7, "notes": ["resumed in epoch 2, after step 7"]}]
    assert whole.record["resumed"] == []
    assert model.record["epochs"] == 3
    assert names(stopped) == names(tmp_path / "whole")
    assert table(stopped) == table(tmp_path / "whole")
    assert (stopped / EVENTS).stat().st_size == (tmp_path / "whole" / EVENTS).stat().st_size


def test_a_run_that_is_finished_says_so_and_stays_as_it_is(stopped):
    model = resume(stopped, progress="none")
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    progress = Stop()
    again = resume(stopped, progress=progress)
    assert progress.headline == f"the run in {stopped} is finished"
    assert again.record == json.loads(json.dumps(model.record))
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_a_finished_run_whose_model_is_damaged_gets_it_again(stopped):
    model = resume(stopped, progress="none")
    path = stopped / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    again = resume(stopped, progress="none")
    assert all(np.array_equal(again.weights[name], array) for name, array in model.weights.items())
    assert load(path).weights.keys() == model.weights.keys()


def test_before_the_first_checkpoint_a_run_begins_again(stopped):
    shutil.rmtree(stopped / "checkpoints")
    progress = Stop()
    resume(stopped, progress=progress)
    assert "resumed from the start: there was no checkpoint yet" in progress.headline
    assert [line[1] for line in lines(stopped) if line[0] == "steps"] == list(range(1, 19))


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(stopped):
    newest = checkpoint_files(stopped / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    progress = Stop()
    resume(stopped, progress=progress)
    assert "step-00000007.safetensors is not used: this file is cut off" in progress.headline
    assert "resumed in epoch 2, after step 6" in progress.headline
    assert [line[1] for line in lines(stopped) if line[0] == "steps"] == list(range(1, 19))


def changed(path, change):
    config = yaml.safe_load((path / "config.yaml").read_text())
    change(config)
    (path / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda config: config["settings"].update(lr=0.5), "lr: a run is continued as it was begun\n  received: 0.5"),
        (lambda config: config["settings"].update(seed=7), "seed: a run is continued"),
        (lambda config: config["settings"].update(epochs=9), "epochs: a run is continued"),
        (lambda config: config["settings"].update(lr="fast"), "this does not say how the run is done"),
        (lambda config: config["settings"].update(speed=1), "this does not say how the run is done"),
        (lambda config: config.update(engine="torch"), "engine: a run is continued"),
        (lambda config: config.update(network="INPUT[28x28x1] -> FC10"), "no checkpoint is whole"),
        (lambda config: config.update(network="INPUT[28x28x1"), "line 1"),
        (lambda config: config.update(threads="two"), "this does not say how the run is done"),
        (lambda config: config.update(threads=-1), "this does not say how the run is done"),
        (lambda config: config.pop("data"), "this does not say how the run is done"),
        (lambda config: config.update(checkpoints={"minutes": -1}), "one checkpoint or more is kept"),
    ],
)
def test_a_configuration_that_was_changed_is_refused(change, says, stopped):
    changed(stopped, change)
    with pytest.raises(NeocogError) as refused:
        resume(stopped, progress="none")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a: &x [1]\nb: *x\n", "a reference, which no run writes"),
        (b"- 1\n", "this does not say how a run is done"),
        (b"a: [\n", "this is not as it was written"),
        (b"!!python/object/apply:os.system [true]\n", "this is not as it was written"),
        (b"#" * 2**20 + b"#", "the file has at most 1,048,576 bytes"),
    ],
)
def test_a_configuration_that_is_none_is_refused(content, says, stopped):
    (stopped / "config.yaml").write_bytes(content)
    with pytest.raises(NeocogError) as refused:
        resume(stopped, progress="none")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lr": 0.5}, "lr: a run is continued as it was begun\n  received: 0.5 instead of 0.02"),
        ({"engine": "torch"}, "received: torch instead of native; another rounds otherwise"),
        ({"epochs": 4}, "received: 4 instead of 3; the learning rates depend on it"),
        ({"epochs": 2}, "received: 2 instead of 3"),
        ({"network": Network.parse("INPUT[28x28x1] -> FC10")}, "network: a run is continued as it was begun"),
        ({"speed": 4}, "there is no such setting"),
        ({"keep_checkpoints": 0}, "one checkpoint or more is kept"),
    ],
)
def test_what_is_repeated_must_be_as_it_was(given, says, stopped):
    with pytest.raises(NeocogError) as refused:
        resume(stopped, progress="none", **given)
    assert says in str(refused.value)


def test_data_that_have_moved_are_found_there_from_then_on(own_data, tmp_path):
    run = begun(own_data, tmp_path / "run")
    moved = own_data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="there is no such data set or folder"):
        resume(run, progress="none")
    with pytest.raises(KeyboardInterrupt):
        resume(run, data=moved, progress=Stop(1))
    assert resume(run, progress="none").record["data"]["source"] == str(moved)


def test_changed_data_without_a_run_is_a_mistake(capsys):
    assert main(["train", str(NET), "mnist", "--changed-data"]) == 2
    assert "--changed-data goes with --resume RUN" in capsys.readouterr().err


def test_what_is_as_it_was_may_be_repeated(stopped, digits_folder):
    model = resume(
        *(stopped, NET, digits_folder),
        lr=0.02,
        epochs=3,
        engine="auto",
        device="cpu",
        keep_checkpoints=1,
        progress="none",
    )
    assert model.record["epochs"] == 3
    assert names(stopped / "checkpoints") == ["best.safetensors", "step-00000018.safetensors"]


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(stopped, digits_folder, tmp_path):
    other = begun(digits_folder, tmp_path / "other", augment="shift=1", momentum=0.8)
    shutil.copy(checkpoint_files(other / "checkpoints")[-1], stopped / "checkpoints")
    with pytest.raises(
        NeocogError, match=r"momentum: a run is continued as it was begun\n  received: 0\.9 instead of 0\.8"
    ):
        resume(stopped, progress="none")


def test_a_constant_rate_lets_a_finished_run_be_longer(digits_folder, tmp_path):
    long, short = tmp_path / "long", begun(digits_folder, tmp_path / "short", schedule="constant")
    resume(short, progress="none")
    model = resume(short, epochs=5, progress="none")
    assert yaml.safe_load((short / "config.yaml").read_text())["settings"]["epochs"] == 5
    whole = train(NET, digits_folder, epochs=5, batch_size=16, schedule="constant", out=long, progress="none")
    assert all(np.array_equal(model.weights[name], array) for name, array in whole.weights.items())
    assert lines(short) == lines(long)


@pytest.mark.parametrize("after", [4, 10, 16])
def test_a_run_that_is_not_measured_each_epoch_resumes_too(after, digits_folder, tmp_path):
    run = begun(digits_folder, tmp_path / "run", after, measure_every=2)
    model = resume(run, progress="none")
    more = {"epochs": 3, "batch_size": 16, "measure_every": 2, "progress": "none", "device": "cpu"}
    whole = train(NET, digits_folder, out=tmp_path / "whole", **more)
    assert all(np.array_equal(model.weights[name], array) for name, array in whole.weights.items())
    assert [line[2] for line in lines(run) if line[0] == "epoch"] == [2, 3]
    assert lines(run) == lines(tmp_path / "whole")
    losses = [
        [line["train_loss"] for line in read_metrics(path) if line["kind"] == "epoch"]
        for path in (run, tmp_path / "whole")
    ]
    assert losses[0] == losses[1]


def test_everything_that_is_set_is_resumed_on_torch(digits_folder, stopped_once, tmp_path):
    """Settings that only this engine has, and a start from a file."""
    resumed = resume(Path(shutil.copytree(stopped_once, tmp_path / "first")), progress="none")
    start = resumed.save(tmp_path / "start.safetensors")
    more = {"optimizer": "muon", "clip": 1.0, "accumulate": 2, "label_smoothing": 0.1, "rates": "conv1=0, fc1=0.5"}
    more |= {"start": str(start), "class_weights": "balanced", "sampling": "balanced", "ema": 0.9, "validation": 16}
    more |= {"patience": 3, "warmup": 0.2, "tta": "flip"}
    run = begun(digits_folder, tmp_path / "run", after=6, **more)
    model = resume(run, progress="none")
    whole = train(
        *(NET, digits_folder), epochs=3, batch_size=16, out=tmp_path / "whole", progress="none", device="cpu", **more
    )
    assert model.record["resumed"][0]["step"] == 6
    assert all(np.array_equal(model.weights[name], array) for name, array in whole.weights.items())
    assert model.record["tta_accuracy"] == whole.record["tta_accuracy"]
    assert lines(run) == lines(tmp_path / "whole")


# -- data ------------------------------------------------------------------------------------------------------


def write_idx(path, values):
    path.write_bytes(bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes())


def read_idx(path):
    content = path.read_bytes()
    shape = struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape).copy()


def relabelled(folder):
    path = folder / "train-labels-idx1-ubyte"
    labels = read_idx(path)
    labels[5] = (labels[5] + 1) % 10
    write_idx(path, labels)


def repainted(folder, prefix="train"):
    path = folder / f"{prefix}-images-idx3-ubyte"
    images = read_idx(path)
    images[3, 14, 14] ^= 1
    write_idx(path, images)


def shortened(folder):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        write_idx(folder / name, read_idx(folder / name)[:-1])


def exchanged(folder):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        write_idx(folder / name, read_idx(folder / name)[::-1].copy())


CHANGES = {
    "a label": (relabelled, "other training images, labels or class names"),
    "a pixel": (repainted, "other training images, labels or class names"),
    "a test pixel": (lambda folder: repainted(folder, "t10k"), "other test images, labels or class names"),
    "one image less": (shortened, "95 training images instead of 96"),
    "the order": (exchanged, "other training images, labels or class names"),
}


@pytest.fixture
def own_data(digits_folder, tmp_path):
    return Path(shutil.copytree(digits_folder, tmp_path / "data"))


@pytest.mark.parametrize("what", CHANGES)
def test_data_that_have_changed_are_refused_unless_told(what, own_data, tmp_path):
    run, (change, says) = begun(own_data, tmp_path / "run"), CHANGES[what]
    change(own_data)
    with pytest.raises(DataError) as refused:
        resume(run, progress="none")
    assert f"{own_data}: the data are not those that the run began with\n  received: {says}" in str(refused.value)
    progress = Stop()
    model = resume(run, changed_data=True, progress=progress)
    assert f"the data have changed: {says}" in progress.headline
    assert model.record["epochs"] == 3
    assert model.record["resumed"][0]["notes"][-1] == f"the data have changed: {says}"


def test_data_that_were_given_as_arrays_are_given_again(digits, tmp_path):
    few = Splits(*(replace(part, images=part.images[:96], labels=part.labels[:96]) for part in digits))
    run = begun(few, tmp_path / "run")
    with pytest.raises(NeocogError, match="this run was given its data as arrays"):
        resume(run, progress="none")
    assert resume(run, data=few, progress="none").record["epochs"] == 3


@pytest.fixture
def photos(digits, tmp_path):
    """A folder of image files: 60 to learn from, 16 to measure on and 16 to test on, in two classes."""
    firsts = {"train": range(60), "val": range(60, 76), "test": range(76, 92)}
    for split, numbers in firsts.items():
        for k in numbers:
            path = tmp_path / "photos" / split / ("low" if digits.train.labels[k] < 5 else "high") / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.train.images[k, :, :, 0]).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("stream", [False, True])
def test_image_files_are_read_as_before(stream, photos, tmp_path, monkeypatch):
    network = Network.parse("INPUT[28x28x1] -> POOL4 -> CONV3-3 -> RELU -> FC2")
    more = {"epochs": 3, "batch_size": 16, "device": "cpu", "augment": "shift=1"}
    data = load_data(str(photos), network.input_shape, how=How(stream=stream))
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(network, data, out=run, progress=Stop(6), **more)
    monkeypatch.chdir(tmp_path)
    model = resume("run", progress="none")
    whole = train(network, data, out=tmp_path / "whole", progress="none", **more)
    assert model.record["data"]["streamed"] is stream
    assert model.record["resumed"][0]["step"] == 6
    assert all(np.array_equal(model.weights[name], array) for name, array in whole.weights.items())
    assert lines(run) == lines(tmp_path / "whole")


@pytest.mark.parametrize("stream", [False, True])
def test_a_file_more_or_less_in_any_split_is_found(stream, photos, tmp_path):
    network = Network.parse("INPUT[28x28x1] -> POOL4 -> FC2")
    data = load_data(str(photos), network.input_shape, how=How(stream=stream))
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(network, data, epochs=3, batch_size=16, device="cpu", out=run, progress=Stop(5))
    for split, name, count in (("train", "training", 60), ("val", "validation", 16), ("test", "test", 16)):
        file = next((photos / split / "low").iterdir())
        file.rename(away := tmp_path / file.name)
        with pytest.raises(DataError, match=f"{count - 1} {name} images instead of {count}"):
            resume(run, progress="none")
        away.rename(file)
    assert resume(run, progress="none").record["epochs"] == 3


def test_another_version_is_said(stopped):
    changed(stopped, lambda config: config["versions"].update(numpy="1.0"))
    changed(stopped, lambda config: config.update(processor="abacus"))
    progress = Stop()
    resume(stopped, progress=progress)
    assert (
        f"may differ from a run without a stop: numpy 1.0 then, {np.__version__} now; abacus then" in progress.headline
    )


# -- the log ---------------------------------------------------------------------------------------------------


def test_lines_after_the_checkpoint_are_cut_off_half_ones_too(stopped):
    before = lines(stopped)
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "steps", "step": 8, "lr": 0.1, "loss": 9.9}\n{"kind": "st')
    with pytest.raises(KeyboardInterrupt):
        resume(stopped, progress=Stop(1))
    assert lines(stopped)[: len(before)] == before
    assert [line[1] for line in lines(stopped) if line[0] == "steps"] == list(range(1, 9))
    assert lines(stopped)[-1][3] != 9.9


def test_a_log_that_lacks_lines_is_refused(stopped):
    (stopped / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match="lines are missing that were written before the checkpoint"):
        resume(stopped, progress="none")


def test_a_log_of_another_run_is_refused(stopped):
    path = stopped / "metrics.jsonl"
    path.write_text(path.read_text().replace('"epoch"', '"other"'))
    with pytest.raises(RunError, match="are not of one run"):
        resume(stopped, progress="none")


# -- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_writes_a_checkpoint_and_ends_with_its_code(name, code, dying, digits_folder, tmp_path):
    run = tmp_path / "run"
    asked = (NET, digits_folder, "--out", run, "--epochs", 3, "--batch-size", 16, "--device", "cpu")
    (ended,) = dying(dying_train(*asked, at_step=8, signal=name))
    assert ended.code == code
    assert ended.err.endswith(f"neocog train --resume {run} goes on from there\n")
    assert names(run / "checkpoints") == ["best.safetensors", "step-00000006.safetensors", "step-00000008.safetensors"]
    assert not (run / ".lock").exists()


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGHUP"])
def test_a_snapshot_is_written_and_the_run_goes_on(name, digits_folder, tmp_path, monkeypatch):
    before = signal.getsignal(getattr(signal, name))
    seen = []

    class Ask(Silence):
        def stepped(self, epoch, meter, steps):
            seen.append(names(tmp_path / "run" / "checkpoints") if (tmp_path / "run" / "checkpoints").exists() else [])
            if len(seen) == 3:
                signal.raise_signal(getattr(signal, name))

    train(NET, digits_folder, epochs=1, batch_size=16, out=tmp_path / "run", progress=Ask(), device="cpu")
    assert seen == [[], [], [], *[["step-00000003.safetensors"]] * 3]
    assert signal.getsignal(getattr(signal, name)) is before


def test_within_an_epoch_a_checkpoint_is_due_after_some_minutes(digits_folder, tmp_path, monkeypatch):
    """A minute passes with each step, and one is due after two."""
    run, seen, clock = tmp_path / "run", [], [0.0]

    class Minutes(Silence):
        def stepped(self, epoch, meter, steps):
            clock[0] += 60
            seen.append([path.name[11:13] for path in checkpoint_files(run / "checkpoints")])

    monkeypatch.setattr("neocog.training.keeper.perf_counter", lambda: clock[0])
    train(
        *(NET, digits_folder), epochs=1, batch_size=16, out=run, progress=Minutes(), checkpoint_minutes=2, device="cpu"
    )
    assert seen == [[], [], ["02"], ["02"], ["02", "04"], ["02", "04"]]
    assert [path.name[11:13] for path in checkpoint_files(run / "checkpoints")] == ["04", "06"]


class Twice(Stop):
    """Presses Ctrl-C a second time while the checkpoint is written."""

    def stepped(self, epoch, meter, steps):
        super().stepped(epoch, meter, steps)
        if self.left == 10**9:
            self.patch.setattr("neocog.files.os.fsync", lambda _: signal.raise_signal(signal.SIGINT))


def test_ctrl_c_twice_ends_at_once_and_leaves_the_checkpoint_before(digits_folder, tmp_path, monkeypatch):
    progress, run = Twice(8), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt) as stopped, monkeypatch.context() as progress.patch:
        train(NET, digits_folder, epochs=3, batch_size=16, out=run, progress=progress, device="cpu")
    assert stopped.value.args == ()
    assert names(run / "checkpoints") == ["best.safetensors", "step-00000006.safetensors"]
    assert not (run / "interrupted.safetensors").exists()
    assert resume(run, progress="none").record["resumed"][0]["step"] == 6


def test_a_full_disk_ends_the_run_and_keeps_the_checkpoint_before(digits_folder, tmp_path, monkeypatch):
    run = tmp_path / "run"

    class Full(Silence):
        """From the eighth step on no file may grow: the system refuses the write, as it does on a full disk."""

        made = 0

        def stepped(self, epoch, meter, steps):
            self.made += steps
            if self.made == 8:
                resource.setrlimit(resource.RLIMIT_FSIZE, ((run / "metrics.jsonl").stat().st_size + 200, limit[1]))

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(RunError) as stopped:
            train(
                *(NET, digits_folder),
                epochs=3,
                batch_size=16,
                out=run,
                progress=Full(),
                checkpoint_minutes=0,
                device="cpu",
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    text = str(stopped.value)
    assert "step-00000008.safetensors: this file cannot be written\n  received: File too large" in text
    assert f"step-00000007.safetensors is whole; make room, then neocog train --resume {run}" in text
    assert names(run / "checkpoints") == ["best.safetensors", "step-00000006.safetensors", "step-00000007.safetensors"]
    assert resume(run, progress="none").record["epochs"] == 3


class Slow:
    """Makes the file of an epoch's end only when the next epoch is under way."""

    def __init__(self, patch, fault=None):
        self.waiting, self.go, self.fault, save = [], threading.Event(), fault, Checkpoint.save

        def held(checkpoint, folder):
            self.waiting.append(checkpoint.place.step)
            assert self.go.wait(60)
            if self.fault and checkpoint.place.step == STEPS:
                raise self.fault
            return save(checkpoint, folder)

        patch.setattr(Checkpoint, "save", held)


class Watch(Silence):
    def __init__(self, slow, folder):
        self.slow, self.folder, self.seen = slow, folder, []

    def stepped(self, epoch, meter, steps):
        if epoch == 2 and not self.slow.go.is_set():
            self.seen = names(self.folder / "checkpoints") + self.slow.waiting
            self.slow.go.set()


def test_training_goes_on_while_the_checkpoint_of_an_epochs_end_is_written(digits_folder, tmp_path, monkeypatch):
    run, slow = tmp_path / "run", Slow(monkeypatch)
    watch = Watch(slow, run)
    train(NET, digits_folder, epochs=2, batch_size=16, out=run, progress=watch, device="cpu")
    assert watch.seen == ["best.safetensors", 6]
    assert [path.name[11:13] for path in checkpoint_files(run / "checkpoints")] == ["06", "12"]
    other = tmp_path / "other"
    more = {"checkpoint_minutes": 0, "keep_checkpoints": 9}  # which are waited for
    train(NET, digits_folder, epochs=2, batch_size=16, out=other, progress="none", device="cpu", **more)
    for end in ("06", "12"):
        path = Path("checkpoints", f"step-000000{end}.safetensors")
        states = [read_checkpoint(folder / path, NET).state for folder in (run, other)]
        assert state_hash(states[0]) == state_hash(states[1])


def test_a_checkpoint_that_could_not_be_written_meanwhile_ends_the_run(digits_folder, tmp_path, monkeypatch):
    run = tmp_path / "run"
    slow = Slow(monkeypatch, RunError("this file cannot be written", where="there", received="No space left"))
    with pytest.raises(RunError, match="No space left\n  try: make room, then neocog train --resume"):
        train(NET, digits_folder, epochs=3, batch_size=16, out=run, progress=Watch(slow, run), device="cpu")
    assert slow.waiting == [6]


def test_a_large_state_is_written_before_training_goes_on(digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("neocog.training.keeper.MEANWHILE", 100)
    run, slow = tmp_path / "run", Slow(monkeypatch)
    slow.go.set()

    class Seen(Silence):
        at_first = None

        def stepped(self, epoch, meter, steps):
            if epoch == 2 and self.at_first is None:
                self.at_first = names(run / "checkpoints")

    seen = Seen()
    train(NET, digits_folder, epochs=2, batch_size=16, out=run, progress=seen, device="cpu")
    assert seen.at_first == ["best.safetensors", "step-00000006.safetensors"]


def test_a_log_that_cannot_be_written_says_how_the_run_goes_on(tmp_path):
    with RunFolder.create(tmp_path / "run", "") as folder:
        folder.log_file.unlink()
        folder.log_file.mkdir()
        with pytest.raises(RunError, match=f"try: make room, then neocog train --resume {folder.path}"):
            folder.log("steps", {"step": 1, "loss": 1.0, "lr": 0.1})


class MustNotStart(Silence):
    def started(self, headline, epochs, steps):
        raise AssertionError


def test_a_disk_without_room_for_checkpoints_is_found_before_training(digits_folder, tmp_path, monkeypatch):
    nothing = shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr("neocog.training.keeper.shutil.disk_usage", lambda _: nothing)
    with pytest.raises(RunError, match="there is not enough room for checkpoints\n  received: 1 bytes free, about"):
        train(NET, digits_folder, out=tmp_path / "run", progress=MustNotStart(), device="cpu")


def test_a_folder_that_may_only_be_read_is_refused_before_training(stopped, monkeypatch):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("neocog.training.lock.os.open", refused)
    with pytest.raises(RunError, match="the run folder cannot be written\n  received: Read-only file system"):
        resume(stopped, progress=MustNotStart())
    with pytest.raises(RunError, match="the run folder cannot be written\n  received: Read-only file system"):
        train(NET, "mnist", out=stopped / "new", progress=MustNotStart(), device="cpu")
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("skew", [-86_400.0, 10 * 365 * 86_400.0, -1.7e9])
def test_a_clock_that_jumps_changes_nothing(skew, digits_folder, tmp_path, monkeypatch):
    true, run = time.time, tmp_path / "run"

    class Jump(Stop):
        def stepped(self, epoch, meter, steps):
            monkeypatch.setattr(time, "time", lambda: true() + skew)
            super().stepped(epoch, meter, steps)

    begun(digits_folder, run, progress=Jump(8))
    model = resume(run, progress="none")
    assert model.record["resumed"][0]["step"] == 8
    assert all(line["seconds"] >= 0 for line in read_metrics(run) if line["kind"] == "epoch")
    assert 0 < model.record["seconds"] < 3600


# -- one trainer at a time -------------------------------------------------------------------------------------


def test_a_second_trainer_is_refused_while_the_first_one_runs(stopped, digits_folder):
    before = lines(stopped)
    with RunFolder.open(stopped):
        for _ in range(100):
            with pytest.raises(RunError, match="another process is training in this folder\n  received: process "):
                resume(stopped, progress=MustNotStart())
        with pytest.raises(RunError, match="another process is training in this folder"):
            train(NET, digits_folder, out=stopped, progress=MustNotStart())
        assert lines(stopped) == before
    resume(stopped, progress="none")


def test_another_process_is_refused_with_the_holders_number(stopped, dying):
    with RunFolder.open(stopped):
        (ended,) = dying(dying_train("--resume", stopped))
    assert ended.code == 1
    assert f"process {os.getpid()} on " in ended.err


def test_the_lock_of_a_killed_process_is_free(dying, digits_folder, tmp_path):
    run = tmp_path / "run"
    asked = (NET, digits_folder, "--out", run, "--epochs", 3, "--batch-size", 16, "--device", "cpu")
    (ended,) = dying(dying_train(*asked, at_step=3))
    assert ended.code == -signal.SIGKILL
    assert json.loads((run / ".lock").read_text()).keys() == {"pid", "host", "started"}
    resume(run, progress="none")
    assert not (run / ".lock").exists()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_no_lock(tmp_path, monkeypatch):
    """Between opening the file and locking it, its holder ended and removed it, and a third made a new one."""
    locked, third = lock.held, []

    def late(handle):
        if not third:
            third.append(None)
            (tmp_path / lock.NAME).unlink()
            third[0] = Lock(tmp_path)
        return locked(handle)

    (tmp_path / lock.NAME).touch()
    monkeypatch.setattr(lock, "held", late)
    with pytest.raises(RunError, match="another process is training in this folder"):
        Lock(tmp_path)
    third[0].free()
    Lock(tmp_path).free()


# -- numbers that are none -------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [0, 32])
def test_a_loss_that_is_not_finite_names_its_images_and_the_last_good_checkpoint(validation, own_data, tmp_path):
    class Poison(Silence):
        """After the first epoch, the weights become so large that the next loss is not finite."""

        def epoch_done(self, epoch, epochs):
            self.engine.restore({n: a * np.float32(1e30) if "/" in n else a for n, a in self.engine.state().items()})

    progress, made = Poison(), room.Session.__init__

    def noted(self, *arguments, **more):
        made(self, *arguments, **more)
        progress.engine = self.engine

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room.Session, "__init__", noted)
        with pytest.raises(RunError) as stopped:
            train(
                *(NET, own_data),
                epochs=3,
                batch_size=16,
                out=run,
                progress=progress,
                validation=validation,
                device="cpu",
            )
    found = json.loads((run / "non-finite.json").read_text())
    steps = (96 - validation) // 16
    assert (found["epoch"], found["step"]) == (2, steps + 1)
    assert len(set(found["images"])) == 16
    assert set(found["images"]) <= set(range(96))
    assert f"the images of this step: {run / 'non-finite.json'}" in str(stopped.value)
    last = checkpoint_files(run / "checkpoints")
    assert str(stopped.value).count("the last good checkpoint: ") == 1
    for path in last:
        assert all(np.isfinite(array).all() for array in read_checkpoint(path, NET).state.values())
    assert not (run / "model.safetensors").exists()


# -- verify-resume ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_users_run_is_shown_to_resume_exactly(engine, digits_folder, tmp_path, capsys):
    run = begun(digits_folder, tmp_path / "run", engine=engine, augment="shift=1", ema=0.9)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["verify-resume", str(run), "--steps", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"] is True
    assert found["uninterrupted"] == found["resumed"]
    assert (found["steps"], 0 < found["stopped_at"] < 9, len(found["resumed"])) == (9, True, 64)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_not_restored_is_found(stopped, monkeypatch, capsys):
    whole = NativeNetwork.write_state

    def forgetful(self, state):
        whole(self, {name: a * 0 if name.startswith("velocity/") else a for name, a in state.items()})

    monkeypatch.setattr(NativeNetwork, "write_state", forgetful)
    assert verify_resume(stopped, steps=4).same is False
    assert main(["verify-resume", str(stopped)]) == 1
    assert "NOT the same" in capsys.readouterr().out


def test_a_stretch_without_a_middle_is_refused(stopped):
    with pytest.raises(NeocogError, match="two steps are needed"):
        verify_resume(stopped, steps=1)
