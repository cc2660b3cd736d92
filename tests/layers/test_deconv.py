"""Transposed convolution by hand, and as the transpose of a convolution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog import Network
from neocog.layer import Cost, Shape
from neocog.layers import Conv, Deconv, Upsample


def test_every_input_adds_its_multiple_of_the_kernel():
    params = {"weight": np.array([[[1.0, 10.0, 100.0]]]), "bias": np.array([0.5])}
    y, _ = Deconv((3,), 1, stride=(2,), padding=(0,)).forward(params, np.array([[[2.0, 3.0]]]))
    assert_array_equal(y, [[[2.5, 20.5, 203.5, 30.5, 300.5]]])  # 2, 20, 200 + 3, 30, 300
    cut, _ = Deconv((3,), 1, stride=(2,), padding=(1,)).forward(params, np.array([[[2.0, 3.0]]]))
    assert_array_equal(cut, y[:, :, 1:-1])


@pytest.mark.parametrize("options", [{}, {"stride": (2,), "padding": (1,)}, {"stride": (2, 1), "dilation": (2,)}])
def test_it_is_the_gradient_of_a_convolution(options):
    rng = np.random.default_rng(0)
    conv, deconv = Conv((3,), 4, bias=False, **options), Deconv((3,), 2, bias=False, **options)
    params = {"weight": rng.normal(size=(4, 2, 3, 3))}  # K, C of the one are C, K of the other
    dy, cache = conv.forward(params, rng.normal(size=(2, 2, 7, 5)))
    (dx,), _ = conv.backward(params, cache, dy)
    y, _ = deconv.forward(params, dy)
    assert_allclose(y, dx, rtol=1e-12, atol=1e-12)


def test_a_kernel_of_triangles_interpolates():
    """The start that Long et al. give their upsampling: F=4, S=2, P=1 and weights 1/4, 3/4, 3/4, 1/4."""
    line = np.array([0.25, 0.75, 0.75, 0.25])
    x = np.random.default_rng(0).normal(size=(1, 1, 5, 6))
    y, _ = Deconv((4,), 1, stride=(2,), padding=(1,), bias=False).forward(
        {"weight": np.outer(line, line)[None, None]}, x
    )
    bilinear, _ = Upsample((2,), mode="bilinear").forward({}, x)
    assert_allclose(y[:, :, 1:-1, 1:-1], bilinear[:, :, 1:-1, 1:-1], rtol=1e-12)


def test_generator_of_dcgan_grows_from_four_to_sixty_four():
    net = Network.parse("INPUT[4x4x1024] -> DECONV4-512(S=2, P=1) -> DECONV4-256(S=2, P=1) -> DECONV4-128(S=2, P=1)")
    assert [str(row.output) for row in net.plan().rows][1:] == ["8x8x512", "16x16x256", "32x32x128"]


def test_cost_counts_the_kernel_once_for_each_input():
    weights = 4 * 4 * 3 * 21
    cost = Deconv((4,), 21, stride=(2,), padding=(1,)).cost(Shape.of("5x5x3"))
    assert cost == Cost(weights + 21, weights * 25 + 10 * 10 * 21, weights * 25, kept=75)
