"""Settings of the loop in whole runs: each one changes what it says, on the engines that have it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neocog import NeocogError, Network, load_data, train, zoo
from neocog.data import Splits
from neocog.initialise import initialise
from neocog.predict import evaluate
from neocog.training.metrics import Epoch, since_best
from neocog.training.run import read_metrics

NORMED = Network.parse("INPUT[28x28x1] -> POOL4 -> CONV3-4 -> BN -> RELU -> FC10")


class Runs:
    """Short runs, each in a folder of its own."""

    def __init__(self, data, folder):
        self.data, self.folder, self.count = data, folder, 0

    def __call__(self, network, data=None, **settings):
        self.count += 1
        self.last = self.folder / str(self.count)
        quick = {"epochs": 1, "batch_size": 32, "progress": "none", "device": "cpu", "out": self.last}
        return train(network, data or self.data, **{**quick, **settings})

    def steps(self, of):
        """A number of every logged step of the last run."""
        return [line[of] for line in read_metrics(self.last) if line["kind"] == "steps"]


@pytest.fixture
def run(digits, tmp_path):
    return Runs(digits, tmp_path)


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_smoothed_labels_are_learned_from_and_plain_ones_measured(engine, small, run):
    run(small, engine=engine)
    plain = run.steps("loss")
    model = run(small, engine=engine, label_smoothing=0.5)
    smoothed = run.steps("loss")
    start = initialise(small, 0)
    assert smoothed[0] != plain[0]
    assert smoothed[-1] > plain[-1]
    assert any((model.weights[name] != array).any() for name, array in start.items())
    scores = model.scores(model.preprocessing(run.data.test.images)).astype(float)
    right = scores[np.arange(len(scores)), run.data.test.labels]
    expected = (np.log(np.exp(scores).sum(axis=1)) - right).mean()
    np.testing.assert_allclose(model.record["test_loss"], expected, rtol=1e-5)


def test_a_warm_up_comes_before_any_schedule(small, run):
    run(small, epochs=4, lr=0.04, schedule="linear", warmup=1)
    rates = run.steps("lr")
    assert len(rates) == 48
    np.testing.assert_allclose(rates[:12], 0.04 * (0.04 + 0.96 * np.arange(12) / 12))
    np.testing.assert_allclose(rates[12:], 0.04 * (1 - np.arange(36) / 36))


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_frozen_arrays_stay_as_they_were(engine, small, run):
    found = run(small, engine=engine, rates="conv1=0").weights
    for name, array in initialise(small, 0).items():
        assert (found[name] == array).all() == name.startswith("conv1."), name


def test_a_frozen_normalization_goes_to_torch_which_keeps_its_statistics(run):
    model = run(NORMED, rates="conv1=0, bn1=0")
    assert model.record["reason"] == "torch on cpu: native has no frozen BN"
    np.testing.assert_array_equal(model.weights["bn1.running_var"], initialise(NORMED)["bn1.running_var"])


@pytest.mark.parametrize(
    ("network", "settings", "lacks"),
    [
        ("INPUT[28x28x1] -> FC10", {"clip": 1.0}, "no clipping of gradients"),
        ("INPUT[28x28x1] -> FC10", {"class_weights": "balanced"}, "no class weights"),
        (str(NORMED), {"accumulate": 2}, "no BN over parts of a mini-batch"),
        (str(NORMED), {"rates": "bn1=0"}, "no frozen BN"),
    ],
)
def test_what_native_lacks_is_said_and_auto_takes_torch(network, settings, lacks, run):
    with pytest.raises(NeocogError, match=f"the native engine cannot train this\n  received: {lacks}"):
        run(Network.parse(network), engine="native", **settings)
    assert run(Network.parse(network), **settings).record["engine"] == "torch"


def test_accumulated_gradients_are_those_of_the_whole_batch(small, run):
    """Native needs no parts: it goes through a batch block by block anyway."""
    whole, parts, native = (
        run(small, engine=engine, accumulate=n).weights for engine, n in (("torch", 1), ("torch", 4), ("native", 4))
    )
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(native[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_part_of_a_batch_must_be_large_enough_for_a_normalization(run):
    network = Network.parse("INPUT[28x28x1] -> FC9 -> BN -> FC10")
    with pytest.raises(NeocogError, match="received: part of a mini-batch of one image"):
        run(network, accumulate=32)


def few_of_most(data):
    """The digits 0 and 1, but only every twentieth 1."""

    def rare(dataset, every):
        zero, one = (np.flatnonzero(dataset.labels == k) for k in (0, 1))
        ids = np.concatenate([zero, one[::every]])
        return replace(dataset, images=dataset.images[ids], labels=dataset.labels[ids], classes=("zero", "one"))

    return Splits(rare(data.train, 20), rare(data.test, 1))


@pytest.mark.parametrize("how", [{"class_weights": "balanced"}, {"sampling": "balanced"}, {"class_weights": "one=20"}])
def test_a_rare_class_counts_more_if_it_is_asked_for(how, run):
    network, data = Network.parse("INPUT[28x28x1] -> POOL4 -> FC2"), few_of_most(run.data)
    assert np.bincount(data.train.labels)[1] <= 3

    def found(**settings):
        model = run(network, data, engine="torch", optimizer="sgd", lr=0.01, batch_size=8, **settings)
        ones = data.test.images[data.test.labels == 1]
        scores = model.scores(model.preprocessing(ones))
        return (scores[:, 1] - scores[:, 0]).mean()

    assert found(**how) > found() + 0.3


def test_a_gradient_no_longer_than_allowed_lets_large_rates_pass(small, run):
    with pytest.raises(NeocogError, match="not finite"):
        run(small, engine="torch", lr=1e20, schedule="constant", optimizer="sgd")
    run(small, engine="torch", lr=1e20, schedule="constant", optimizer="sgd", clip=1e-21, weight_decay=0)
    assert np.isfinite(run.steps("loss")).all()


@pytest.mark.parametrize("changes", ["edge=reflect, shift=2", "erase=6, contrast=0.2", "mixup=0.3", "cutmix=1, flip"])
def test_changes_beyond_moves_go_to_torch_and_decide_the_run(changes, small, run):
    first, again = (run(small, augment=changes) for _ in range(2))
    assert first.record["reason"].startswith("torch on cpu: native has no ")
    plain = run(small, engine="torch")
    assert all((first.weights[name] == again.weights[name]).all() for name in first.weights)
    assert any((first.weights[name] != plain.weights[name]).any() for name in first.weights)


def test_mixed_images_are_learned_from(small, run):
    model = run(small, epochs=6, lr=0.05, augment="mixup=0.2, shift=1")
    assert model.record["test_accuracy"] > 0.7


def test_alternating_flips_and_balanced_sampling_are_for_every_engine(small, run):
    model = run(small, engine="native", augment="flip=alternating", sampling="balanced", schedule="linear", warmup=0.1)
    assert model.record["engine"] == "native"


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_the_last_measurement_may_be_by_several_views_beside_the_plain_one(engine, small, run):
    model = run(small, engine=engine, tta="shift=2")
    for tta, name in (("none", "test"), ("shift=2", "tta")):
        found = evaluate(model, run.data.test, tta)
        assert model.record[f"{name}_accuracy"] == pytest.approx(found.top1)
        assert model.record[f"{name}_loss"] == pytest.approx(found.loss, rel=1e-4)
    assert model.record["tta_loss"] != model.record["test_loss"]


def epoch(number, accuracy, loss):
    return Epoch(number, number, 0.1, 0.5, 0.75, loss, accuracy, "validation", 1.5, 4000.0)


def test_the_best_epoch_is_the_first_of_the_most_accurate_with_the_smallest_loss():
    measured = [epoch(1, 0.5, 2.0), epoch(2, 0.7, 1.0), epoch(3, 0.7, 1.0), epoch(4, 0.6, 0.5)]
    assert [since_best(measured[:n]) for n in range(1, 5)] == [0, 0, 1, 2]
    assert since_best([*measured, epoch(6, 0.7, 0.9)]) == 0
    assert since_best([*measured, epoch(6, 0.7, 1.1)]) == 4


def test_a_run_ends_after_so_many_epochs_without_a_better_one(small, run):
    model = run(small, epochs=30, lr=1e-12, validation=84, patience=2, schedule="constant", engine="torch")
    assert model.record["epochs"] == 3
    with pytest.raises(NeocogError, match=r"test images have no part in training\n.*patience=2\n.*validation=64"):
        run(small, patience=2)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-relu"])
def test_networks_of_the_zoo_learn_digits_with_the_settings_that_runs_have_by_themselves(name, run):
    whole = load_data("mnist")
    parts = [
        replace(part, images=part.images[:n], labels=part.labels[:n])
        for part, n in zip((whole.train, whole.test), (6000, 1000), strict=True)
    ]
    model = run(zoo(name), Splits(*parts), epochs=2, batch_size=64)
    assert model.record["test_accuracy"] > 0.9
