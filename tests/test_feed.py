"""Moves of images, and bytes as numbers, against a few lines that go pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from neocog.changes import Mix, Touches
from neocog.feed import ONE, Course, Pixels, moved

RNG = np.random.default_rng(3)
STILL = (0, ONE, 0, 0, 0, ONE)


def by_hand(image, move):
    """Interpolation in floating point, at places rounded down to 256ths of a pixel."""
    height, width, _ = image.shape
    made = np.empty(image.shape)
    for i in range(height):
        for j in range(width):
            s = np.clip(move[0] + move[1] * i + move[2] * j, 0, (height - 1) * ONE) // 256 / 256
            t = np.clip(move[3] + move[4] * i + move[5] * j, 0, (width - 1) * ONE) // 256 / 256
            rows, columns = (sorted({int(v), min(int(v) + 1, n - 1)}) for v, n in ((s, height), (t, width)))
            made[i, j] = sum(
                (1 - abs(s - row)) * (1 - abs(t - column)) * image[row, column].astype(float)
                for row in rows
                for column in columns
            )
    return made


@pytest.mark.parametrize("channels", [1, 3])
def test_a_move_interpolates_between_the_four_pixels_around(channels):
    images = RNG.integers(0, 256, (4, 7, 9, channels), np.uint8)
    moves = (np.array(STILL) + RNG.integers(-ONE // 3, ONE // 3, (4, 6))).astype(np.int32)
    moves[:, [0, 3]] += RNG.integers(-4 * ONE, 4 * ONE, (4, 2)).astype(np.int32)
    for image, move, found in zip(images, moves.astype(int), moved(images, moves), strict=True):
        np.testing.assert_allclose(found, by_hand(image, move), atol=0.5 + 1e-9)


def test_whole_pixels_are_copied_and_the_edge_goes_on():
    image = np.arange(10, 15, dtype=np.uint8).reshape(1, 1, 5, 1).repeat(3, axis=1)
    one_left = np.array([[0, ONE, 0, ONE, 0, ONE]], np.int32)
    np.testing.assert_array_equal(moved(image, one_left)[0, 1, :, 0], [11, 12, 13, 14, 14])
    mirrored = np.array([[0, ONE, 0, 4 * ONE, 0, -ONE]], np.int32)
    np.testing.assert_array_equal(moved(image, mirrored), image[:, :, ::-1])
    noise = RNG.integers(0, 256, (2, 5, 6, 3), np.uint8)
    np.testing.assert_array_equal(moved(noise, np.array([STILL, STILL], np.int32)), noise)


@pytest.mark.parametrize(("edge", "mode"), [("extend", "edge"), ("reflect", "reflect"), ("mean", "constant")])
def test_behind_the_edge_is_what_padding_of_that_kind_would_give(edge, mode):
    images, mean = RNG.integers(0, 256, (25, 6, 7, 3), np.uint8), np.array([9, 120, 250], np.uint8)
    shifts = np.array([(down, right) for down in range(-2, 3) for right in range(-2, 3)])
    moves = np.tile(np.array(STILL), (25, 1))
    moves[:, [0, 3]] += ONE * shifts
    for c in range(3):
        how = {"constant_values": mean[c]} if edge == "mean" else {}
        padded = np.pad(images[..., c], ((0, 0), (2, 2), (2, 2)), mode=mode, **how)
        for n, found in enumerate(moved(images, moves.astype(np.int32), edge, mean)[..., c]):
            top, left = 2 + shifts[n]
            np.testing.assert_array_equal(found, padded[n, top : top + 6, left : left + 7])


def test_half_way_between_two_pixels_lies_their_mean():
    image = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1)
    half = np.array([[0, ONE, 0, ONE // 2, 0, ONE]], np.int32)
    assert moved(image, half)[0, 0, 0, 0] == 128  # 127.5, rounded up


def test_bytes_become_numbers_channel_by_channel():
    pixels = Pixels(RNG.integers(0, 256, (3, 2, 5, 3), np.uint8), *RNG.random((2, 3)).astype(np.float32))
    x = pixels.numbers(pixels.images)
    expected = pixels.images.astype(np.float32) * pixels.scale + pixels.shift
    np.testing.assert_array_equal(x, expected.transpose(0, 3, 1, 2))


def test_a_course_hands_out_its_mini_batches_in_order():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    pixels = Pixels(images, np.ones(1, np.float32), np.zeros(1, np.float32))
    rows = np.array([5, 0, 2, 4, 1])
    course = Course(pixels, rows, rows * 10, None, np.array([2, 1, 2]), np.array([0.1, 0.2, 0.3]))
    batches = [(x.ravel().tolist(), labels.tolist(), lr) for x, labels, lr in course.batches()]
    assert batches == [([5, 0], [50, 0], 0.1), ([2], [20], 0.2), ([4, 1], [40, 10], 0.3)]


def test_what_does_not_belong_together_is_no_course():
    pixels = Pixels(np.zeros((4, 2, 2, 1), np.uint8), np.ones(1, np.float32), np.zeros(1, np.float32))
    good = {
        "pixels": pixels,
        "rows": np.array([0, 3, 1]),
        "labels": np.zeros(3, np.int64),
        "moves": None,
        "sizes": np.array([2, 1]),
        "rates": np.array([0.1, 0.1]),
    }
    Course(**good)
    for wrong in (
        {"rows": np.array([0, 4, 1])},
        {"rows": np.array([0, -1, 1])},
        {"labels": np.zeros(2, np.int64)},
        {"moves": np.zeros((2, 6), np.int32)},
        {"sizes": np.array([2, 2])},
        {"sizes": np.array([3, 0])},
        {"rates": np.array([0.1])},
        {"pixels": pixels._replace(images=np.zeros((4, 2, 2, 1), np.int64))},
    ):
        with pytest.raises(ValueError, match=r"mini-batches of|rows"):
            Course(**{**good, **wrong})


def test_all_that_happens_to_images_happens_in_order():
    """Moved, recoloured, erased; then another one, changed in its own way, is mixed in."""
    images = RNG.integers(0, 256, (4, 3, 4, 1), np.uint8)
    pixels = Pixels(images, np.array([0.5], np.float32), np.array([-50], np.float32))
    assert pixels.mean == 100
    moves = np.tile(np.array(STILL, np.int32), (2, 1))
    moves[0, 3] = ONE
    touches = Touches(np.array([[256, 20], [128, 0]], np.int32), np.array([[0, 0, 1, 1], [0, 0, 0, 0]], np.int32))
    own = [touches.part(slice(k, k + 1)).on(moved(images[[k]], moves[[k]]), pixels.mean) for k in range(2)]
    box = np.array([[0, 1, 3, 4], [0, 0, 3, 4]], np.int32)
    mix = Mix(np.array([2, 3]), np.array([1, 0]), box, np.array([0.0, 0.75], np.float32), moves[::-1], None)
    course = Course(
        *(pixels, np.array([0, 1]), np.array([0, 1]), moves, np.array([1, 1]), np.array([0.1, 0.1])),
        touches=touches,
        mix=mix,
        class_weights=np.array([1, 3], np.float32),
    )
    first, second = (course.batch(k)[0] for k in range(2))
    np.testing.assert_array_equal(first[..., :1], pixels.numbers(own[0])[..., :1])
    np.testing.assert_array_equal(first[..., 1:], pixels.numbers(images[[2]])[..., 1:])
    other = pixels.numbers(moved(images[[3]], moves[[0]]))
    np.testing.assert_allclose(second, 0.75 * pixels.numbers(own[1]) + 0.25 * other, rtol=1e-5)
    shares = [course.shares(k) for k in range(2)]
    assert [(s.own.tolist(), s.others.tolist(), s.theirs.tolist()) for s in shares] == [
        ([0.25], [1], [2.25]),
        ([2.25], [0], [0.25]),
    ]
    assert not course.plain


def test_labels_that_all_count_alike_need_no_shares():
    pixels = Pixels(np.zeros((4, 2, 2, 1), np.uint8), np.ones(1, np.float32), np.zeros(1, np.float32))
    course = Course(pixels, np.arange(4), np.zeros(4, np.int64), None, np.array([4]), np.array([0.1]))
    assert course.shares(0) is None
    assert course.plain
