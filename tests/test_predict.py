from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from neocog import DataError, Model, Network
from neocog.data import Dataset, Preprocessing, load_data
from neocog.initialise import initialise
from neocog.losses import LOSSES
from neocog.predict import evaluate, predict
from neocog.predict.classify import BATCH, posterior
from neocog.views import Views


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def digits(count: int, split: str = "test") -> Dataset:
    whole = getattr(load_data("mnist"), split)
    return replace(whole, images=whole.images[:count], labels=whole.labels[:count])


def made(text: str, data: Dataset, loss: str = "cross-entropy") -> Model:
    network = Network.parse(text)
    preprocessing = Preprocessing.learn(data, network.input_shape)
    return Model(network, initialise(network, 0, "he"), preprocessing, data.classes, loss)


@pytest.fixture(scope="module")
def model() -> Model:
    """A network that nobody trained has opinions too."""
    return made("INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10", digits(500, "train"))


@pytest.mark.parametrize("loss", ["cross-entropy", "sigmoid", "squared", "hinge", "map"])
def test_probabilities_are_the_losses_posterior_of_the_scores(model, loss):  # fact A6
    images = digits(20).images
    changed = replace(model, loss=loss)
    rows = posterior(changed, images)
    assert rows.shape == (20, 10)
    assert (rows >= 0).all()
    assert rows.sum(axis=1) == pytest.approx(np.ones(20), abs=1e-12)
    scores = changed.scores(changed.preprocessing(images))
    assert np.array_equal(rows, LOSSES[loss].posterior(scores.astype(np.float64)))


def test_softmax_of_the_scores_is_the_posterior(model):  # fact A6
    images = digits(20).images
    scores = model.scores(model.preprocessing(images)).astype(np.float64)
    powers = np.exp(scores)
    assert posterior(model, images) == pytest.approx(powers / powers.sum(axis=1, keepdims=True), rel=1e-9)


def test_one_output_gives_two_classes():
    train = digits(200, "train")
    pair = replace(train, labels=train.labels % 2, classes=("even", "odd"))
    (found,) = predict(made("INPUT[28x28x1] -> POOL4 -> FC1", pair, "sigmoid"), pair.images[0])
    assert {name for name, _ in found.classes} == {"even", "odd"}
    assert sum(p for _, p in found.classes) == pytest.approx(1)


def test_classes_come_best_first(model):
    image = digits(1).images[0]
    (found,) = predict(model, image, top=10)
    probabilities = [p for _, p in found.classes]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert sorted(name for name, _ in found.classes) == list(model.classes)
    row = posterior(model, image[None])[0]
    assert found.classes == tuple((str(k), pytest.approx(row[k])) for k in np.argsort(-row))
    assert found.best == str(row.argmax())


@pytest.mark.parametrize(("top", "given"), [(1, 1), (3, 3), (10, 10), (99, 10)])
def test_as_many_classes_are_given_as_asked_for(model, top, given):
    (found,) = predict(model, digits(1).images[0], top=top)
    assert len(found.classes) == given


def test_arrays_and_files_give_the_same(model, tmp_path):
    image = digits(1).images[0]
    path = tmp_path / "seven.png"
    Image.fromarray(image[..., 0]).save(path)
    colour = np.repeat(image, 3, axis=2)
    from_arrays = [predict(model, given)[0] for given in (image, image[..., 0], [image])]
    from_files = [predict(model, given)[0] for given in (path, str(path), [path])]
    assert len({found.classes for found in from_arrays + from_files}) == 1
    assert {found.source for found in from_arrays} == {"image 1"}
    assert {found.source for found in from_files} == {str(path)}
    assert predict(model, colour)[0].best == from_files[0].best


def test_a_prediction_as_json_is_plain_values(model, tmp_path):
    path = tmp_path / "seven.png"
    Image.fromarray(255 - digits(1).images[0, ..., 0]).save(path)
    (found,) = predict(model, path, top=2)
    written = json.loads(json.dumps(found.as_json()))
    assert written == {
        "file": str(path),
        "class": found.best,
        "top": [{"class": name, "probability": p} for name, p in found.classes],
        "notes": ["inverted", "cropped to its strokes and centred in 28x28"],
    }


def test_many_images_give_what_each_gives_alone(model):
    images = list(digits(2 * BATCH + 3).images)
    together = predict(model, images, top=10)
    assert [found.source for found in together] == [f"image {k + 1}" for k in range(len(images))]
    for k in (0, 1, BATCH - 1, BATCH, 2 * BATCH + 2):
        (alone,) = predict(model, images[k], top=10)
        assert dict(together[k].classes) == pytest.approx(dict(alone.classes), abs=1e-6)


def test_one_array_of_many_images_is_many_images(model):
    images = digits(3).images
    assert predict(model, images) == predict(model, list(images))
    assert predict(model, images[..., 0]) == predict(model, list(images))
    with pytest.raises(DataError, match=r"uint8 \(28, 28, 4\)"):
        predict(model, np.zeros((28, 28, 4), np.uint8))


def test_nothing_gives_nothing(model):
    assert predict(model, []) == []


def test_a_model_predicts_through_its_own_method(model):
    image = digits(1).images[0]
    assert model.predict(image, top=3) == predict(model, image, top=3)


@pytest.mark.parametrize("top", [0, -1])
def test_less_than_one_class_cannot_be_asked_for(model, top):
    with pytest.raises(DataError) as caught:
        predict(model, "nothing.png", top=top)
    assert str(caught.value) == f"top is how many classes to give, from 1\n  received: top={top}"


