"""What the torch engine is fed has the bits of the NumPy formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neocog.changes import Mix, Touches
from neocog.feed import EDGES, ONE, Course, Pixels
from neocog.torch_engine.feed import Feed

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (12, 9, 7, 3), np.uint8)
PIXELS = Pixels(IMAGES, np.array([0.013, 0.017, 0.019], np.float32), np.array([-0.3, 0.1, -1.7], np.float32))
MIRROR_AND_SHIFT = np.array([[2 * ONE, ONE, 0, 6 * ONE, 0, -ONE], [-ONE, ONE, 0, 3 * ONE, 0, ONE]], np.int32)
ANY = RNG.integers(-2 * ONE, 2 * ONE, (12, 6)).astype(np.int32)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def course(moves=None, **more):
    rows, rates = RNG.permutation(12), np.array([0.1, 0.2, 0.3])
    return Course(PIXELS, rows, RNG.integers(0, 5, 12), moves, np.array([5, 4, 3]), rates, **more)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("moves", [None, ANY, np.tile(MIRROR_AND_SHIFT, (6, 1))], ids=["none", "any", "whole"])
def test_mini_batches_are_those_of_numpy_bit_for_bit(device, moves, edge):
    assert_fed(device, course(moves, edge=edge))


@pytest.mark.parametrize("device", DEVICES)
def test_images_that_are_touched_or_mixed_are_those_of_numpy(device):
    rng = np.random.default_rng(4)
    touches = Touches(rng.integers(100, 300, (12, 2), np.int32), np.tile(np.array([1, 2, 4, 5], np.int32), (12, 1)))
    ids = rng.permutation(12)
    mix = Mix(ids, ids % 5, touches.boxes, rng.random(12).astype(np.float32), ANY, touches)
    assert_fed(device, course(ANY, touches=touches, mix=mix))


def assert_fed(device, asked):
    fed = list(Feed(torch.device(device)).batches(asked))
    assert len(fed) == 3
    for (x, labels, rate), (expected, classes, expected_rate) in zip(fed, asked.batches(), strict=True):
        np.testing.assert_array_equal(x.cpu().numpy(), expected)
        np.testing.assert_array_equal(labels.cpu().numpy(), classes)
        assert rate == expected_rate


@pytest.mark.parametrize("device", DEVICES)
def test_channels_come_last_in_memory(device):
    x, _, _ = next(Feed(torch.device(device)).batches(course()))
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("device", DEVICES)
def test_another_course_on_other_images_is_fed_those(device):
    feed = Feed(torch.device(device))
    other = Pixels(255 - IMAGES, PIXELS.scale, PIXELS.shift)
    for pixels in (PIXELS, other, PIXELS):
        np.testing.assert_array_equal(feed.numbers(pixels).cpu().numpy(), pixels.numbers(pixels.images))


def test_images_that_must_not_be_written_are_read_where_they_lie(recwarn):
    images = IMAGES.copy()
    images.setflags(write=False)
    Feed(torch.device("cpu")).numbers(Pixels(images, PIXELS.scale, PIXELS.shift))
    assert not recwarn.list
