"""Numbers drawn by place: they are uniform, they do not follow each other, and nothing else decides them."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Network
from neocog.chance import BITS, Draws, mixed, symmetric_beta, words
from neocog.reference import forward

SHAPE = (32, 8, 16, 16)


def u(seed=3, step=1, layer=0, shape=SHAPE):
    draws = Draws(seed, step)
    return [draws.random(shape) for _ in range(layer + 1)][layer]


def test_numbers_are_spread_evenly_from_0_to_1():
    drawn = u()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn, bins=64, range=(0, 1))[0]
    expected = drawn.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 63 + 5 * np.sqrt(2 * 63)  # chi squared, five deviations
    assert (drawn * 2**BITS == np.floor(drawn * 2**BITS)).all()


@pytest.mark.parametrize("far", [{"seed": 4}, {"step": 2}, {"layer": 1}])
def test_seeds_steps_and_layers_have_numbers_of_their_own(far):
    assert_independent(u(), u(**far))


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("apart", [1, 2, 8])
def test_neighbouring_images_channels_and_positions_are_independent(axis, apart):
    drawn = u()
    length = SHAPE[axis]
    if apart < length:
        assert_independent(drawn.take(range(apart, length), axis), drawn.take(range(length - apart), axis))


def assert_independent(a, b):
    """Their correlation, and that of the halves in which they lie, is what chance gives: below five deviations."""
    for one, other in ((a - 0.5, b - 0.5), (np.sign(a - 0.5), np.sign(b - 0.5))):
        correlation = (one * other).mean() / np.sqrt((one**2).mean() * (other**2).mean())
        assert abs(correlation) * np.sqrt(a.size) < 5


def test_an_image_draws_the_same_in_a_smaller_batch():
    np.testing.assert_array_equal(u()[:5], u(shape=(5, *SHAPE[1:])))
    np.testing.assert_array_equal(u().reshape(len(u()), -1, 1, 1), u(shape=(32, 8 * 16 * 16, 1, 1)))


def test_mixing_is_invertible_and_every_bit_changes_half_of_the_others():
    x = np.arange(1 << 16, dtype=np.uint32)
    assert len(np.unique(mixed(x * np.uint32(40503)))) == len(x)
    for bit in range(32):
        changed = mixed(x) ^ mixed(x ^ np.uint32(1 << bit))
        share = [((changed >> np.uint32(k)) & np.uint32(1)).mean() for k in range(32)]
        np.testing.assert_allclose(share, 0.5, atol=0.1)


def test_words_are_those_of_the_seed_sequence():
    np.testing.assert_array_equal(words(7, 8, 9), np.random.SeedSequence((7, 8, 9)).generate_state(2))


def test_the_reference_draws_for_each_layer_in_turn():
    network = Network.parse("INPUT[6x5x2] -> DROPOUT(0.25) -> DROPOUT(0.5)")
    ones = np.ones((7, 2, 6, 5))
    first, second = forward(network, {}, ones, rng=Draws(5, 6)).outputs[1:]
    draws = Draws(5, 6)
    np.testing.assert_array_equal(first, (draws.random(ones.shape) >= 0.25) / 0.75)
    np.testing.assert_array_equal(second, first * (draws.random(ones.shape) >= 0.5) / 0.5)


def test_numbers_of_a_symmetric_beta_distribution_have_its_moments_and_quantiles():
    u = (np.arange(200_000) + 0.5) / 200_000
    for alpha in (0.05, 0.2, 0.5, 1.0, 2.0, 8.0):
        found = symmetric_beta(u, alpha)
        np.testing.assert_allclose(found.mean(), 0.5, atol=1e-6)
        np.testing.assert_allclose(found.var(), 1 / (4 * (2 * alpha + 1)), rtol=2e-3)
        assert (np.diff(found) >= 0).all()
        np.testing.assert_allclose(found + found[::-1], 1, atol=1e-12)
    np.testing.assert_allclose(symmetric_beta(u, 1.0), u, atol=1e-12)
    np.testing.assert_allclose(symmetric_beta(u, 0.5), np.sin(np.pi * u / 2) ** 2, atol=1e-4)  # the arcsine law
