"""Boxes lie where patterns were planted, pictures show them, and averages of maps classify."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from dense_models import model_of, picture
from PIL import Image

from neocog import Model, NeocogError, Network
from neocog.data import Preprocessing
from neocog.data.dataset import Dataset
from neocog.dense import Averaging, averaged, boxes, score
from neocog.dense.boxes import REGIONS, Found, _touching, suppressed
from neocog.dense.heat import boxes_picture, class_picture, kinds_picture
from neocog.predict import evaluate

CROSS = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], float)
BAR = np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]], float)
CLASSES = ("nothing", "cross", "bar")


@pytest.fixture(scope="module")
def finder() -> Model:
    """A network whose two filters are the patterns: it finds what it was told, and nothing else."""
    network = Network.parse("INPUT[6x6x1] -> AVGPOOL2 -> FC3")
    weight = np.zeros((3, 9), np.float32)
    for k, pattern in ((1, CROSS), (2, BAR)):
        weight[k] = 40 * (pattern - 1.5 * (1 - pattern)).ravel() / pattern.sum()
    bias = np.array([0, -36, -36], np.float32)
    weights = {"fc1.weight": weight, "fc1.bias": bias}
    return Model(network, weights, Preprocessing((6, 6), (6, 6), (0.0,), (1.0,)), CLASSES, "cross-entropy")


def canvas(*planted: tuple[np.ndarray, int, int], size=(40, 60), factor=2) -> np.ndarray:
    made = np.zeros((*size, 1), np.uint8)
    for pattern, top, left in planted:
        large = np.kron(pattern, np.ones((factor, factor)))
        made[top : top + large.shape[0], left : left + large.shape[1], 0] = 255 * large
    return made


def test_boxes_lie_on_the_patterns(finder):
    found = boxes([score(finder, canvas((CROSS, 10, 20), (BAR, 30, 4)))], 0.5, background="nothing")
    assert [(one.name, one.box) for one in found] == [("cross", (20, 10, 26, 16)), ("bar", (4, 30, 10, 36))]
    assert all(one.score > 0.9 and one.scale == 1 for one in found)


def test_at_a_finer_stride_patterns_between_the_networks_own_places_are_found(finder):
    image = canvas((CROSS, 11, 21))
    assert boxes([score(finder, image)], 0.5, background="nothing") == []
    (one,) = boxes([score(finder, image, stride=1)], 0.5, background="nothing")
    assert (one.name, one.box) == ("cross", (21, 11, 27, 17))


def test_a_larger_pattern_is_found_at_a_smaller_scale_and_its_box_is_in_the_images_pixels(finder):
    image = canvas((CROSS, 8, 16), (BAR, 20, 40), factor=4)
    maps = [score(finder, image, scale=scale) for scale in (1.0, 0.5)]
    found = boxes(maps, 0.5, background="nothing")
    assert {(one.name, one.box, one.scale) for one in found if one.score > 0.9} == {
        ("cross", (16, 8, 28, 20), 0.5),
        ("bar", (40, 20, 52, 32), 0.5),
    }


def test_of_boxes_that_overlap_the_best_stays():
    def at(name, score, left):
        return Found(name, score, (left, 0, left + 10, 10), 1.0)

    kept = suppressed([at("a", 0.8, 0), at("a", 0.9, 2), at("b", 0.7, 1), at("b", 0.6, 9)])
    assert [(one.name, one.score) for one in kept] == [("a", 0.9), ("b", 0.6)]
    assert len(suppressed([at("a", 0.8, 0), at("a", 0.9, 2)], overlap=0.9)) == 2


def test_touching_cells_of_a_class_are_one_region(finder):
    image = np.zeros((30, 50, 1), np.uint8)
    for left in (10, 12, 14, 16):  # a row of bars, each in sight of a cell two pixels on
        image[4:20:2, left] = 0
    image[8:14, 12:14] = 255
    image[8:14, 40:42] = 255
    found = boxes([score(finder, image, stride=1)], 0.3, REGIONS, "nothing")
    assert [one.name for one in found] == ["bar", "bar"]
    assert sorted(one.box for one in found)[0][0] < 14 < 40 < sorted(one.box for one in found)[1][2]


def test_cells_that_touch_by_a_corner_are_one_region_and_others_are_not():
    places = [(0, 0), (1, 1), (2, 0), (0, 3), (5, 5), (5, 4)]
    groups = sorted(sorted(group) for group in _touching(places))
    assert groups == [[(0, 0), (1, 1), (2, 0)], [(0, 3)], [(5, 4), (5, 5)]]


def test_names_with_line_breaks_are_drawn_as_text(finder):
    named = replace(finder, classes=("nothing", "a\nb", "\x1b[31m"))
    one = score(named, canvas((CROSS, 10, 20), (BAR, 30, 4)))
    found = boxes([one], 0.5, background="nothing")
    assert [box.name for box in found] == ["a\nb", "\x1b[31m"]
    for content in (class_picture(one, "a\nb"), kinds_picture(one, "nothing"), boxes_picture(one, found)):
        assert Image.open(BytesIO(content)).format == "PNG"


def test_what_boxes_cannot_be_made_of_is_refused(finder):
    maps = [score(finder, canvas())]
    with pytest.raises(NeocogError, match="a threshold is a probability"):
        boxes(maps, 1.5)
    with pytest.raises(NeocogError, match="boxes are made of"):
        boxes(maps, 0.5, "magic")
    with pytest.raises(NeocogError, match="no such class"):
        boxes(maps, 0.5, background="void")
    assert boxes(maps, 0.5, background="nothing") == []


def test_pictures_show_what_was_found_where_it_is(finder):
    image = canvas((CROSS, 10, 20), (BAR, 30, 4))
    one = score(finder, image, stride=1)
    found = boxes([one], 0.5, background="nothing")
    pictures = [class_picture(one, "cross"), kinds_picture(one, "nothing"), boxes_picture(one, found)]
    for content in pictures:
        shown = Image.open(BytesIO(content))
        assert shown.format == "PNG"
        assert shown.size[0] > 480  # 8 times as large
    heat = np.asarray(Image.open(BytesIO(pictures[0])), int)
    middle, elsewhere = heat[16 + 24 + 8 * 13, 16 + 8 * 23], heat[16 + 24 + 8 * 13, 16 + 8 * 45]
    assert middle[0] > 150 > elsewhere[0]  # yellow where it is, dark where it is not
    assert class_picture(one, "cross") == pictures[0]


def test_a_map_larger_than_a_picture_is_shown_by_some_of_its_cells(monkeypatch, finder):
    monkeypatch.setattr("neocog.dense.heat.SIDE", 32)
    one = score(finder, canvas((CROSS, 10, 20), size=(80, 120)), stride=1)
    assert Image.open(BytesIO(kinds_picture(one, "nothing"))).size[0] == 420 + 32


def test_averages_over_one_window_are_classification(finder):  # fact N4
    model = model_of("INPUT[8x8x1] -> CONV3-4(P=0) -> RELU -> POOL2 -> FC3")
    images = np.stack([picture(8, 8, seed=k) for k in range(7)])
    plain = model.scores(model.preprocessing(images))
    assert Averaging.of(model)(images) == pytest.approx(plain, abs=1e-5)
    data = Dataset("made up", "test", images, np.arange(7) % 3, model.classes)
    assert (
        evaluate(model, data, scorer=Averaging.of(model)).confusion.tolist() == evaluate(model, data).confusion.tolist()
    )
    assert evaluate(model, data, scorer=Averaging.of(model)).loss == pytest.approx(evaluate(model, data).loss, abs=1e-6)


@pytest.mark.parametrize("method", ["shift", "dilate"])
def test_averages_are_means_over_windows_and_over_scales(method):  # fact N4
    model = model_of("INPUT[8x8x1] -> CONV3-4(P=0) -> RELU -> POOL2 -> FC3")
    images = np.stack([picture(8, 8, seed=k) for k in range(3)])
    found = Averaging.of(model, (1.0, 1.5), 1, method)(images)
    for image, row in zip(images, found, strict=True):
        maps = [score(model, image, stride=1, scale=scale) for scale in (1.0, 1.5)]
        assert [one.cells for one in maps] == [(1, 1), (5, 5)]
        assert row == pytest.approx(averaged(maps), abs=1e-5)
        assert averaged(maps) == pytest.approx(
            (maps[0].scores[:, 0, 0] + maps[1].scores.reshape(3, -1).mean(axis=1)) / 2, abs=1e-6
        )
