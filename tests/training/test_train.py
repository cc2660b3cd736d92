from __future__ import annotations

import io
import json
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import yaml
from made_up import MACHINE, PACE

from neocog import DataError, NeocogError, Network, RunError, load, train
from neocog.data import Dataset, Splits
from neocog.native.footprint import footprints
from neocog.native.jit import Machine
from neocog.training import engine as engine_room
from neocog.training.engine import choose_engine
from neocog.training.loop import Pace
from neocog.training.metrics import Epoch, Meter
from neocog.training.progress import Bar, Silence, choose_progress
from neocog.training.run import read_metrics


def run(network, digits, tmp_path, **settings):
    quick = {"epochs": 2, "batch_size": 32, "out": tmp_path / "run", "progress": "none", "device": "cpu"}
    return train(network, digits, **{**quick, **settings})


def epochs_of(path):
    return [line for line in read_metrics(path) if line["kind"] == "epoch"]


def files(path):
    return sorted(entry.name for entry in path.iterdir())


def checkpoints(path):
    return [name for name in files(path / "checkpoints") if name != "best.safetensors"]


def test_a_network_learns_to_read_digits(small, digits, tmp_path):
    model = run(small, digits, tmp_path, epochs=6, lr=0.05)
    assert model.record["test_accuracy"] > 0.75
    losses = [epoch["train_loss"] for epoch in epochs_of(tmp_path / "run")]
    assert losses[-1] < losses[0] / 2


