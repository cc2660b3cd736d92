"""Filters and their gradients are shown as the layer uses them: with its table, and flipped where it flips."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explain.conftest import NETS, images_for, model_of

from neocog.errors import NeocogError
from neocog.explain import picture


def test_a_layer_with_a_table_shows_a_kernel_for_each_pair():
    shown = picture(model_of(NETS["lenet 1998"]), "filters", layers=("conv2",))
    assert shown.document["shape"] == [3, 4, 3, 3]
    assert "3 of 3 filters, a row for each filter, its first 4 input maps" in shown.lines()[0]


@pytest.mark.parametrize("flip", ["no", "yes"])
def test_the_gradient_is_that_of_the_kernel_shown(flip):
    model = model_of(f"INPUT[6x7x3] -> CONV3-4(FLIP={flip}) -> RELU -> GAP -> FC2")
    (image,) = images_for(model, 1)
    shown = picture(model, "filter-gradients", [image], target="1")
    kernel = torch.from_numpy(model.weights["conv1.weight"].copy())
    kernel = (kernel.flip(2, 3) if flip == "yes" else kernel).requires_grad_()
    x = torch.from_numpy(model.preprocessing(image[None]))
    y = torch.nn.functional.conv2d(x, kernel, torch.from_numpy(model.weights["conv1.bias"]), padding=1)
    score = y.relu().mean((2, 3))[0] @ torch.from_numpy(model.weights["fc1.weight"][1])
    (gradient,) = torch.autograd.grad(score, kernel)
    largest = shown.document["largest"]
    assert largest["d score / d weights, image 1"] == pytest.approx(float(gradient.abs().max()), rel=1e-4)
    steepest = int(gradient.abs().sum((2, 3)).max(1).values.argmax())
    tiles = shown.strips[1].panels[0].pixels
    framed = tiles.shape[0]
    side, left = framed - 2, steepest * (framed + 1) + 1
    tile = tiles[1 : 1 + side, left : left + side].astype(float)
    expected = 127.5 + 127.5 * gradient[steepest].movedim(0, -1).numpy() / float(gradient.abs().max())
    step = side // 3
    np.testing.assert_allclose(tile[step // 2 :: step, step // 2 :: step], expected, atol=0.6)


def test_colours_are_for_what_reads_the_image_only():
    deeper = picture(model_of("INPUT[8x8x1] -> CONV3-3 -> RELU -> CONV3-4 -> GAP -> FC2"), "filters", layers=("conv2",))
    assert deeper.strips[0].panels[0].bar is not None, "three maps are no colours"
    assert "a row for each filter" in deeper.lines()[0]


def test_without_filters_there_is_nothing_to_show():
    with pytest.raises(NeocogError, match="no layer of this network has filters"):
        picture(model_of("INPUT[8x8x1] -> FC4 -> RELU -> FC2"), "filters")
