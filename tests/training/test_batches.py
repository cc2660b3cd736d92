from __future__ import annotations

import numpy as np
import pytest

from neocog.data import Dataset, Preprocessing
from neocog.feed import Pixels
from neocog.layer import Shape
from neocog.training.augment import Augment
from neocog.training.batches import Batches, hold_out


class Unchanged:
    """Stands in for preprocessing, so that batches show the images they hold."""

    fits, size = True, (3, 3)

    def pixels(self, images):
        return Pixels(images, np.ones(1, np.float32), np.zeros(1, np.float32))


def numbered(count: int, side: int = 3) -> Dataset:
    """Images that hold their own number."""
    ids = np.arange(count)
    images = np.broadcast_to(ids.astype(np.uint8)[:, None, None, None], (count, side, side, 1)).copy()
    return Dataset("numbers", "train", images, ids % 5, tuple("abcde"))


def batches(count: int, batch_size: int, seed: int = 0) -> Batches:
    return Batches(numbered(count), Unchanged(), batch_size, Augment(), seed)


def shown(made: Batches, epoch: int):
    """Every mini-batch of an epoch as numbers, in two courses."""
    images, first = made.epoch(epoch), -(-len(made) // 2)
    for at, count in ((0, first), (first, len(made) - first))[: len(made)]:
        course = images.course(at, [0.1] * count)
        yield from (course.batch(k) for k in range(count))


def order(made: Batches, epoch: int) -> list[int]:
    return [int(image[0, 0, 0]) for x, _ in shown(made, epoch) for image in x]


def test_an_epoch_shows_every_image_once():  # fact A5
    assert sorted(order(batches(100, 7), 1)) == list(range(100))


def test_labels_stay_with_their_images():
    for x, labels in shown(batches(100, 7), 1):
        np.testing.assert_array_equal(x[:, 0, 0, 0] % 5, labels)


def test_every_epoch_and_every_seed_has_its_own_order():
    found = [order(batches(100, 7, seed), epoch) for seed in (0, 1) for epoch in (1, 2)]
    assert len(set(map(tuple, found))) == 4
    assert order(batches(100, 7), 1) == found[0]


def test_the_order_does_not_depend_on_the_batch_size():
    assert order(batches(100, 7), 3) == order(batches(100, 64), 3)


@pytest.mark.parametrize(("count", "batch_size"), [(100, 7), (65, 64), (64, 64), (5, 64), (129, 64), (3, 1)])
def test_no_batch_is_too_large_or_much_smaller_than_another(count, batch_size):
    sizes = [len(labels) for _, labels in shown(batches(count, batch_size), 1)]
    assert sum(sizes) == count
    assert len(sizes) == len(batches(count, batch_size))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_what_happens_to_an_image_depends_on_seed_epoch_and_its_number_alone():
    images = np.random.default_rng(1).integers(0, 256, (60, 3, 3, 1), np.uint8)
    noise = Dataset("noise", "train", images, np.arange(60), tuple(map(str, range(60))))

    def seen(batch_size: int, epoch: int, seed: int) -> np.ndarray:
        made = list(shown(Batches(noise, Unchanged(), batch_size, Augment(shift=2, rotate=10), seed), epoch))
        labels = np.concatenate([labels for _, labels in made])
        return np.concatenate([x for x, _ in made])[np.argsort(labels)]

    np.testing.assert_array_equal(seen(7, 1, 0), seen(32, 1, 0))
    assert (seen(7, 1, 0) != seen(7, 2, 0)).any()
    assert (seen(7, 1, 0) != seen(7, 1, 1)).any()


def test_held_out_images_are_not_learned_from():
    kept, held = hold_out(numbered(100), 30)
    parts = [set(part.images[:, 0, 0, 0].tolist()) for part in (kept, held)]
    assert [len(part) for part in parts] == [70, 30]
    assert parts[0] | parts[1] == set(range(100))
    np.testing.assert_array_equal(held.images[:, 0, 0, 0] % 5, held.labels)


def test_batches_are_what_the_network_takes(digits):
    """Of another size than the images, which are made to fit for each course."""
    preprocessing = Preprocessing.learn(digits.train, Shape((32, 32), 1))
    made = Batches(digits.train, preprocessing, 50, Augment(), 0)
    order = made.epoch(1).order
    x = np.concatenate([x for x, _ in shown(made, 1)])
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, preprocessing(digits.train.images[order]))


def test_other_images_are_made_to_fit_too(digits):
    """Of another size than the images, and mixed with each other: the same in one course or in several."""
    preprocessing = Preprocessing.learn(digits.train, Shape((32, 32), 1))
    made = Batches(digits.train, preprocessing, 50, Augment(mixup=1.0, shift=2, erase=4), 0)
    whole = made.epoch(2)
    at_once = whole.course(0, [0.1] * len(made))
    for k in range(len(made)):
        alone = whole.course(k, [0.1])
        np.testing.assert_array_equal(alone.batch(0)[0], at_once.batch(k)[0])
        for found, expected in zip(alone.shares(0), at_once.shares(k), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert len({*whole.mix.rows.tolist()}) > 150


def test_a_balanced_epoch_has_rare_classes_as_often_as_others():
    data = numbered(100)
    labels = np.where(np.arange(100) < 95, 0, 1)
    made = Batches(Dataset("few", "train", data.images, labels, ("a", "b")), Unchanged(), 10, Augment(), 0, "balanced")
    seen = np.concatenate([labels for _, labels in shown(made, 1)])
    assert np.bincount(seen).tolist() == [50, 50]
