from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from neocog import DataError, ModelFileError
from neocog.data import Dataset, Preprocessing, load_data
from neocog.data.preprocessing import COLOURED, GREYED
from neocog.layer import Shape


def dataset(images: np.ndarray) -> Dataset:
    return Dataset("set", "train", images, np.zeros(len(images), np.int64), ("a", "b"))


def colour(height: int, width: int, count: int = 20) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def digits() -> Preprocessing:
    return Preprocessing.learn(load_data("mnist").train, Shape((32, 32), 1))


def test_mean_and_deviation_of_mnist_are_the_known_ones(digits):
    assert digits.mean == pytest.approx((0.1307,), abs=5e-5)
    assert digits.std == pytest.approx((0.3081,), abs=5e-5)
    assert (digits.size, digits.source, digits.channels) == ((32, 32), (28, 28), 1)
    assert digits.glyph is not None
    assert (digits.glyph.frame, digits.glyph.ground, digits.glyph.box) == ((28, 28), 0, 20)


def test_mean_and_deviation_are_of_each_channel():
    images = colour(9, 7)
    made = Preprocessing.learn(dataset(images), Shape((9, 7), 3))
    scaled = images.reshape(-1, 3) / 255.0
    assert made.mean == pytest.approx(scaled.mean(axis=0), abs=1e-6)
    assert made.std == pytest.approx(scaled.std(axis=0), abs=1e-6)
    assert made.glyph is None


@pytest.mark.parametrize("value", [0, 77, 255])
def test_images_of_one_value_have_a_small_deviation_and_not_none(value):
    made = Preprocessing.learn(dataset(np.full((5, 9, 9, 1), value, np.uint8)), Shape((9, 9), 1))
    assert made.std == (0.001,)
    assert np.isfinite(made(np.full((1, 9, 9, 1), value, np.uint8))).all()


