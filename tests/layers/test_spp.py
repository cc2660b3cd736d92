"""Spatial pyramid pooling by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from neocog import Network
from neocog.layer import Shape
from neocog.layers import SpatialPyramid


def test_levels_then_channels_then_bins_by_rows():  # fact P4
    x = np.stack([np.arange(16.0).reshape(4, 4), -np.arange(16.0).reshape(4, 4)])[None]  # (1, 2, 4, 4)
    y, _ = SpatialPyramid((2, 1)).forward({}, x)
    assert_array_equal(y.ravel(), [5, 7, 13, 15, 0, -2, -8, -10, 15, 0])


def test_bins_share_rows_where_the_size_does_not_divide():  # fact P4: three values in two bins share the middle one
    y, cache = SpatialPyramid((2,)).forward({}, np.array([[[1.0, 5.0, 2.0]]]))
    assert_array_equal(y.ravel(), [5, 5])
    (dx,), _ = SpatialPyramid((2,)).backward({}, cache, np.array([[[3.0], [4.0]]]))
    assert_array_equal(dx.ravel(), [0, 7, 0])


@pytest.mark.parametrize(("size", "bins"), [(7, 3), (12, 8), (12, 4), (5, 9), (1, 6), (13, 13)])
def test_connections_are_the_values_of_all_bins(size, bins):
    """The formula has no bins: those that the forward pass looks at are counted here."""
    x = Shape((size,), 2)
    ends = [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]
    assert SpatialPyramid((bins,)).cost(x).connections == 2 * sum(end - start for start, end in ends)


@pytest.mark.parametrize("size", ["13x13x256", "10x14x256", "1x3x256"])
def test_length_depends_on_levels_and_channels_alone(size):  # fact P4: D * sum of n*n
    assert SpatialPyramid((6, 3, 2, 1)).output_shape(Shape.of(size)) == Shape.of(f"1x1x{256 * 50}")


def test_a_network_reads_levels_with_and_without_blanks():
    net = Network.parse("INPUT[9x7x2] -> SPP(4,2,1) -> FC3")
    assert str(net) == "INPUT[9x7x2] -> SPP(4, 2, 1) -> FC3"
    assert Network.parse(str(net)) == net
