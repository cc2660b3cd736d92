from __future__ import annotations

import numpy as np
import pytest

from neocog import NeocogError
from neocog.feed import moved
from neocog.training.augment import Augment

RNG = np.random.default_rng(4)


def changed(images, seed=0, epoch=1, ids=None, **how):
    ids = np.arange(len(images)) if ids is None else ids
    return moved(images, Augment(**how).moves(ids, seed, epoch, images.shape[1:3]))


def dots(count, side=9):
    """A white pixel in the middle of each image."""
    images = np.zeros((count, side, side, 1), np.uint8)
    images[:, side // 2, side // 2] = 255
    return images


def test_nothing_changes_unless_it_is_asked_for():
    images = RNG.integers(0, 256, (20, 6, 5, 3), np.uint8)
    assert not Augment().changes
    np.testing.assert_array_equal(changed(images), images)


def test_a_shift_moves_by_up_to_that_many_pixels_in_all_directions():
    found = changed(dots(500), shift=2)
    places = {tuple(np.argwhere(image[:, :, 0] == 255)[0] - 4) for image in found}
    assert places == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert (found.sum(axis=(1, 2, 3)) == 255).all()


def test_a_flip_mirrors_half_of_the_images():
    images = RNG.integers(0, 256, (1000, 4, 5, 1), np.uint8)
    found = changed(images, flip=True)
    mirrored = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(found[~mirrored], images[~mirrored])
    assert 450 < mirrored.sum() < 550


def test_a_rotation_turns_about_the_centre_by_up_to_the_angle():
    side, angle = 41, 30.0
    images = np.zeros((300, side, side, 1), np.uint8)
    images[:, side // 2, 30:33] = 255  # ten to twelve pixels right of the centre
    weights = changed(images, rotate=angle)[..., 0].astype(float)
    down, right = (np.arange(side)[:, None] - side // 2), (np.arange(side) - side // 2)
    sums = weights.sum(axis=(1, 2))
    y, x = ((weights * along).sum(axis=(1, 2)) / sums for along in (down, right))
    np.testing.assert_allclose(np.hypot(y, x), 11, atol=0.3)
    turned = np.degrees(np.arctan2(y, x))
    assert -angle - 1 < turned.min() < -0.9 * angle
    assert 0.9 * angle < turned.max() < angle + 1
    assert abs(turned.mean()) < 3


def test_a_scale_keeps_the_centre_and_changes_distances_by_up_to_the_share():
    side = 41
    images = np.zeros((300, side, side, 1), np.uint8)
    images[:, side // 2, 29:32] = 255
    weights = changed(images, scale=0.2)[..., 0].astype(float)
    x = (weights.sum(axis=1) * (np.arange(side) - side // 2)).sum(axis=1) / weights.sum(axis=(1, 2))
    assert 7.9 < x.min() < 8.3
    assert 11.7 < x.max() < 12.1


def test_a_slide_moves_by_fractions_of_pixels():
    weights = changed(dots(400), slide=1.5)[..., 0].astype(float)
    along = np.arange(9) - 4
    for axis in (1, 2):
        moved_by = (weights.sum(axis=3 - axis) * along).sum(axis=1) / weights.sum(axis=(1, 2))
        assert -1.55 < moved_by.min() < -1.35
        assert 1.35 < moved_by.max() < 1.55
        assert len(np.unique(moved_by.round(2))) > 100


def test_a_mirrored_image_is_turned_the_same_way_as_drawn():
    """Every change is seen from the result: flipped back, it is the image turned the other way."""
    images = RNG.integers(0, 256, (200, 8, 8, 1), np.uint8)
    plain, flipped = changed(images, rotate=20), changed(images, rotate=20, flip=True)
    mirrored = changed(images[:, :, ::-1], rotate=20)
    for found, *either in zip(flipped.astype(int), plain, mirrored, strict=True):
        assert min(abs(found - one).max() for one in either) <= 1
    assert (flipped != plain).any()


@pytest.mark.parametrize("how", [{"shift": 2}, {"rotate": 10}, {"flip": True}])
def test_what_happens_depends_on_seed_epoch_and_number_alone(how):
    images = RNG.integers(0, 256, (40, 6, 6, 1), np.uint8)
    whole = changed(images, **how)
    order = RNG.permutation(40)
    np.testing.assert_array_equal(changed(images[order], ids=order, **how), whole[order])
    assert (changed(images, epoch=2, **how) != whole).any()
    assert (changed(images, seed=1, **how) != whole).any()


def test_a_text_says_what_is_asked_for():
    assert Augment.parse("none") == Augment()
    assert Augment.parse("shift=2, flip,rotate = 10") == Augment(shift=2, flip=True, rotate=10)
    assert Augment.parse("scale=0.1,slide=.5") == Augment(scale=0.1, slide=0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "augment is none, or of shift=..., flip, rotate=..., scale=..., slide=...\n  received: augment=''"),
        ("spin=3", "received: augment='spin=3'"),
        ("shift=1,", "received: augment=''"),
        ("none, flip", "received: augment='none'"),
        ("flip=yes", "flip stands alone\n  received: flip=yes\n  try: flip"),
        ("shift", "shift is a whole number\n  received: shift\n  try: shift=1"),
        ("shift=1.5", "shift is a whole number\n  received: shift=1.5"),
        ("rotate=far", "rotate is a number\n  received: rotate=far"),
        ("shift=1, shift=2", "shift is written twice\n  received: shift=1, shift=2"),
        ("shift=65", "shift is a whole number of pixels from 0 to 64\n  received: shift=65"),
        ("rotate=-1", "rotate is degrees from 0 to 180\n  received: rotate=-1.0"),
        ("rotate=nan", "rotate is degrees from 0 to 180\n  received: rotate=nan"),
        ("scale=1", "scale is a share of the size from 0 up to, not including, 1\n  received: scale=1.0"),
        ("slide=100", "slide is pixels from 0 to 64\n  received: slide=100.0"),
    ],
)
def test_what_makes_no_sense_is_refused(text, says):
    with pytest.raises(NeocogError) as refused:
        Augment.parse(text)
    assert says in str(refused.value)
