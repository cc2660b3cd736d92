from __future__ import annotations

import numpy as np

from neocog.changes import Mix, Touches, inside

RNG = np.random.default_rng(8)
IMAGES = RNG.integers(0, 256, (3, 5, 6, 3), np.uint8)
MEAN = np.array([100, 20, 200], np.uint8)


def test_gain_256_and_light_0_change_nothing():
    colours = np.tile(np.array([256, 0], np.int32), (3, 1))
    np.testing.assert_array_equal(Touches(colours, None).on(IMAGES, MEAN), IMAGES)


def test_colours_are_those_of_the_formula_and_stay_bytes():
    colours = np.array([[512, 0], [128, 10], [0, -150]], np.int32)
    found = Touches(colours, None).on(IMAGES, MEAN)
    for n, (gain, light) in enumerate(colours):
        exact = (IMAGES[n] - MEAN.astype(float)) * gain / 256 + MEAN + light
        np.testing.assert_allclose(found[n], np.clip(exact, 0, 255), atol=0.5)
    assert found.dtype == np.uint8


def test_a_box_is_its_rows_and_columns():
    boxes = np.array([[1, 2, 3, 6], [0, 0, 5, 6], [2, 3, 2, 3]], np.int32)
    found = inside(boxes, (5, 6))
    expected = np.zeros((5, 6), bool)
    expected[1:3, 2:6] = True
    np.testing.assert_array_equal(found, [expected, np.ones((5, 6), bool), np.zeros((5, 6), bool)])
    erased = Touches(None, boxes).on(IMAGES, MEAN)
    np.testing.assert_array_equal(erased[0][~expected], IMAGES[0][~expected])
    assert (erased[0][expected] == MEAN).all()
    assert (erased[1] == MEAN).all()
    np.testing.assert_array_equal(erased[2], IMAGES[2])


def test_labels_count_as_much_as_there_is_of_their_images():
    """Of an image of ones in one of zeros, what is seen is the share of the label."""
    boxes = np.array([[0, 0, 4, 5], [1, 1, 3, 2], [0, 0, 0, 0]], np.int32)
    shares = np.array([0.25, 0.0, 0.5], np.float32)
    ids = np.arange(3)
    mix = Mix(ids, ids, boxes, shares, None, None)
    x = mix.on(np.ones((3, 2, 4, 5), np.float32), np.zeros((3, 2, 4, 5), np.float32))
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), mix.own((4, 5)), rtol=1e-6)
    np.testing.assert_allclose(mix.own((4, 5)), [0.25, 0.9, 1])
    np.testing.assert_array_equal(mix.part(slice(1, 3)).own((4, 5)), mix.own((4, 5))[1:])