def test_training_twice_with_one_seed_gives_the_same_bits(digits, tmp_path):
    network = Network.parse("INPUT[28x28x1] -> POOL2 -> CONV3-4 -> BN -> RELU -> POOL2 -> DROPOUT(0.2) -> FC10")
    first, second, other = (
        run(network, digits, tmp_path, seed=seed, augment="shift=1", out=tmp_path / str(k)).weights
        for k, seed in enumerate((3, 3, 4))
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


CURVES = {"events.out.tfevents.neocog", "results.csv"}
FILES = {"answers.npy", "checkpoints", "config.yaml", "metrics.jsonl", "model.safetensors", "report.html"} | CURVES


def test_a_finished_run_leaves_its_files(small, digits, tmp_path):
    model = run(small, digits, tmp_path)
    path = tmp_path / "run"
    assert set(files(path)) == FILES
    labels, said = np.load(path / "answers.npy", allow_pickle=False)
    assert np.array_equal(labels, digits.test.labels)
    assert (labels == said).mean() == model.record["test_accuracy"]
    assert "test images read correctly" in (path / "report.html").read_text(encoding="utf-8")
    saved = load(path / "model.safetensors")
    assert saved.record == json.loads(json.dumps(model.record))
    assert all(np.array_equal(saved.weights[name], array) for name, array in model.weights.items())


def test_the_settings_file_is_enough_to_do_the_run_again(small, digits, tmp_path):
    model = run(small, digits, tmp_path, augment="shift=2, rotate=5", ema=0.9, schedule="cosine")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    again = run(Network.parse(config["network"]), digits, tmp_path, out=tmp_path / "again", **config["settings"])
    assert all(np.array_equal(again.weights[name], array) for name, array in model.weights.items())
    assert config["data"]["training_fingerprint"] == digits.train.fingerprint()
    assert config["settings"]["lr"] == 0.02
    assert config["settings"]["loss"] == "cross-entropy"


def test_metrics_tell_of_every_epoch_and_of_steps_between(small, digits, tmp_path):
    model = run(small, digits, tmp_path, epochs=3)
    lines = read_metrics(tmp_path / "run")
    epochs = epochs_of(tmp_path / "run")
    assert [(e["epoch"], e["steps"]) for e in epochs] == [(1, 12), (2, 24), (3, 36)]
    table = (tmp_path / "run" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[4] for line in table] == ["val/acc1", *(f"{e['accuracy']:.6g}" for e in epochs)]
    events = (tmp_path / "run" / "events.out.tfevents.neocog").read_bytes()
    assert [events.count(tag) for tag in (b"train/loss", b"val/acc1")] == [36, 3]
    assert [line["step"] for line in lines if line["kind"] == "steps"] == list(range(1, 37))
    assert {e["measured_on"] for e in epochs} == {"test"}
    assert epochs[-1]["accuracy"] == model.record["test_accuracy"]
    assert model.record["epochs"] == 3
    assert model.record["seconds"] > 0
    assert model.record["images_per_second"] > 0


def test_the_learning_rate_follows_the_schedule(small, digits, tmp_path):
    run(small, digits, tmp_path, lr=0.04, schedule="step")
    rates = [line["lr"] for line in read_metrics(tmp_path / "run") if line["kind"] == "steps"]
    np.testing.assert_allclose(rates, [0.04] * 12 + [0.004] * 6 + [0.0004] * 6)


def test_training_stops_at_the_target_accuracy(small, digits, tmp_path):
    model = run(small, digits, tmp_path, epochs=50, lr=0.05, target_accuracy=0.4)
    accuracies = [epoch["accuracy"] for epoch in epochs_of(tmp_path / "run")]
    assert accuracies[-1] >= 0.4
    assert all(accuracy < 0.4 for accuracy in accuracies[:-1])
    assert model.record["epochs"] == len(accuracies) < 50


def test_held_out_images_are_measured_on_and_not_learned_from(small, digits, tmp_path):
    model = run(small, digits, tmp_path, validation=84)
    epochs = epochs_of(tmp_path / "run")
    assert {e["measured_on"] for e in epochs} == {"validation"}
    assert epochs[0]["steps"] == -(-300 // 32)
    right = model.scores(model.preprocessing(digits.test.images)).argmax(axis=1) == digits.test.labels
    assert model.record["test_accuracy"] == right.mean()


def test_runs_without_a_folder_are_numbered(small, digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (None, None, "mine"):
        run(small, digits, tmp_path, epochs=1, out=None, name=name)
    assert files(tmp_path / "runs") == ["mine-1", "mnist-1", "mnist-2"]


def test_a_folder_with_another_run_is_left_as_it_is(small, digits, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes(b"dear")
    with pytest.raises(NeocogError) as refused:
        run(small, digits, tmp_path)
    assert "run: this folder holds another run, which is not overwritten" in str(refused.value)
    assert "received: it has model.safetensors" in str(refused.value)
    assert files(tmp_path / "run") == ["model.safetensors"]


def test_a_folder_that_cannot_be_written_is_found_before_training(small, digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="the run folder cannot be written\n  received: Not a directory"):
        run(small, digits, tmp_path, out=tmp_path / "file" / "run", progress=MustNotStart())


class MustNotStart(Silence):
    def started(self, headline, epochs, steps):
        raise AssertionError


def test_a_loss_that_is_not_finite_ends_the_run_without_a_model(small, digits, tmp_path):
    with pytest.raises(RunError) as stopped:
        run(small, digits, tmp_path, lr=1e30, schedule="constant")
    text = str(stopped.value)
    assert text.startswith("epoch 1, step 2: the loss is not finite any more; no model was written")
    assert "received: the output of fc1 is the first that is not finite" in text
    assert "try: a smaller learning rate, lr=1e+29" in text
    assert set(files(tmp_path / "run")) - CURVES == {"config.yaml", "metrics.jsonl", "non-finite.json"}


def test_a_network_that_breaks_in_the_very_last_step_leaves_no_model(small, digits, tmp_path):
    with pytest.raises(RunError, match="epoch 1, step 1: the loss is not finite"):
        run(small, digits, tmp_path, lr=1e38, epochs=1, batch_size=384, schedule="constant")
    assert "model.safetensors" not in files(tmp_path / "run")


class PressCtrlC(Silence):
    """Presses Ctrl-C after the first steps of the second epoch, and counts how often it is told of steps afterwards."""

    def __init__(self):
        self.after = None

    def stepped(self, epoch, meter, steps):
        if self.after is not None:
            self.after += 1
        elif epoch == 2:
            self.after = 0
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_ctrl_c_ends_the_run_after_the_step_and_keeps_the_weights_so_far(engine, small, digits, tmp_path):
    before, progress = signal.getsignal(signal.SIGINT), PressCtrlC()
    with pytest.raises(KeyboardInterrupt):
        run(small, digits, tmp_path, progress=progress, engine=engine)
    assert progress.after == 0
    assert set(files(tmp_path / "run")) - CURVES == {
        "checkpoints",
        "config.yaml",
        "interrupted.safetensors",
        "metrics.jsonl",
    }
    assert len(epochs_of(tmp_path / "run")) == 1
    assert load(tmp_path / "run" / "interrupted.safetensors").record["interrupted"] is True
    assert signal.getsignal(signal.SIGINT) is before


def test_an_engine_is_left_alone_for_about_a_tenth_of_a_second(monkeypatch):
    times = iter([0.0, 0.001, 1.0, 1.016, 2.0, 2.2, 3.0, 4.0])
    monkeypatch.setattr("neocog.training.loop.perf_counter", lambda: next(times))
    pace, given = Pace(), []
    for _ in range(4):
        given.append(pace.steps)
        with pace.timed(pace.steps):
            pass
    assert [*given, pace.steps] == [1, 16, 100, 50, 5]


def test_steps_are_told_of_once_each(small, digits, tmp_path):
    told = []

    class Told(Silence):
        def stepped(self, epoch, meter, steps):
            told.append((epoch, steps, meter.images))

    run(small, digits, tmp_path, progress=Told())
    assert [sum(steps for epoch, steps, _ in told if epoch == number) for number in (1, 2)] == [12, 12]
    assert [max(images for epoch, _, images in told if epoch == number) for number in (1, 2)] == [384, 384]


def test_training_works_in_a_thread_too(small, digits, tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(run(small, digits, tmp_path, epochs=1)))
    thread.start()
    thread.join()
    assert found[0].record["epochs"] == 1


DIGIT = "INPUT[28x28x1]"


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        (
            f"{DIGIT} -> FC12",
            {},
            ["fc1: outputs and classes are not as many: the network has 12, the data 10", "FC10 in place of FC12"],
        ),
        (f"{DIGIT} -> FC12 -> RELU -> SOFTMAX", {}, ["received: FC12 for mnist", "FC10 in place of FC12"]),
        (f"{DIGIT} -> CONV3-12 -> GAP", {}, ["gap1: outputs and classes are not as many", "try: -> FC10 at the end"]),
        (f"{DIGIT} -> FC84 -> RBF9", {}, ["try: RBF10 in place of RBF9"]),
        (
            f"{DIGIT} -> AUX[FC9] -> FC10",
            {},
            ["aux1: a side output is as many scores", "1x1x9 beside 1x1x10", "-> FC10"],
        ),
        (f"{DIGIT} -> FC1", {"loss": "sigmoid"}, ["the network has 1, the data 10"]),
        (f"{DIGIT} -> CONV3-10", {}, ["conv1: the network ends in a volume", "try: -> FC10, or -> CONV1-10 -> GAP"]),
        (
            "INPUT[28x28x3] -> FC10",
            {},
            ["the network takes 3, the images have 1", "grey images", "try: INPUT[28x28x1]"],
        ),
        ("INPUT[784x1] -> FC10", {}, ["an input of two axes and channels", "try: INPUT[28x28x1]"]),
        (f"{DIGIT} -> FC84 -> RBF10", {"loss": "hinge"}, ["received: loss=hinge", "try: loss=map, or FC in place"]),
        (f"{DIGIT} -> CONV3-10(S=2, P=0) -> GAP", {}, ["do not tile"]),
        (
            f"{DIGIT} -> POOL14 -> FC10",
            {"engine": "native"},
            ["the native engine cannot train this", "no kernel for max pooling over more than 49", "try: engine=torch"],
        ),
        (f"{DIGIT} -> FC10", {"engine": "keras"}, ["engine is one of auto, torch, native"]),
        (f"{DIGIT} -> FC10", {"device": "gpu"}, ["this device is unknown"]),
        (f"{DIGIT} -> FC10", {"init": "ones"}, ["there is no such initialiser"]),
        (f"{DIGIT} -> FC10", {"epochs": 0}, ["epochs is a whole number from 1"]),
        (f"{DIGIT} -> FC10", {"augment": "shift=99"}, ["augment: shift is a whole number of pixels from 0 to 64"]),
        (f"{DIGIT} -> FC10", {"optimizer": "adam"}, ["optimizer is one of sgd"]),
        (f"{DIGIT} -> FC10", {"validation": 384}, ["received: validation=384 of 384 images", "try: validation=64"]),
        (f"{DIGIT} -> FC9 -> BN -> FC10", {"batch_size": 1}, ["bn1: BN needs two values", "try: batch_size=2 or more"]),
        (f"{DIGIT} -> FC10", {"progress": "loud"}, ["progress is one of auto, bar, lines, none"]),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(text, settings, says, digits, tmp_path):
    with pytest.raises(NeocogError) as refused:
        run(Network.parse(text), digits, tmp_path, **settings)
    assert [words for words in says if words not in str(refused.value)] == []
    assert not (tmp_path / "run").exists()


def test_a_colour_set_is_refused_by_a_grey_network_with_its_own_size(tmp_path):
    colour = Dataset("photos", "train", np.zeros((4, 8, 9, 3), np.uint8), np.array([0, 1, 0, 1]), ("cat", "dog"))
    with pytest.raises(DataError, match="received: colour images of 8x9x3\n  try: INPUT\\[8x9x3\\]"):
        run(Network.parse("INPUT[8x9x1] -> FC2"), Splits(colour, replace(colour, split="test")), tmp_path)


def test_two_classes_may_share_one_output(digits, tmp_path):
    two = [replace(part, labels=(part.labels > 4).astype(np.int64), classes=("low", "high")) for part in digits]
    network = Network.parse("INPUT[28x28x1] -> POOL4 -> FC1")
    model = run(network, Splits(*two), tmp_path, loss="sigmoid", epochs=4)
    assert model.record["test_accuracy"] > 0.6


class Answered:
    """A question about the machine whose answer is at hand."""

    def __init__(self, found):
        self.found = found

    def at_hand(self):
        return self.found


def test_the_engine_is_chosen_with_a_reason(small):
    engine, _, reason = choose_engine("torch", small, "cpu")
    assert engine.name == "torch"
    assert reason == "torch on cpu, as asked"
    covered = Network.parse("INPUT[8x8x1] -> CONV3-4 -> RELU -> FC3")
    assert choose_engine("native", covered, "cpu")[0].name == "native"
    assert choose_engine("auto", covered, "cpu").reason == "native: machine code for this network"
    assert choose_engine("auto", covered, "cpu", "hinge", "adamw")[0].name == "native"
    for text, why in (
        ("INPUT[8x8x1] -> POOL8 -> FC3", "native has no kernel for max pooling over more than 49"),
        ("INPUT[100x100x1] -> FC300 -> FC3", "native has too many weights to hold, 3,001,203"),
    ):
        engine, _, reason = choose_engine("auto", Network.parse(text), "cpu")
        assert engine.name == "torch"
        assert why in reason


@pytest.mark.parametrize(
    ("batch_size", "threads", "chosen"),
    [(64, 2, "native"), (16, 2, "torch"), (4, 1, "torch"), (64, 4, "native"), (64, 64, "torch"), (1024, 8, "native")],
)
def test_the_native_engine_is_chosen_where_its_lanes_are_busy(batch_size, threads, chosen, monkeypatch):
    monkeypatch.setattr(engine_room, "cores", lambda: threads)
    monkeypatch.setattr(engine_room, "machine", lambda: Machine(lanes=16, registers=32))
    large = Network.parse("INPUT[64x64x16] -> [CONV3-32 -> RELU]*3 -> GAP -> FC3")
    engine, _, reason = choose_engine("auto", large, "cpu", batch_size=batch_size)
    assert engine.name == chosen
    assert (chosen == "native") or "few lanes to fill" in reason
    assert choose_engine("native", large, "cpu", batch_size=batch_size)[0].name == "native"


@pytest.mark.parametrize(
    ("native_cost", "dtype", "chosen"),
    [(1e-12, "float32", "native float32"), (1e-3, "float32", "torch float32"), (1e-3, "auto", "torch bfloat16")],
)
def test_where_the_machine_has_been_calibrated_the_expected_time_decides(native_cost, dtype, chosen, monkeypatch):
    def torch_known(dtype, threads, device):
        return Answered(replace(MACHINE, dtype=dtype, flops=2e9 if dtype == "bfloat16" else 1e9))

    def native_known(dtype, threads):
        return Answered(replace(PACE, dtype=dtype, costs=dict.fromkeys(PACE.costs, native_cost)))

    monkeypatch.setattr(engine_room, "calibration_question", torch_known)
    monkeypatch.setattr(engine_room, "pace_question", native_known)
    network = Network.parse("INPUT[8x8x16] -> CONV3-32 -> RELU -> FC3")
    found = choose_engine("auto", network, "cpu", dtype=dtype)
    assert f"{found.make.name} {found.dtype}" == chosen
    assert found.reason.startswith(f"{found.make.name}: ")
    assert f"a step expected in {found.dtype}" in found.reason
    assert choose_engine("native", network, "cpu", dtype="float32").reason == "native, as asked"


@pytest.mark.parametrize("spare", [1.01, 0.99])
def test_many_weights_are_a_matter_of_time_and_memory_on_a_calibrated_machine(spare, monkeypatch):
    fast = replace(PACE, costs=dict.fromkeys(PACE.costs, 1e-15))
    monkeypatch.setattr(engine_room, "calibration_question", lambda *_: Answered(MACHINE))
    monkeypatch.setattr(engine_room, "pace_question", lambda *_: Answered(fast))
    many = Network.parse("INPUT[100x100x1] -> FC300 -> FC3")
    needed = footprints(many.plan(batch=64, optimizer="nesterov"), engine_room.native.pick_threads(many, 64))[
        "training"
    ]
    monkeypatch.setattr(engine_room, "available_memory", lambda: int(2 * spare * needed.total))
    chosen = choose_engine("auto", many, "cpu")
    assert chosen.make.name == ("native" if spare > 1 else "torch")
    assert ("; native would take" in chosen.reason) == (spare < 1)
    assert ("by native in float32" in chosen.reason) == (spare < 1)


def test_memory_does_not_overrule_what_was_asked_for(monkeypatch):
    monkeypatch.setattr(engine_room, "pace_question", lambda dtype, _: Answered(replace(PACE, dtype=dtype)))
    monkeypatch.setattr(engine_room, "available_memory", lambda: 1000)
    network = Network.parse("INPUT[8x8x16] -> CONV3-32 -> RELU -> FC3")
    assert choose_engine("native", network, "cpu", dtype="auto").make.name == "native"


def test_without_a_calibration_auto_is_float32():
    network = Network.parse("INPUT[8x8x16] -> CONV3-32 -> RELU -> FC3")
    untimed = choose_engine("auto", network, "cpu", dtype="auto")
    assert untimed.dtype == "float32"
    assert "--time" in untimed.reason
    with pytest.raises(NeocogError, match="dtype is one of"):
        choose_engine("auto", network, "cpu", dtype="float16")


def test_a_run_says_which_dtype_auto_was(small, digits, tmp_path):
    assert run(small, digits, tmp_path, dtype="auto").record["settings"]["dtype"] == "float32"


def test_lines_tell_of_every_epoch_on_stderr(small, digits, tmp_path, capsys):
    run(small, digits, tmp_path, progress="lines")
    out, err = capsys.readouterr()
    headline, *lines = err.splitlines()
    assert out == ""
    assert headline.startswith(
        "2,010 parameters, 384 images of mnist, cross-entropy loss, native: machine code for this network"
    )
    assert [line[:9] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "img/s" in lines[0]


def test_silence_is_silent(small, digits, tmp_path, capsys):
    run(small, digits, tmp_path, progress="none")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_are_lines_and_with_one_a_bar(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    assert choose_progress("auto").__class__.__name__ == "Lines"
    stream.isatty = lambda: True
    assert isinstance(choose_progress("auto"), Bar)


def test_a_bar_leaves_the_epochs_lines_behind():
    stream = io.StringIO()
    bar, meter = Bar(stream), Meter()
    meter.add(0.5, 3, 4)
    bar.started("a [b] run", epochs=2, steps=2)
    bar.stepped(1, meter, 1)
    bar.epoch_done(Epoch(1, 1, 0.1, 0.5, 0.75, 0.4, 0.8, "test", 1.5, 4000.0), 2)
    bar.finished()
    assert "a [b] run" in stream.getvalue()
    assert "epoch 1/2  loss 0.5000  train  75.00%  test  80.00%  4,000 img/s  1.5 s" in stream.getvalue()


def test_data_may_be_named(tmp_path):
    with pytest.raises(DataError, match="there is no such data set"):
        train(Network.parse("INPUT[28x28x1] -> FC10"), "nothing-like-it", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_products_in_bfloat16_learn_as_well(engine, digits, tmp_path):
    network = Network.parse("INPUT[28x28x1] -> CONV5-8 -> RELU -> POOL2 -> CONV3-16 -> RELU -> POOL2 -> FC10")
    exact, rounded = (
        run(network, digits, tmp_path, engine=engine, dtype=dtype, out=tmp_path / dtype, epochs=4)
        for dtype in ("float32", "bfloat16")
    )
    assert rounded.record["settings"]["dtype"] == "bfloat16"
    assert abs(rounded.record["test_accuracy"] - exact.record["test_accuracy"]) < 0.05
    assert any((rounded.weights[name] != weight).any() for name, weight in exact.weights.items())