@pytest.mark.parametrize(
    ("source", "received"),
    [
        (np.zeros((28, 28)), "float64 (28, 28)"),
        (np.zeros(28, np.uint8), "uint8 (28,)"),
        (np.zeros((2, 28, 28, 1), np.uint8), "uint8 (2, 28, 28, 1)"),
        (np.zeros((28, 28, 4), np.uint8), "uint8 (28, 28, 4)"),
        (np.zeros((0, 28), np.uint8), "uint8 (0, 28)"),
        (7, "int64 ()"),
    ],
)
def test_what_is_no_image_is_refused(model, source, received):
    with pytest.raises(DataError) as caught:
        predict(model, [digits(1).images[0], source])
    assert str(caught.value) == (
        f"image 2: an image is bytes of shape (H, W), (H, W, 1) or (H, W, 3)\n  received: {received}"
    )


def test_an_empty_picture_is_named(model, tmp_path):
    path = tmp_path / "blank.png"
    Image.new("L", (50, 40), 255).save(path)
    with pytest.raises(DataError, match=r"^\S+blank\.png: nothing stands out from the ground\n"):
        predict(model, [digits(1).images[0], path])


def test_a_network_that_gives_a_map_has_no_classes():
    data = replace(digits(50), classes=tuple("0123456789"))
    with pytest.raises(DataError) as caught:
        predict(made("INPUT[28x28x1] -> POOL4 -> CONV3-10", data), data.images[0])
    message = "classes need one score each, and the network gives a map of them\n  received: 7x7x10\n  try: --dense"
    assert str(caught.value) == message


def test_a_file_that_is_missing_is_named(model, tmp_path):
    with pytest.raises(DataError) as caught:
        predict(model, tmp_path / "none.png")
    assert str(caught.value) == f"{tmp_path / 'none.png'}: there is no such file"


def test_the_confusion_matrix_counts_each_image_once(model):
    data = digits(1203)
    found = evaluate(model, data)
    naive, right, near = np.zeros((10, 10), int), 0, 0
    for image, label in zip(data.images, data.labels, strict=True):
        row = posterior(model, image[None])[0]
        order = sorted(range(10), key=lambda k: -row[k])
        naive[label, order[0]] += 1
        right += order[0] == label
        near += label in order[:5]
    assert np.array_equal(found.confusion, naive)
    assert found.count == 1203
    assert found.top1 == right / 1203
    assert found.top5 == near / 1203
    scores = model.scores(model.preprocessing(data.images)).astype(np.float64)
    assert found.loss == pytest.approx(LOSSES[model.loss].value(scores, data.labels), rel=1e-5)
    assert found.calibration.nll == pytest.approx(found.loss, rel=1e-5)  # which is the cross-entropy of one label
    assert 0 < found.calibration.ece < 0.5


def test_each_class_has_its_recall_and_precision(model):
    whole = digits(300)
    chosen = whole.labels != 4
    found = evaluate(model, replace(whole, images=whole.images[chosen], labels=whole.labels[chosen]))
    for k, entry in enumerate(found.per_class()):
        true, said = found.confusion[k].sum(), found.confusion[:, k].sum()
        assert entry == {
            "class": str(k),
            "images": true,
            "recall": found.confusion[k, k] / true if true else None,
            "precision": found.confusion[k, k] / said if said else None,
            "f1": 2 * found.confusion[k, k] / (true + said) if true + said else None,
        }
    assert found.per_class()[4]["recall"] is None


def test_an_evaluation_as_json_is_plain_values(model):
    found = evaluate(model, digits(100))
    written = json.loads(json.dumps(found.as_json()))
    assert written["data"] == "mnist"
    assert written["images"] == 100
    assert written["top1"] == found.top1
    assert written["interval"][0] < found.top1 < written["interval"][1]
    assert written["confusion"] == found.confusion.tolist()
    assert [entry["class"] for entry in written["per_class"]] == list("0123456789")


def test_images_of_another_size_are_refused(model):
    whole = digits(10)
    with pytest.raises(DataError) as caught:
        evaluate(model, replace(whole, images=whole.images[:, 2:, 4:]))
    assert str(caught.value) == "mnist: the model was made for images of 28x28x1\n  received: images of 26x24x1"


def test_images_of_other_channels_are_refused(model):
    whole = digits(10)
    with pytest.raises(DataError, match=r"images of 28x28x1\n  received: images of 28x28x3"):
        evaluate(model, replace(whole, images=np.repeat(whole.images, 3, axis=3)))


def test_other_classes_are_refused(model):
    other = replace(digits(10), classes=tuple("abcdefghij"))
    with pytest.raises(DataError) as caught:
        evaluate(model, other)
    assert str(caught.value) == (
        "mnist: the data's classes are not the model's\n"
        "  received: a, b, c, d, e, f, g, h, i, j\n"
        "  try: data with the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )


def test_views_are_averaged_for_predictions_and_evaluations_alike(model):
    data = digits(60)
    plain, seen = (evaluate(model, data, tta) for tta in ("none", "flip, shift=1"))
    assert (plain.confusion != seen.confusion).any()
    views = Views.parse("flip, shift=1")
    expected = posterior(model, data.images, views)
    assert np.trace(seen.confusion) == (expected.argmax(axis=1) == data.labels).sum()
    (found,) = predict(model, data.images[0], 1, "flip, shift=1")
    assert found.classes[0][1] == pytest.approx(expected[0].max(), rel=1e-5)
