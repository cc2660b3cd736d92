from __future__ import annotations

import numpy as np
import pytest

from neocog.data import Dataset
from neocog.layer import Shape
from neocog.training.augment import shifted
from neocog.training.batches import Batches, hold_out


class Unchanged:
    """Stands in for preprocessing, so that batches show the images they hold."""

    def __call__(self, images):
        return images


def numbered(count: int, side: int = 3) -> Dataset:
    """Images that hold their own number."""
    ids = np.arange(count)
    images = np.broadcast_to(ids.astype(np.uint8)[:, None, None, None], (count, side, side, 1)).copy()
    return Dataset("numbers", "train", images, ids % 5, tuple("abcde"))


def batches(count: int, batch_size: int, seed: int = 0, shift: int = 0) -> Batches:
    return Batches(numbered(count), Unchanged(), batch_size, shift, seed)


def order(made: Batches, epoch: int) -> list[int]:
    return [int(image[0, 0, 0]) for x, _ in made.epoch(epoch) for image in x]


def test_an_epoch_shows_every_image_once():  # fact A5
    assert sorted(order(batches(100, 7), 1)) == list(range(100))


def test_labels_stay_with_their_images():
    for x, labels in batches(100, 7).epoch(1):
        np.testing.assert_array_equal(x[:, 0, 0, 0] % 5, labels)


def test_every_epoch_and_every_seed_has_its_own_order():
    found = [order(batches(100, 7, seed), epoch) for seed in (0, 1) for epoch in (1, 2)]
    assert len(set(map(tuple, found))) == 4
    assert order(batches(100, 7), 1) == found[0]


def test_the_order_does_not_depend_on_the_batch_size():
    assert order(batches(100, 7), 3) == order(batches(100, 64), 3)


@pytest.mark.parametrize(("count", "batch_size"), [(100, 7), (65, 64), (64, 64), (5, 64), (129, 64), (3, 1)])
def test_no_batch_is_too_large_or_much_smaller_than_another(count, batch_size):
    sizes = [len(labels) for _, labels in batches(count, batch_size).epoch(1)]
    assert sum(sizes) == count
    assert len(sizes) == len(batches(count, batch_size))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


def test_a_shift_moves_by_up_to_that_many_pixels_in_all_directions():
    images = np.zeros((500, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 255
    moved = shifted(images, np.random.default_rng(0).integers(0, 2**63, 500).astype(np.uint64), 2)
    places = {tuple(np.argwhere(image[:, :, 0] == 255)[0] - 4) for image in moved}
    assert places == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert (moved.sum(axis=(1, 2, 3)) == 255).all()


def test_a_shift_repeats_the_edge():
    columns = np.tile(np.arange(10, 15, dtype=np.uint8)[:, None], (1, 5, 1, 1))
    one_right = next(key for key in range(9) if key % 3 == 1 and key // 3 == 2)
    (moved,) = shifted(columns.reshape(1, 5, 5, 1), np.array([one_right], np.uint64), 1)
    np.testing.assert_array_equal(moved[0, :, 0], [10, 10, 11, 12, 13])


def test_what_happens_to_an_image_depends_on_seed_epoch_and_its_number_alone():
    images = np.random.default_rng(1).integers(0, 256, (60, 6, 6, 1), np.uint8)
    noise = Dataset("noise", "train", images, np.arange(60), tuple(map(str, range(60))))

    def seen(batch_size: int, epoch: int, seed: int) -> np.ndarray:
        shown = list(Batches(noise, Unchanged(), batch_size, 2, seed).epoch(epoch))
        labels = np.concatenate([labels for _, labels in shown])
        return np.concatenate([x for x, _ in shown])[np.argsort(labels)]

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
    from neocog.data import Preprocessing

    made = Batches(digits.train, Preprocessing.learn(digits.train, Shape((32, 32), 1)), 50, 1, 0)
    for x, labels in made.epoch(1):
        assert x.shape == (len(labels), 1, 32, 32)
        assert x.dtype == np.float32
