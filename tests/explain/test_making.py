"""Images that a network is made to answer: their value grows, they stay images, and the steps are those stated."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from explain.conftest import NETS, images_for, model_of
from explain.test_methods import CROSS, detector
from PIL import Image

from neocog.errors import NeocogError
from neocog.explain import ask, class_image, climbing, deep_dream, inversion, maximise, picture
from neocog.explain.climbing import Canvas, Climb, blurred, climb, variation


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Enough to see the value grow."""
    from dataclasses import replace

    for module, names in ((maximise, ["HOW"]), (deep_dream, ["HOW"]), (inversion, ["HOW"])):
        for name in names:
            monkeypatch.setattr(module, name, replace(getattr(module, name), steps=40))
    monkeypatch.setattr(deep_dream, "FRAMES", (0, 5, 20))


@pytest.mark.parametrize("net", NETS)
def test_units_are_more_active_at_the_end_as_saved(net):
    shown = picture(model_of(NETS[net]), "maximise", count=3)
    assert len(shown.document["units"]) >= 3
    for row in shown.document["units"]:
        assert row["value"] >= row["start"]
    assert sum(row["value"] > row["start"] for row in shown.document["units"]) >= 2, "others may be dead"
    assert Image.open(BytesIO(shown.picture())).width > 700


def test_what_a_unit_responds_to_most_is_its_own_pattern():
    model = detector(9, 9, 1, padding=0)
    question = ask(model, [], layers=("conv1",), unit=0)
    canvas = Canvas(question.blank, question.subject.device)
    target = question.subject.units(question.layer(), [0])
    start = canvas.noise(1, (1, 9, 9), 0)
    how = Climb(steps=150, rate=0.05)
    (made,) = climb(question.subject, canvas, start, lambda x, part: question.subject.score(x, target.of(part)), how, 0)
    # the mean over positions is a sum of shifted kernels, whose signs the pixels take
    kernel = torch.from_numpy(np.where(CROSS > 0, 1.0, -1.0).astype(np.float32))
    pull = torch.nn.functional.conv_transpose2d(torch.ones(1, 1, 5, 5), kernel[None, None])
    sure = pull.abs() > 0.5
    assert torch.equal((made > 0.5)[sure], (pull > 0)[sure])


def test_steps_clip_the_image_and_keep_fractions_of_bytes():
    question = ask(detector(9, 9, 1), [], layers=("conv1",))
    canvas = Canvas(question.blank, question.subject.device)
    start = canvas.noise(2, (1, 9, 9), 0)
    frames = climb(question.subject, canvas, start, lambda x, _: 50 * x.flatten(1).sum(1), Climb(30, 0.1), 0, at=(1, 2))
    assert len(frames) == 3
    assert all(float(z.min()) >= 0 and float(z.max()) <= 1 for z in frames)
    assert float(frames[-1].min()) == 1.0, "all as bright as can be"
    assert not torch.allclose(255 * frames[0], (255 * frames[0]).round(), atol=1e-3), "no rounding between steps"
    assert start.max() < 1, "the start is left alone"


def test_bytes_and_numbers_are_those_of_the_model():
    model = model_of(NETS["vgg"])
    images = images_for(model)
    question = ask(model, images)
    canvas = Canvas(question.pixels, question.subject.device)
    np.testing.assert_allclose(canvas.numbers(canvas.of(images)), model.preprocessing(images), atol=1e-5)
    np.testing.assert_array_equal(canvas.bytes(canvas.of(images)), images)
    torch.testing.assert_close(canvas.rounded(canvas.of(images)), canvas.numbers(canvas.of(images)))


def test_blur_and_variation_by_hand():
    z = torch.zeros(1, 1, 9, 9)
    z[0, 0, 4, 4] = 1
    soft = blurred(z, 1.0)
    assert float(soft.sum()) == pytest.approx(1, abs=1e-5)
    assert float(soft[0, 0, 4, 5] / soft[0, 0, 4, 4]) == pytest.approx(np.exp(-0.5), rel=1e-4)
    torch.testing.assert_close(blurred(torch.full((1, 2, 5, 4), 0.3), 2.0), torch.full((1, 2, 5, 4), 0.3))
    assert float(variation(z)) == pytest.approx(4 / 81)


@pytest.mark.parametrize("name", ["class-image", "class-image-plain"])
def test_class_images_are_taken_for_their_class(name):
    shown = picture(model_of(NETS["resnet"]), name)
    assert [row["class"] for row in shown.document["classes"]] == [f"class {k}" for k in range(4)]
    for row in shown.document["classes"]:
        assert row["probability"] > row["start"]


def test_regularised_class_images_are_smoother():
    model = model_of(NETS["resnet"])
    rough = []
    for how in (class_image.PLAIN, class_image.REGULARISED):
        question = ask(model, [])
        canvas, target = Canvas(question.blank, question.subject.device), question.subject.classes([0, 1, 2, 3])

        def value(x, part, target=target, question=question):
            return question.subject.score(x, target.of(part))

        (z,) = climb(question.subject, canvas, canvas.noise(4, (3, 16, 16), 0), value, how, 0)
        rough.append(float(variation(z).mean()))
    assert rough[1] < 0.6 * rough[0]


def test_a_dream_sees_more_at_every_frame():
    model = model_of(NETS["googlenet"])
    shown = picture(model, "deepdream", images_for(model, 2))
    assert [len(strip.panels) for strip in shown.strips] == [4, 4]
    for row in shown.document["images"]:
        assert row["value"] > 1.1 * row["start"]
    unit = picture(model, "deepdream", images_for(model, 1), unit=1, layers=("conv1",))
    assert unit.document["images"][0]["value"] > unit.document["images"][0]["start"]


def test_inversions_match_the_maps_and_early_layers_the_image():
    model = model_of(NETS["lenet"])
    images = images_for(model, 2)
    shown = picture(model, "inversion", images, layers=("input", "relu1", "relu3"))
    errors = {(row["file"], row["layer"]): row["relative_error"] for row in shown.document["inversions"]}
    assert errors["image 1", "input"] < 0.05
    assert all(error < 0.6 for error in errors.values())
    assert [len(strip.panels) for strip in shown.strips] == [4, 4]


def test_layers_to_invert_run_from_the_first_to_the_last(subject):
    chosen = inversion.spread(subject, 4)
    assert chosen == tuple(sorted(set(chosen)))
    assert chosen[-1] == subject.network.nodes[subject.end].inputs[0]
    assert chosen[0] <= 3


def test_images_are_the_same_for_the_same_seed_and_one_at_a_time():
    model = model_of(NETS["vgg"])
    one = model.network.plan(optimizer="sgd").memory["training_bytes"]
    first, again, tight = (
        picture(model, "class-image-plain", count=3, **more).document["classes"]
        for more in ({}, {}, {"memory_limit": one})
    )
    assert first == again
    for a, b in zip(first, tight, strict=True):
        assert a["probability"] == pytest.approx(b["probability"], abs=0.05)
    assert picture(model, "class-image-plain", count=3, seed=1).document["classes"] != first


def test_an_image_is_needed_where_a_method_changes_one():
    with pytest.raises(NeocogError, match="deepdream needs an image"):
        picture(model_of(NETS["vgg"]), "deepdream")
    assert climbing.Climb(1, 0.1).blur == 0
