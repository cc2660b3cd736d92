"""Convolution and correlation as mathematics defines them: lengths, flipping, complex numbers, filters, im2col."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog import NeocogError, ShapeError
from neocog.signal import FILTERS, auto_correlate, convolve, cross_correlate, im2col

RNG = np.random.default_rng(0)


def complex_array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def test_worked_example() -> None:  # fact C1
    assert_array_equal(cross_correlate([1, 2, 3, 4], [1, 0, -1]), [-2, -2])
    assert_array_equal(convolve([1, 2, 3, 4], [1, 0, -1]), [2, 2])


@pytest.mark.parametrize("shapes", [((9,), (3,)), ((6, 7), (3, 2)), ((5, 4, 6), (2, 3, 3))])
@pytest.mark.parametrize("mode", ["narrow", "wide"])
def test_convolution_is_cross_correlation_with_the_flipped_kernel(  # fact C1
    shapes: tuple[tuple[int, ...], tuple[int, ...]], mode: str
) -> None:
    x, w = (RNG.standard_normal(shape) for shape in shapes)
    assert_allclose(convolve(x, w, mode), cross_correlate(x, np.flip(w), mode))
    assert not np.allclose(convolve(x, w, mode), cross_correlate(x, w, mode))


@pytest.mark.parametrize("mode", ["narrow", "wide"])
def test_agrees_with_numpy_in_one_dimension(mode: str) -> None:
    x, w = complex_array(9), complex_array(4)
    name = {"narrow": "valid", "wide": "full"}[mode]
    assert_allclose(convolve(x, w, mode), np.convolve(x, w, name))
    assert_allclose(cross_correlate(x, w, mode), np.conj(np.correlate(x, w, name)))


def test_complex_cross_correlation_conjugates_its_first_argument() -> None:  # fact C1
    x, w = complex_array(5, 6), complex_array(2, 3)
    expected = sum(np.conj(x[1 + u, 2 + v]) * w[u, v] for u in range(2) for v in range(3))
    assert_allclose(cross_correlate(x, w)[1, 2], expected)
    assert_allclose(convolve(x, w), cross_correlate(x.conj(), np.flip(w)))


@pytest.mark.parametrize(("mode", "length"), [("narrow", 10 - 3 + 1), ("same", 10), ("wide", 10 + 3 - 1)])
def test_lengths(mode: str, length: int) -> None:  # fact C2
    x, w = RNG.standard_normal(10), RNG.standard_normal(3)
    assert convolve(x, w, mode).shape == (length,)
    assert cross_correlate(np.outer(x, x), np.outer(w, w), mode).shape == (length, length)


def test_modes_are_parts_of_the_wide_one() -> None:  # fact C2
    x, w = RNG.standard_normal(10), RNG.standard_normal(5)
    wide = convolve(x, w, "wide")
    assert_allclose(convolve(x, w, "same"), wide[2:-2])
    assert_allclose(convolve(x, w, "narrow"), wide[4:-4])


def test_moving_average_and_differences() -> None:  # fact C2
    x = np.array([3.0, 6.0, 9.0, 3.0])
    assert_allclose(convolve(x, np.ones(3) / 3), [6, 6])
    assert_allclose(cross_correlate(x, [-1, 0, 1]), [6, -3])


def test_convolution_commutes_when_nothing_is_cut_off() -> None:
    x, w = complex_array(4, 5), complex_array(3, 2)
    assert_allclose(convolve(x, w, "wide"), convolve(w, x, "wide"))


def test_auto_correlation_peaks_at_no_shift_and_mirrors_into_its_conjugate() -> None:  # fact C1
    x = complex_array(6)
    y = auto_correlate(x)
    assert_allclose(y[5], np.sum(np.abs(x) ** 2))
    assert np.abs(y).argmax() == 5
    assert_allclose(y, y[::-1].conj())
    noisy = np.sin(np.arange(200) * 2 * np.pi / 20) + 0.5 * RNG.standard_normal(200)
    assert auto_correlate(noisy)[199 + 10 : 199 + 31].argmax() == pytest.approx(10, abs=2)  # its period is 20


def test_mistakes_are_explained() -> None:
    with pytest.raises(NeocogError, match="there is no such mode"):
        convolve([1, 2, 3], [1], "valid")
    with pytest.raises(ShapeError, match="odd kernel"):
        convolve([1, 2, 3], [1, 1], "same")
    with pytest.raises(ShapeError, match="fits inside"):
        convolve([1], [1, 1])
    with pytest.raises(ShapeError, match="1, 2 or 3 axes"):
        convolve([[1, 2]], [1])
    with pytest.raises(ShapeError, match="do not tile"):
        im2col(np.zeros((1, 7, 7)), 3, 3)


@pytest.mark.parametrize("name", ["mean", "gaussian", "sharpen"])
def test_smoothing_and_sharpening_keep_a_constant_image(name: str) -> None:  # fact C13
    assert_allclose(cross_correlate(np.full((5, 5), 3.0), FILTERS[name]), 3.0)


@pytest.mark.parametrize("name", ["edge", "sobel-x", "sobel-y"])
def test_edge_filters_see_nothing_in_a_constant_image(name: str) -> None:  # fact C13
    assert_allclose(cross_correlate(np.full((5, 5), 3.0), FILTERS[name]), 0.0, atol=1e-12)


def test_sobel_filters_point_right_and_down() -> None:  # fact C13
    to_the_right = np.tile([0.0, 0.0, 1.0, 1.0], (4, 1))
    assert_array_equal(cross_correlate(to_the_right, FILTERS["sobel-x"]), [[4, 4], [4, 4]])
    assert_array_equal(cross_correlate(to_the_right, FILTERS["sobel-y"]), 0)
    assert_array_equal(cross_correlate(to_the_right.T, FILTERS["sobel-y"]), [[4, 4], [4, 4]])


def test_blur_spreads_a_point_and_sharpening_raises_it() -> None:  # fact C13
    point = np.zeros((3, 3))
    point[1, 1] = 16.0
    assert_array_equal(cross_correlate(point, FILTERS["gaussian"], "same"), [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert cross_correlate(point, FILTERS["sharpen"])[0, 0] == 80.0
    assert cross_correlate(point, FILTERS["edge"])[0, 0] == 128.0


def test_im2col_turns_a_layer_into_one_product() -> None:  # fact C8
    x, w = RNG.standard_normal((3, 7, 7)), RNG.standard_normal((4, 3, 3, 3))
    product = (w.reshape(4, -1) @ im2col(x, kernel=3, stride=2, padding=1)).reshape(4, 4, 4)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1)])
    for k, i, j in np.ndindex(product.shape):
        assert_allclose(product[k, i, j], np.sum(padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w[k]))


def test_im2col_of_alexnets_first_layer() -> None:  # fact C8
    columns = im2col(np.zeros((3, 227, 227), np.float32), kernel=11, stride=4)
    assert columns.shape == (363, 3025)
    assert (np.zeros((96, 363), np.float32) @ columns).shape == (96, 3025)
    assert 7 < columns.size / (227 * 227 * 3) < 7.2  # what overlap costs in memory
