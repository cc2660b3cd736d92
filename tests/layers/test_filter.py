"""Fixed filters do to each channel what `neocog.signal` does to an image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog import Network, signal
from neocog.layer import Cost, Shape
from neocog.layers import Filter


@pytest.mark.parametrize("name", signal.FILTERS)
def test_each_channel_is_filtered_by_itself(name):  # fact C13
    layer, x = Filter(name), np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    y, _ = layer.forward({"kernel": layer.parameters(Shape.of("5x6x3"))["kernel"].value}, x)
    for image in range(2):
        for channel in range(3):
            expected = signal.cross_correlate(x[image, channel], signal.FILTERS[name], "same")
            assert_allclose(y[image, channel], expected, rtol=1e-12, atol=1e-12)


def test_slopes_point_to_the_right_and_downwards():  # fact C13
    ramp = np.arange(5.0) * np.ones((5, 1))
    for name, x in (("sobel-x", ramp), ("sobel-y", ramp.T)):
        y, _ = Filter(name, padding=(0,)).forward({"kernel": signal.FILTERS[name]}, x[None, None])
        assert_array_equal(y, np.full((1, 1, 3, 3), 8.0))


def test_nothing_is_trained():  # fact C13
    layer, x = Filter("edge"), Shape.of("8x8x3")
    assert layer.cost(x) == Cost(parameters=0, connections=9 * 192, macs=9 * 192)
    assert not layer.parameters(x)["kernel"].trainable


def test_a_name_with_a_dash_reads_back():
    net = Network.parse("INPUT[8x8x1] -> filter(Sobel-X) -> FC2")
    assert str(net) == "INPUT[8x8x1] -> FILTER(sobel-x) -> FC2"
    assert Network.parse(str(net)) == net
