"""On a network that has learned digits: maps depend on what it learned, and find what counts."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import load_data, train, zoo
from neocog.data import Splits
from neocog.explain import BY_NAME, METHODS, Attribution, ask, integrated_gradients, picture
from neocog.explain.evidence import faithfulness, likeness
from neocog.explain.explaining import randomised_maps
from neocog.explain.features import features, probe, standardised
from neocog.explain.method import Asked

ATTRIBUTIONS = [method for method in METHODS if isinstance(method, Attribution)]


@pytest.fixture(scope="module")
def digits():
    data = load_data("mnist")
    return Splits(data.train.subset(np.arange(6000)), data.test.subset(np.arange(1000)))


@pytest.fixture(scope="module")
def model(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "digits"
    return train(zoo("lenet5-relu"), digits, epochs=3, out=out, progress="none", device="cpu")


@pytest.fixture(autouse=True, scope="module")
def fewer_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integrated_gradients, "MOST_STEPS", 64)
        yield


@pytest.fixture(scope="module")
def question(model, digits):
    return ask(model, np.asarray(digits.test.images[:24]))


@pytest.fixture(scope="module")
def maps(question):
    asked = Asked(question.class_target())
    return {
        method.name: method.attribute(question.subject, question.x, asked).maps(signed=method.signed)
        for method in ATTRIBUTIONS
    }


@pytest.mark.parametrize("method", ATTRIBUTIONS, ids=lambda method: method.name)
def test_random_weights_change_the_map_of_what_is_no_edge_detector(method, question, maps):
    other = randomised_maps(question, method, Asked(question.class_target()), question.x)
    alike = np.mean([likeness(one, two) for one, two in zip(maps[method.name], other, strict=True)])
    assert alike < (1 if method.edges else 0.7), alike


@pytest.mark.parametrize(
    "name", ["integrated-gradients", "input-x-gradient", "occlusion", "lrp", "grad-cam", "smoothgrad"]
)
def test_maps_lead_random_maps(name, question, maps):
    target, leads = question.class_target(), []
    for k in range(24):
        one = slice(k, k + 1)
        leads.append(faithfulness(question.subject, question.x[one], target.of(one), maps[name][k], seed=k).lead)
    assert np.mean(leads) - 1.96 * np.std(leads, ddof=1) / len(leads) ** 0.5 > 0, leads


@pytest.mark.slow
def test_deeper_layers_are_more_separable(model, digits, question):
    names = ("input", "relu1", "relu3", "relu4")
    positions = tuple(question.subject.position(name) for name in names)
    found = features(question, digits.test, positions)
    train_ = np.arange(1000) % 2 == 0
    right = [
        float((probe(standardised(found[k]), digits.test.labels, train_) == digits.test.labels)[~train_].mean())
        for k in positions
    ]
    assert right[0] < right[2] - 0.03, right
    assert right[-1] > 0.93, right


def test_class_images_are_certain_as_saved(model):
    for row in picture(model, "class-image-plain").document["classes"]:
        assert row["probability"] > 0.99
    mild = picture(model, "class-image").document["classes"]
    assert np.mean([row["moved"] for row in mild]) > 0.9, "what is smooth outlasts a move by a pixel"


def test_wrong_labels_among_digits_are_found(model, digits):
    from dataclasses import replace

    rng = np.random.default_rng(0)
    labels = digits.test.labels.copy()
    wrong = rng.choice(400, 8, replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 10, 8)) % 10
    data = replace(digits.test, labels=labels).subset(np.arange(400))
    shown = picture(model, "atlas", data=data, count=400)
    suspects = [row["image"] for row in shown.document["suspects"][:10]]
    assert len(set(suspects) & set(wrong.tolist())) >= 7


def test_methods_known_for_it_are_marked():
    assert {method.name for method in ATTRIBUTIONS if method.edges} == {
        *("guided-backprop", "deconvnet", "input-x-guided", "smoothgrad-guided", "guided-grad-cam", "eigen-cam"),
        "grad-cam++",
    }
    assert BY_NAME["grad-cam"].layer == "reads"
