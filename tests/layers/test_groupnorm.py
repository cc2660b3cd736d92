"""Group normalization by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog.layer import Cost, Shape
from neocog.layers import BatchNorm, GroupNorm

X = np.array([[[1.0, 3.0], [5.0, 7.0], [10.0, 10.0], [10.0, 14.0]]])  # (1, 4, 2): two groups of two channels
PARAMS = {"weight": np.array([1.0, 2.0, 3.0, 4.0]), "bias": np.array([0.0, 0.0, 0.0, 100.0])}


def test_each_group_has_mean_zero_and_variance_one_before_scale_and_shift():
    y, _ = GroupNorm(groups=2, eps=1e-12).forward(PARAMS, X)
    first, second = np.sqrt(5), np.sqrt(3)  # groups 1 3 5 7: mean 4, variance 5; 10 10 10 14: mean 11, variance 3
    expected = [
        [-3 / first, -1 / first],
        [2 * 1 / first, 2 * 3 / first],
        [3 * -1 / second, 3 * -1 / second],
        [100 + 4 * -1 / second, 100 + 4 * 3 / second],
    ]
    assert_allclose(y[0], expected, rtol=1e-10)


def test_images_never_depend_on_each_other():
    other = np.concatenate([X, 100 * X**2])
    norm = GroupNorm(groups=2)
    for rng in (None, np.random.default_rng(0)):
        assert_array_equal(norm.forward(PARAMS, other, rng=rng)[0][:1], norm.forward(PARAMS, X)[0])


def test_one_group_for_each_channel_is_batch_normalization_of_one_image():
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 5))
    start = {"weight": np.ones(3), "bias": np.zeros(3), "running_mean": np.zeros(3), "running_var": np.ones(3)}
    batch, _ = BatchNorm().forward(start, x, rng=np.random.default_rng(0))
    assert_allclose(GroupNorm(groups=3, affine=False).forward({}, x)[0], batch, rtol=1e-12, atol=1e-12)


def test_no_gradient_changes_the_mean_or_the_scale_of_a_group():
    norm = GroupNorm(groups=2, eps=1e-12)
    _, cache = norm.forward(PARAMS, X)
    (dx,), _ = norm.backward(PARAMS, cache, np.random.default_rng(0).normal(size=X.shape))
    for group in (slice(0, 2), slice(2, 4)):
        assert_allclose([dx[:, group].sum(), (dx * X)[:, group].sum()], [0, 0], atol=1e-9)
    assert np.abs(dx).max() > 0.1


@pytest.mark.parametrize(("affine", "learned"), [(True, 128), (False, 0)])
def test_two_parameters_a_channel_and_thirty_two_groups(affine, learned):
    norm = GroupNorm(affine=affine)
    assert norm.groups == 32
    assert norm.cost(Shape.of("8x8x64")) == Cost(parameters=learned, kept=8 * 8 * 64)
