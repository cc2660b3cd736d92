"""Layers that move values about: sums and stacks of branches, vectors, and the input itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from neocog.errors import ShapeError, SpellingError
from neocog.layer import Shape
from neocog.layers import Add, Concat, Flatten, FullyConnected, Input


def test_concat_stacks_channels_and_gives_each_branch_its_part_back():
    a, b = np.zeros((1, 1, 2, 2)), np.ones((1, 3, 2, 2))
    y, cache = Concat().forward({}, a, b)
    assert_array_equal(y[0, :, 0, 0], [0, 1, 1, 1])
    dxs, _ = Concat().backward({}, cache, np.arange(16.0).reshape(1, 4, 2, 2))
    assert [dx.shape for dx in dxs] == [a.shape, b.shape]
    assert dxs[1][0, 0, 0, 0] == 4


def test_add_gives_every_branch_the_whole_gradient():
    x = np.ones((1, 1, 2))
    y, cache = Add().forward({}, x, 2 * x, 4 * x)
    assert_array_equal(y, 7 * x)
    dxs, _ = Add().backward({}, cache, 5 * x)
    assert len(dxs) == 3
    for dx in dxs:
        assert_array_equal(dx, 5 * x)


@pytest.mark.parametrize(
    ("branches", "fix"),
    [
        (("28x28x64", "28x28x32"), "CONV1-64 in the branch that gives 28x28x32"),
        (("14x14x128", "28x28x64"), "CONV1-128(S=2, fit=floor) in the branch that gives 28x28x64"),
        (("13x13x8", "28x28x8"), "strides and paddings"),
    ],
)
def test_branches_that_cannot_be_added_are_named_with_a_projection_that_would_help(branches, fix):
    with pytest.raises(ShapeError) as refusal:
        Add().output_shape(*map(Shape.of, branches))
    text = str(refusal.value)
    assert "ADD needs branches of one shape" in text
    assert "received: " + " | ".join(branches) in text
    assert fix in text


def test_vectors_run_over_channels_then_rows_then_columns():
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    y, _ = Flatten().forward({}, x)
    assert y.shape == (1, 12, 1, 1)
    assert_array_equal(y.ravel(), np.arange(12))
    picks_last = {"weight": np.eye(12)[11:], "bias": np.zeros(1)}
    assert FullyConnected(1).forward(picks_last, x)[0].item() == x[0, 1, 1, 2]


@pytest.mark.parametrize("shape", [Shape((0, 5), 1), Shape((5, 5), 0), Shape((2, 3, 4), 5), Shape((), 3)])
def test_an_input_without_extent_or_with_another_rank_is_refused(shape):
    with pytest.raises(SpellingError, match="INPUT is HxWxC or LxC"):
        Input(shape)
