from __future__ import annotations

import re

import numpy as np
import pytest

from neocog.report.comparison import FIGURES, Run, contest, differences, render_comparison, verdict

RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 3, 1000)
WRONG = (LABELS + 1) % 3


def answers(wrong):
    said = LABELS.copy()
    said[wrong] = WRONG[wrong]
    return np.stack([LABELS, said]).astype(np.uint8)


def run(name, wrong, answered=True, fingerprint="f00", **settings):
    found = answers(wrong)
    right = float(np.equal(*found).mean())
    record = {
        "network": "INPUT[8x8x1] -> FC3",
        "settings": {"epochs": 2, "lr": 0.1, **settings},
        "data": {"name": "marks", "test_fingerprint": fingerprint},
        "engine": "native",
        "device": "cpu",
        "threads": 2,
        "versions": {"neocog": "0.1.0"},
        "test_accuracy": right,
        "test_loss": 0.25,
        "test_images": 1000,
        "epochs": 2,
        "seconds": 61.0,
        "images_per_second": 5000.0,
    }
    metrics = [
        {"kind": "steps", "step": 1, "lr": 0.1, "loss": 2.0},
        {"kind": "epoch", "epoch": 1, "train_loss": 1.5, "loss": 0.0, "accuracy": right, "lr": 0.1, "seconds": 30.0},
        {"kind": "epoch", "epoch": 2, "train_loss": 0.5, "loss": 0.2, "accuracy": 0.1, "lr": 0.0, "seconds": 29.0},
    ]
    return Run(name, record, metrics, found if answered else None)


BASE = run("base", slice(0, 60))
SAME = run("same <i>", slice(2, 64), lr=0.2)
BETTER = run("better", slice(0, 30), epochs=3)


def test_only_settings_that_are_not_the_same_in_all_are_listed():
    assert differences([BASE, SAME, BETTER]) == [("epochs", [2, 2, 3]), ("lr", [0.1, 0.2, 0.1])]
    assert differences([BASE, BASE]) == []


def test_a_setting_that_one_run_does_not_know_is_a_difference():
    assert differences([BASE, run("new", slice(0, 60), ema=0.0)]) == [("ema", [None, 0.0])]


def test_runs_on_the_same_images_are_compared_image_by_image():
    found = contest(BASE, SAME)
    assert (found.only_first, found.only_second, found.decided) == (4, 2, False)
    assert contest(BASE, BETTER).only_second == 30
    assert contest(BASE, BETTER).p == pytest.approx(2 * 0.5**30)


@pytest.mark.parametrize("other", [run("b", slice(0, 30), answered=False), run("b", slice(0, 30), fingerprint="e11")])
def test_runs_on_other_images_are_compared_by_counts(other):
    found = contest(BASE, other)
    assert found.p is None
    assert found.difference == pytest.approx(0.03)
    assert "on different images" in verdict(BASE, other)


def test_verdicts_say_how_much_and_whether_by_more_than_chance():
    assert verdict(BASE, SAME) == (
        "same <i> against base: -0.20 points (-0.75 to +0.35), alone right on 2 images, base on 4, p = 0.69: "
        "chance would do as well"
    )
    assert verdict(BASE, BETTER).endswith("p = 1.9e-09: better, and more than chance explains")
    assert verdict(BETTER, BASE).endswith("worse, and more than chance explains")


def test_figures_are_of_the_run_and_its_best_epoch():
    figures = dict(zip(FIGURES, BASE.figures(), strict=True))
    assert figures["test accuracy"] == "94.00%"
    assert figures["wrong"] == "60 of 1,000"
    assert figures["best epoch"] == "1 (94.00%)"
    assert figures["time"] == "61 s"


def test_the_page_shows_every_run_in_every_curve():
    page = render_comparison([BASE, SAME, BETTER])
    assert page.count("<svg") == 5
    assert page.count("<polyline") == 5 * 3
    assert "<i>" not in page.replace('<i class="swatch', "")
    assert page.count("same &lt;i&gt;") > 5
    assert re.search(r"<th>lr</th>.*?0\.1<.*?0\.2<.*?0\.1<", page)
    assert "chance would do as well." in page


def test_the_page_of_equal_settings_says_so():
    assert "The same in all." in render_comparison([BASE, BASE])


def test_seven_runs_share_six_colours():
    page = render_comparison([run(f"run {k}", slice(0, 10 + k)) for k in range(7)])
    assert 'class="line s5"' in page
    assert "s6" not in page
