"""Methods that look at a data set: layers by layer, and labels in doubt."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from explain.conftest import NETS, images_for, model_of
from PIL import Image

from neocog.data import Dataset
from neocog.errors import NeocogError
from neocog.explain import ask, picture
from neocog.explain.atlas import doubts
from neocog.explain.embedding import COLOURS, scatter
from neocog.explain.features import MOST, features, neighbour_map, principal, probe, standardised


def dataset_of(model, count=60):
    images = images_for(model, count)
    labels = np.arange(count) % 4
    for n in range(count):  # each class has a corner of its own
        i, j = divmod(int(labels[n]), 2)
        images[n, 8 * i : 8 * i + 5, 8 * j : 8 * j + 5] = 255
    return Dataset("corners", "test", images, labels, model.classes)


@pytest.fixture(scope="module")
def model():
    return model_of(NETS["resnet"])


@pytest.fixture(scope="module")
def data(model):
    return dataset_of(model)


def test_rows_are_the_volumes_flattened_or_averaged_over_the_smallest_squares(model, data):
    question = ask(model, [], data=data)
    found = features(question, data, (0, question.subject.position("relu1"), question.subject.position("gap1")))
    assert {k: rows.shape[1] for k, rows in found.items()} == {0: 768, 3: 6 * 64, question.subject.position("gap1"): 8}
    assert max(rows.shape[1] for rows in found.values()) <= MOST
    np.testing.assert_allclose(found[0], model.preprocessing(np.asarray(data.images)).reshape(60, -1), rtol=1e-5)
    volume = model.module().run(question.subject.tensor(model.preprocessing(np.asarray(data.images[:2]))))[3]
    mean = volume.detach().reshape(2, 6, 8, 2, 8, 2).mean((3, 5)).reshape(2, -1)
    np.testing.assert_allclose(found[3][:2], mean, rtol=1e-4, atol=1e-5)


def test_components_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((80, 5)) * [5, 2, 0.1, 0.1, 0.1]).astype(np.float32)
    places = principal(rows)
    values = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(places.var(axis=0, ddof=1), values[:2], rtol=1e-4)
    assert abs(np.corrcoef(places.T)[0, 1]) < 1e-5
    assert principal(rows[:, :1]).shape == (80, 2)


def test_a_probe_finds_what_a_plane_separates_and_nothing_else():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((400, 6)).astype(np.float32)
    train = np.arange(400) % 2 == 0
    plane = (rows[:, 0] + rows[:, 1] > 0).astype(np.int64)
    tangled = (rows[:, 0] * rows[:, 1] > 0).astype(np.int64)
    assert (probe(rows, plane, train) == plane)[~train].mean() > 0.95
    assert (probe(rows, tangled, train) == tangled)[~train].mean() < 0.65


def test_standardised_columns_have_deviation_one():
    rows = np.random.default_rng(0).normal(3, 7, (50, 4)).astype(np.float32)
    rows[:, 2] = 5
    scaled = standardised(rows)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 1, 0, 1], rtol=1e-4)


def test_neighbours_stay_neighbours_in_the_plane_and_the_seed_decides():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    rows = (10 * np.eye(3)[labels] + rng.standard_normal((90, 3))).astype(np.float32)
    places = neighbour_map(rows, 0)
    np.testing.assert_array_equal(places, neighbour_map(rows, 0))
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag(np.full(90, np.inf))
    assert (labels[distance.argmin(axis=1)] == labels).mean() > 0.97


def test_wrong_labels_are_the_most_doubtful():
    rng = np.random.default_rng(0)
    true = np.arange(200) % 4
    rows = (6 * np.eye(4)[true] + rng.standard_normal((200, 4))).astype(np.float32)
    labels = true.copy()
    wrong = rng.choice(200, 10, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 4
    probabilities = 0.9 * np.eye(4)[true] + 0.025
    found = doubts(rows, labels, probabilities)
    assert set(found.order()[:10].tolist()) == set(wrong.tolist())
    assert found.neighbours.shape == (200, 10)
    assert not (found.neighbours == np.arange(200)[:, None]).any(), "none is its own neighbour"


@pytest.mark.parametrize("name", ["embedding", "embedding-tsne"])
def test_each_layer_has_a_plot_and_a_probe(model, data, name):
    shown = picture(model, name, data=data, layers=("input", "gap1"), count=40)
    assert [row["layer"] for row in shown.document["layers"]] == ["input", "gap1"]
    for row in shown.document["layers"]:
        assert row["interval"][0] <= row["probe_accuracy"] <= row["interval"][1]
        assert len(row["places"]) == 40
    assert shown.document["layers"][0]["probe_accuracy"] == 1, "corners are separable as they are"
    assert Image.open(BytesIO(shown.picture())).width > 600


def test_dots_have_the_colours_of_their_classes():
    places = np.array([[0, 0], [1, 1], [0, 1]], np.float32)
    plot = scatter(places, np.array([0, 1, 11]))
    found = {tuple(colour) for colour in plot.reshape(-1, 3).tolist()}
    assert {tuple(bytes.fromhex(COLOURS[k][1:])) for k in (0, 1)} <= found


def test_the_atlas_names_its_suspects(model, data):
    shown = picture(model, "atlas", data=data, count=50)
    assert shown.document["layer"] == "gap1"
    assert {"image", "label", "said", "doubt", "neighbours"} == set(shown.document["suspects"][0])
    assert Image.open(BytesIO(shown.picture())).height > 960


def test_a_data_set_is_needed_and_must_fit(model, data):
    for name in ("patches", "embedding", "atlas"):
        with pytest.raises(NeocogError, match="this method needs a data set"):
            picture(model, name)
    with pytest.raises(NeocogError, match="the model was made for images of 16x24x3\n  received: 16x16x3"):
        picture(model_of(NETS["vgg"]), "patches", data=data)


def test_too_few_images_or_classes_are_refused(model, data):
    for name in ("embedding", "embedding-tsne", "atlas"):
        with pytest.raises(NeocogError, match="this method needs 20 images or more\n  received: 5 of corners"):
            picture(model, name, data=data, count=5)
    with pytest.raises(NeocogError, match="a linear probe needs images of two classes or more"):
        probe(np.zeros((4, 2), np.float32), np.zeros(4, int), np.ones(4, bool))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(NeocogError, match="this method needs scikit-learn\n  try: pip install 'neocog"):
        probe(np.zeros((4, 2), np.float32), np.arange(4), np.ones(4, bool))
