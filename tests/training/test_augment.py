from __future__ import annotations

import numpy as np
import pytest

from neocog import NeocogError
from neocog.feed import ONE, moved
from neocog.training.augment import VARIED, Augment

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
    ids, labels = np.arange(20), np.zeros(20, np.int64)
    assert Augment().moves(ids, 0, 1, (6, 5)) is None
    assert Augment().touches(ids, 0, 1, (6, 5)) is None
    assert Augment().mix(ids, labels, 0, 1, (6, 5)) is None
    assert Augment().torch_only == ""


def test_a_shift_moves_by_up_to_that_many_pixels_in_all_directions():
    found = changed(dots(500), shift=2)
    places = {tuple(np.argwhere(image[:, :, 0] == 255)[0] - 4) for image in found}
    assert places == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert (found.sum(axis=(1, 2, 3)) == 255).all()


def test_a_flip_mirrors_half_of_the_images():
    images = RNG.integers(0, 256, (1000, 4, 5, 1), np.uint8)
    found = changed(images, flip="random")
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
    plain, flipped = changed(images, rotate=20), changed(images, rotate=20, flip="random")
    mirrored = changed(images[:, :, ::-1], rotate=20)
    for found, *either in zip(flipped.astype(int), plain, mirrored, strict=True):
        assert min(abs(found - one).max() for one in either) <= 1
    assert (flipped != plain).any()


@pytest.mark.parametrize("how", [{"shift": 2}, {"rotate": 10}, {"flip": "random"}])
def test_what_happens_depends_on_seed_epoch_and_number_alone(how):
    images = RNG.integers(0, 256, (40, 6, 6, 1), np.uint8)
    whole = changed(images, **how)
    order = RNG.permutation(40)
    np.testing.assert_array_equal(changed(images[order], ids=order, **how), whole[order])
    assert (changed(images, epoch=2, **how) != whole).any()
    assert (changed(images, seed=1, **how) != whole).any()


def test_alternating_flips_mirror_every_image_in_every_other_epoch():
    ids, still = np.arange(400), Augment(shift=1)
    alternating = Augment(shift=1, flip="alternating")
    mirrored = np.array([alternating.moves(ids, 0, epoch, (4, 5))[:, 5] < 0 for epoch in range(1, 7)])
    assert (mirrored[::2] == mirrored[0]).all()
    assert (mirrored[1::2] == ~mirrored[0]).all()
    assert 160 < mirrored[0].sum() < 240
    assert (still.moves(ids, 0, 1, (4, 5))[:, 5] > 0).all()


def test_an_erased_square_has_its_centre_anywhere():
    boxes = Augment(erase=4).touches(np.arange(20000), 0, 1, (9, 7)).boxes
    top, left, bottom, right = boxes.T
    assert set(top.tolist()) == set(range(7))  # centres 0 to 8, less half a side, cut off at the edge
    assert set((bottom - top).tolist()) == {2, 3, 4}
    assert bottom.max() == 9
    assert right.max() == 7
    assert min(top.min(), left.min()) == 0
    whole = (bottom - top == 4) & (right - left == 4)
    np.testing.assert_allclose(whole.mean(), 6 / 9 * 4 / 7, atol=0.02)


def test_colours_are_drawn_from_the_range_that_is_asked_for():
    gain, light = Augment(contrast=0.25, brightness=0.1).touches(np.arange(5000), 0, 1, (4, 4)).colours.T
    assert (gain.min(), gain.max()) == (192, 320)
    assert (light.min(), light.max()) == (-26, 26) or (light.min(), light.max()) == (-25, 25)
    assert abs(gain.mean() - 256) < 2
    assert Augment(contrast=0.2).touches(np.arange(5), 0, 1, (4, 4)).boxes is None


@pytest.mark.parametrize("count", [1, 2])
def test_varied_images_are_changed_in_as_many_ways_as_asked_for(count):
    how, ids, size = Augment(vary=count), np.arange(6000), (20, 24)
    m = how.moves(ids, 0, 1, size).astype(float) / ONE
    gain, light = how.touches(ids, 0, 1, size).colours.T
    top, left, bottom, right = how.touches(ids, 0, 1, size).boxes.T
    centre = np.array([9.5, 11.5])
    shown = np.stack([m[:, k] + m[:, k + 1] * centre[0] + m[:, k + 2] * centre[1] for k in (0, 3)])
    ways = {
        "rotate": np.abs(m[:, 2]) > 1e-3,
        "scale": np.abs(np.hypot(m[:, 1], m[:, 2]) - 1) > 1e-3,
        "slide": np.abs(shown - centre[:, None]).max(axis=0) > 1e-3,
        "contrast": gain != 256,
        "brightness": light != 0,
        "erase": (bottom > top) & (right > left),
    }
    together = np.stack(list(ways.values()))
    assert together.sum(axis=0).max() == count  # fewer where the amount that was drawn is next to nothing
    np.testing.assert_allclose(together.mean(axis=1), count / len(VARIED), atol=0.03)
    assert abs(gain - 256).max() in range(203, 206)
    assert (bottom - top).max() == 8


def test_varying_does_not_make_less_what_is_asked_for_besides():
    ids = np.arange(2000)
    moves = Augment(vary=1, rotate=60).moves(ids, 0, 1, (20, 20))
    turned = np.degrees(np.arctan2(-moves[:, 2], moves[:, 1]))
    assert turned.max() > 58
    assert turned.min() < -58


