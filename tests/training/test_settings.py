from __future__ import annotations

import math

import pytest

from neocog import NeocogError
from neocog.training.settings import Settings

GOOD = {
    "epochs": 1,
    "batch_size": 64,
    "lr": 0.1,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": None,
    "rates": "bias=2",
    "clip": 0.0,
    "accumulate": 1,
    "augment": "shift=1, flip",
    "sampling": "shuffled",
    "ema": 0.0,
    "init": "he",
    "start": None,
    "whiten": False,
    "loss": "cross-entropy",
    "label_smoothing": 0.0,
    "class_weights": "none",
    "validation": 0,
    "measure_every": 1,
    "patience": 0,
    "tta": "flip, shift=1",
    "target_accuracy": None,
    "dtype": "float32",
    "seed": 0,
}


def test_good_settings_come_back_as_they_were_given():
    assert Settings(**GOOD).as_dict() == GOOD


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("epochs", 0, "epochs is a whole number from 1"),
        ("batch_size", 0, "batch_size is a whole number from 1"),
        ("lr", 0, "lr is a number above 0"),
        ("lr", math.nan, "lr is a number above 0"),
        ("lr", math.inf, "lr is a number above 0"),
        ("momentum", 1.0, "momentum is from 0 up to, not including, 1"),
        ("weight_decay", -0.1, "weight_decay is 0 or more"),
        ("ema", 1.0, "ema is from 0 up to, not including, 1"),
        ("validation", -1, "validation is 0 or more"),
        ("seed", -1, "seed is 0 or more"),
        ("target_accuracy", 99, "try: target_accuracy=0.99 for 99 %"),
        ("target_accuracy", 0, "a fraction above 0 and at most 1"),
        ("optimizer", "adam", "optimizer is one of sgd, momentum, nesterov, adamw, muon"),
        ("schedule", "quadratic", "schedule is one of constant, step, linear, cosine, one-cycle"),
        ("warmup", -0.1, "warmup is a share of the run below 1, or a number of epochs below all of them"),
        ("warmup", 1, "warmup is a share of the run below 1, or a number of epochs below all of them"),
        ("warmup", math.nan, "warmup is a share of the run"),
        ("clip", -1, "clip is the largest norm of a gradient, or 0 for any"),
        ("clip", math.inf, "clip is the largest norm"),
        ("patience", -1, "patience is 0 or more"),
        ("accumulate", 0, "accumulate is a whole number from 1"),
        ("accumulate", 65, "accumulate is at most the images of a mini-batch"),
        ("sampling", "sorted", "sampling is one of shuffled, balanced"),
        ("label_smoothing", 1, "label_smoothing is from 0 up to, not including, 1"),
        ("loss", "mse", "loss is one of cross-entropy"),
    ],
)
def test_an_impossible_setting_is_refused_by_its_name(name, value, says):
    with pytest.raises(NeocogError) as refused:
        Settings(**{**GOOD, name: value})
    assert says in str(refused.value)
    assert f"received: {name}={value}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("rates", "conv1", "rates is none, or of name=factor"),
        ("class_weights", "cat", "class_weights is none, balanced, or of class=weight"),
    ],
)
def test_a_text_that_says_nothing_is_refused(name, value, says):
    with pytest.raises(NeocogError, match=says):
        Settings(**{**GOOD, name: value})


def test_only_cross_entropy_can_be_smoothed():
    Settings(**{**GOOD, "label_smoothing": 0.1})
    with pytest.raises(NeocogError, match="label_smoothing is for the loss cross-entropy"):
        Settings(**{**GOOD, "label_smoothing": 0.1, "loss": "hinge"})
