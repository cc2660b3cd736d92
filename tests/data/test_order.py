from __future__ import annotations

import numpy as np
import pytest

from neocog.data.order import epoch_order, sample_keys


def naive_splitmix(z: int) -> int:
    """SplitMix64 in unbounded integers, from the paper's figure 17."""
    z = (z + 0x9E3779B97F4A7C15) % 2**64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
    return z ^ (z >> 31)


def test_the_naive_generator_gives_the_published_first_number():
    assert naive_splitmix(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (7, 3), (2**64 - 1, 2**40), (-1, 5)])
def test_keys_are_the_published_hash_of_seed_epoch_and_number(seed, epoch):
    ids = np.array([0, 1, 2, 59_999, 2**40])
    start = naive_splitmix(naive_splitmix(seed % 2**64) ^ epoch)
    assert sample_keys(ids, seed, epoch).tolist() == [naive_splitmix(start ^ int(k)) for k in ids]


@pytest.mark.parametrize("count", [1, 2, 3, 100, 60_000])
def test_an_epoch_holds_every_number_once(count):  # fact A5: without replacement
    order = epoch_order(count, seed=4, epoch=2)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(count))


def test_the_same_epoch_has_the_same_order():
    assert np.array_equal(epoch_order(1000, 5, 6), epoch_order(1000, 5, 6))


def test_orders_of_other_seeds_and_epochs_are_unrelated():
    orders = [epoch_order(1000, seed, epoch) for seed in range(4) for epoch in range(4)]
    for k, first in enumerate(orders):
        for second in orders[:k]:
            assert (first == second).sum() < 10  # one is expected by chance
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


def test_a_key_does_not_depend_on_which_others_are_asked_for():
    whole = sample_keys(np.arange(1000), 3, 9)
    some = np.array([999, 4, 500, 4])
    assert np.array_equal(sample_keys(some, 3, 9), whole[some])


def test_workers_that_share_the_numbers_find_the_order_of_one():
    shares = np.array_split(np.arange(1000), 7)
    keys = np.concatenate([sample_keys(share, 1, 2) for share in shares])
    assert np.array_equal(np.argsort(keys, kind="stable"), epoch_order(1000, 1, 2))


def test_each_number_comes_to_each_place_equally_often():
    epochs, count = 4000, 8
    seen = np.zeros((count, count))
    for epoch in range(epochs):
        seen[np.arange(count), epoch_order(count, 11, epoch)] += 1
    expected = epochs / count
    chi_squared = ((seen - expected) ** 2 / expected).sum()
    assert chi_squared < 85.4  # 49 degrees of freedom: more than this once in a thousand


def test_keys_use_all_bits():
    keys = sample_keys(np.arange(4096), 0, 0)
    bits = (keys[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.04
    assert len(np.unique(keys)) == 4096