def mixed(epoch=1, seed=0, order=None, **how):
    labels = np.arange(600) % 7
    order = np.random.default_rng(0).permutation(600) if order is None else order
    return Augment(**how).mix(order, labels, seed, epoch, (10, 12)), labels, order


def test_mixup_blends_whole_images_by_shares_of_its_distribution():
    mix, labels, _ = mixed(mixup=2.0)
    assert (mix.boxes == [0, 0, 10, 12]).all()
    np.testing.assert_array_equal(mix.labels, labels[mix.rows])
    np.testing.assert_allclose(mix.own((10, 12)), mix.shares, atol=1e-6)
    np.testing.assert_allclose(mix.shares.var(), 1 / (4 * 5), rtol=0.1)
    assert len(set(mix.rows.tolist())) > 300


def test_cutmix_puts_in_boxes_of_the_share_of_its_distribution():
    mix, _, _ = mixed(cutmix=1.0)
    assert not mix.shares.any()
    top, left, bottom, right = mix.boxes.T
    free = (top > 0) & (bottom < 10) & (left > 0) & (right < 12)  # not cut off
    tall, wide = (bottom - top)[free], (right - left)[free]
    np.testing.assert_allclose(tall / 10, wide / 12, atol=0.1)
    assert mix.own((10, 12)).min() < 0.2 < 0.9 < mix.own((10, 12)).max()


def test_with_both_each_image_is_blended_or_pasted_into():
    mix, _, _ = mixed(mixup=1.0, cutmix=1.0)
    blended = mix.shares > 0
    assert 250 < blended.sum() < 350
    assert (mix.boxes[blended] == [0, 0, 10, 12]).all()
    assert (mix.boxes[~blended] != [0, 0, 10, 12]).any(axis=1).mean() > 0.9


def test_the_other_image_is_changed_as_it_is_by_itself():
    mix, _, order = mixed(mixup=1.0, shift=2, erase=3, brightness=0.1)
    how = Augment(shift=2, erase=3, brightness=0.1)
    moves, touches = how.moves(order, 0, 1, (10, 12)), how.touches(order, 0, 1, (10, 12))
    places = np.argsort(order)[mix.rows]
    np.testing.assert_array_equal(mix.moves, moves[places])
    np.testing.assert_array_equal(mix.touches.boxes, touches.boxes[places])
    np.testing.assert_array_equal(mix.touches.colours, touches.colours[places])


def test_an_image_that_comes_again_in_an_epoch_is_changed_anew():
    labels = np.zeros(10, np.int64)
    moves = Augment(shift=3, rotate=10).moves(np.array([4, 14]), 0, 1, (10, 12))
    assert (moves[0] != moves[1]).any()
    mix = Augment(mixup=1.0).mix(np.array([4, 14]), labels, 0, 1, (10, 12))
    assert mix.rows.tolist() == [4, 4]


@pytest.mark.parametrize("how", [{"erase": 3}, {"contrast": 0.5}, {"vary": 2}, {"mixup": 1.0}, {"cutmix": 1.0}])
def test_other_changes_depend_on_seed_epoch_and_number_alone_too(how):
    def boxes_and_colours(ids, seed=0, epoch=1):
        if set(how) & {"mixup", "cutmix"}:
            return Augment(**how).mix(ids, np.zeros(40, np.int64), seed, epoch, (9, 9)).own((9, 9))
        touches = Augment(**how).touches(ids, seed, epoch, (9, 9))
        return touches.boxes if touches.colours is None else touches.colours

    ids, order = np.arange(40), RNG.permutation(40)
    whole = boxes_and_colours(ids)
    np.testing.assert_array_equal(boxes_and_colours(order), whole[order])
    assert (boxes_and_colours(ids, epoch=2) != whole).any()
    assert (boxes_and_colours(ids, seed=1) != whole).any()


def test_what_only_torch_has_is_named():
    assert Augment.parse("shift=2, flip=alternating, edge=extend").torch_only == ""
    assert Augment.parse("edge=mean, erase=4, cutmix=1").torch_only == "edge, erase, cutmix"


def test_a_text_says_what_is_asked_for():
    assert Augment.parse("flip=alternating, edge=mean, mixup=.2") == Augment(flip="alternating", edge="mean", mixup=0.2)
    assert Augment.parse("none") == Augment()
    assert Augment.parse("shift=2, flip,rotate = 10") == Augment(shift=2, flip="random", rotate=10)
    assert Augment.parse("scale=0.1,slide=.5") == Augment(scale=0.1, slide=0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "augment is none, or of shift=..., flip, rotate=..., scale=..., slide=..., edge=..., contrast=..., "),
        ("spin=3", "received: augment='spin=3'"),
        ("shift=1,", "received: augment=''"),
        ("none, flip", "received: augment='none'"),
        ("flip=yes", "augment: flip is written alone, or is alternating\n  received: flip=yes"),
        ("edge", "augment: edge is one of extend, reflect, mean\n  received: edge="),
        ("edge=black", "edge is one of extend, reflect, mean\n  received: edge=black"),
        ("contrast=2", "contrast is a share from 0 to 1"),
        ("brightness=-1", "brightness is a share of the range from 0 to 1"),
        ("erase=-1", "erase is the side of a square in whole pixels"),
        ("erase=1.5", "erase is a whole number"),
        ("vary=7", "vary is how many changes of rotate, scale, slide, contrast, brightness, erase"),
        ("mixup=0.001", "mixup is 0, or from 0.01 to 100"),
        ("cutmix=inf", "cutmix is 0, or from 0.01 to 100"),
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