def test_training_images_come_out_with_mean_0_and_deviation_1():
    images = colour(9, 7)
    x = Preprocessing.learn(dataset(images), Shape((9, 7), 3))(images)
    assert x.dtype == np.float32
    assert x.shape == (20, 3, 9, 7)
    assert x.mean(axis=(0, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-4)
    assert x.std(axis=(0, 2, 3)) == pytest.approx([1, 1, 1], abs=1e-4)


def test_every_byte_becomes_what_the_formula_says():
    bytes_ = np.arange(256, dtype=np.uint8)
    images = np.stack([bytes_, bytes_[::-1], bytes_], axis=1).reshape(1, 16, 16, 3)
    made = Preprocessing((16, 16), (16, 16), (0.5, 0.25, 0.1), (0.2, 0.3, 1.0))
    expected = (images / 255.0 - np.array(made.mean)) / np.array(made.std)
    assert made(images) == pytest.approx(expected.transpose(0, 3, 1, 2), abs=1e-6)


def test_digits_stand_in_the_middle_of_32_by_32_on_their_ground(digits):  # fact L: LeNet-5's input
    images = load_data("mnist").test.images[:5]
    x = digits(images)
    assert x.shape == (5, 1, 32, 32)
    plain = replace(digits, size=(28, 28))(images)
    assert np.array_equal(x[:, :, 2:30, 2:30], plain)
    frame = np.ones((32, 32), bool)
    frame[2:30, 2:30] = False
    assert np.unique(x[:, 0, frame]) == pytest.approx([-0.1307 / 0.3081], abs=1e-3)


def test_photos_are_padded_with_their_mean():
    made = Preprocessing((8, 8), (6, 7), (0.2, 0.4, 0.6), (0.5, 0.5, 0.5))
    x = made(colour(6, 7))
    assert np.abs(x[:, :, [0, -1], :]).max() < 0.005  # rounded to a byte
    assert np.array_equal(x[:, :, 1:7, 0:7], replace(made, size=(6, 7))(colour(6, 7)))


def test_smaller_inputs_get_averages_over_areas():
    images = colour(12, 8)
    made = Preprocessing((6, 4), (12, 8), (0.0,) * 3, (1.0,) * 3)
    areas = images.reshape(20, 6, 2, 4, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    assert made(images) * 255 == pytest.approx(areas, abs=0.5001)


def test_much_larger_inputs_get_enlarged_images():
    images = colour(4, 4)
    x = Preprocessing((9, 9), (4, 4), (0.0,) * 3, (1.0,) * 3)(images)
    assert np.array_equal(np.rint(x[:, :, 0:8:2, 0:8:2] * 255), images.transpose(0, 3, 1, 2))


def test_an_image_of_the_sets_size_stays_as_it_is():
    made = Preprocessing.learn(dataset(colour(9, 7)), Shape((9, 7), 3))
    image, notes = made.standardise(colour(9, 7)[0])
    assert np.array_equal(image, colour(9, 7)[0])
    assert notes == []


def test_of_a_strangers_photo_the_middle_is_taken():
    made = Preprocessing((8, 8), (8, 8), (0.5,) * 3, (0.5,) * 3)
    photo = np.zeros((40, 100, 3), np.uint8)
    photo[:, 30:70] = (200, 100, 50)
    image, notes = made.standardise(photo)
    assert np.array_equal(image, np.broadcast_to(np.array([200, 100, 50], np.uint8), (8, 8, 3)))
    assert [note.en for note in notes] == ["middle resized to 8x8"]


def test_crop_leaves_out_the_rim_of_a_strangers_photo_and_nothing_of_a_prepared_one():
    """As ImageNet is scored: the shorter side to 256, then the middle 224, is the middle 224/256 to 224."""
    made = Preprocessing((8, 8), (8, 8), (0.5,) * 3, (0.5,) * 3, crop=0.5)
    photo = np.zeros((32, 60, 3), np.uint8)
    photo[8:24, 22:38] = (200, 100, 50)  # 16x16: half of the largest square, in the middle
    image, notes = made.standardise(photo)
    assert np.array_equal(image, np.broadcast_to(np.array([200, 100, 50], np.uint8), (8, 8, 3)))
    assert [note.en for note in notes] == ["middle 50% resized to 8x8"]
    assert notes[0].zh == "取中部 50%，缩放到 8x8"
    assert made.standardise(colour(8, 8)[0])[1] == []


def test_values_written_before_there_was_a_crop_are_read_as_without():
    made = Preprocessing((8, 8), (8, 8), (0.5,) * 3, (0.5,) * 3)
    values = made.as_json()
    del values["crop"]
    assert Preprocessing.from_json(values) == made


def test_a_grey_photo_becomes_colour_and_a_colour_photo_grey():
    rgb = Preprocessing((2, 2), (2, 2), (0.5,) * 3, (0.5,) * 3)
    image, notes = rgb.standardise(np.full((2, 2, 1), 9, np.uint8))
    assert (image.shape, image.max(), notes) == ((2, 2, 3), 9, [COLOURED])
    grey = Preprocessing((2, 2), (2, 2), (0.5,), (0.5,))
    image, notes = grey.standardise(np.full((2, 2, 3), (100, 200, 50), np.uint8))
    assert (image.shape, notes) == ((2, 2, 1), [GREYED])
    assert np.unique(image).tolist() == [153]  # 0.299 x 100 + 0.587 x 200 + 0.114 x 50


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_photos_of_extreme_sizes_are_taken(size):
    made = Preprocessing((8, 8), (8, 8), (0.5,) * 3, (0.5,) * 3)
    assert made.standardise(np.full((*size, 3), 7, np.uint8))[0].tolist() == np.full((8, 8, 3), 7).tolist()


def test_a_network_for_signals_is_refused():
    with pytest.raises(DataError) as caught:
        Preprocessing.learn(dataset(colour(9, 7)), Shape((100,), 3))
    assert str(caught.value) == "images need an input of height, width and channels\n  received: INPUT[100x3]"


def test_json_round_trip(digits):
    cropped = Preprocessing((8, 8), (8, 8), (0.5,) * 3, (0.5,) * 3, crop=0.875)
    for made in (digits, cropped, Preprocessing.learn(dataset(colour(9, 7)), Shape((30, 7), 3))):
        assert Preprocessing.from_json(json.loads(json.dumps(made.as_json()))) == made


def test_tall_glyphs_survive_the_round_trip():
    images = np.zeros((9, 30, 10, 1), np.uint8)
    images[:, 3:27, 4:6] = 255
    made = Preprocessing.learn(dataset(images), Shape((30, 10), 1))
    assert made.glyph is not None
    assert Preprocessing.from_json(json.loads(json.dumps(made.as_json()))) == made


HOSTILE = [
    "null",
    "[]",
    "7",
    '"text"',
    "{}",
    '{"size": null}',
    '{"size": [32]}',
    '{"size": [32, 32, 32]}',
    '{"size": [0, 32]}',
    '{"size": [-3, -3]}',
    '{"size": [60000, 60000]}',
    '{"source": [1e9, 1e9]}',
    '{"size": [Infinity, 1]}',
    '{"size": [NaN, 1]}',
    '{"source": "28"}',
    '{"source": {}}',
    '{"mean": []}',
    '{"mean": [0.1, 0.1]}',
    '{"mean": [NaN]}',
    '{"mean": [Infinity]}',
    '{"mean": [1' + "0" * 400 + "]}",
    '{"mean": ["x"]}',
    '{"mean": [[0.1]]}',
    '{"mean": 0.1}',
    '{"std": [0]}',
    '{"std": [-1]}',
    '{"std": [1e-300]}',
    '{"std": [NaN]}',
    '{"std": [0.3, 0.3, 0.3]}',
    '{"crop": 0}',
    '{"crop": 1.5}',
    '{"crop": NaN}',
    '{"crop": null}',
    '{"glyph": 3}',
    '{"glyph": []}',
    '{"glyph": {}}',
    '{"glyph": {"ground": 300}}',
    '{"glyph": {"ground": null}}',
    '{"glyph": {"ground": 128}}',
    '{"glyph": {"box": 0}}',
    '{"glyph": {"box": 29}}',
    '{"glyph": {"box": Infinity}}',
    '{"glyph": {"frame": [20, 28]}}',
    '{"glyph": {"frame": [60000, 60000]}}',
    '{"glyph": {"centre": [14]}}',
    '{"glyph": {"centre": [-1, 14]}}',
    '{"glyph": {"centre": [NaN, 14]}}',
    '{"glyph": {"stroke": 0}}',
    '{"glyph": {"stroke": NaN}}',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_are_refused(digits, text):
    changed, values = json.loads(text), digits.as_json()
    if isinstance(changed, dict) and changed:
        glyph = changed.get("glyph")
        if isinstance(glyph, dict) and glyph:
            changed = {"glyph": {**values["glyph"], **glyph}}
        values = {**values, **changed}
    else:
        values = changed
    with pytest.raises(ModelFileError, match=r"^the preprocessing is damaged"):
        Preprocessing.from_json(values)


@pytest.mark.parametrize("missing", ["size", "source", "mean", "std", "glyph"])
def test_each_value_is_needed(digits, missing):
    values = digits.as_json()
    del values[missing]
    with pytest.raises(ModelFileError, match=r"^the preprocessing is damaged$"):
        Preprocessing.from_json(values)
