"""The battery is worth nothing unless it fails on wrong layers: each layer here is wrong in one way.

For each the checks that fail are named exactly: those meant to catch it fail, all others still pass.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from naive_counts import counts
from tokens import shapes_of
from torch import nn

from neocog import Network, reference
from neocog.check import Comparison, Finding, check_network, layer_checks
from neocog.layer import Activation, Footprint, Layer
from neocog.layers._slide import slide
from neocog.layers.add import Add
from neocog.layers.avgpool import AvgPool
from neocog.layers.batchnorm import BatchNorm
from neocog.layers.conv import Conv
from neocog.layers.deconv import Deconv
from neocog.layers.dropout import Dropout
from neocog.layers.lcn import LocalContrastNorm
from neocog.layers.lrn import LocalResponseNorm
from neocog.layers.pool import MaxPool
from neocog.layers.relu import ReLU
from neocog.layers.stopool import StochasticPool
from neocog.layers.subsample import Subsample
from neocog.layers.upsample import Upsample
from neocog.network import Step

GRADIENTS = {"gradients-autograd", "gradients-finite"}


class WrongSize(MaxPool):
    def output_shape(self, *inputs):
        shape = super().output_shape(*inputs)
        return replace(shape, spatial=tuple(n + 1 for n in shape.spatial))


class UnpaddedInTorch(Conv):
    def module(self, *inputs):
        return nn.Conv2d(inputs[0].channels, self.out_channels, self.kernel_size * 2)


class ForgetsBiasesInCost(Conv):
    def cost(self, *inputs):
        cost = super().cost(*inputs)
        return replace(cost, parameters=cost.parameters - self.out_channels)


class DeclaresBiasFixed(Conv):
    def parameters(self, *inputs):
        declared = super().parameters(*inputs)
        return declared | {"bias": replace(declared["bias"], trainable=False)}


class BiasNotTrainedInTorch(Conv):
    def module(self, *inputs):
        module = super().module(*inputs)
        module.bias.requires_grad_(False)
        return module


class OffByAPadding(Conv):
    def forward(self, params, *xs, rng=None):
        return super().forward(params, *(np.roll(x, 1, axis=-1) for x in xs), rng=rng)

    def backward(self, params, cache, dy):
        (dx,), grads = super().backward(params, cache, dy)
        return (np.roll(dx, -1, axis=-1),), grads


class OffByRounding(Conv):
    def forward(self, params, *xs, rng=None):
        y, cache = super().forward(params, *xs, rng=rng)
        return y * (1 + 1e-9), cache


class BackwardWithoutFlip(Conv):
    """The input gradient of S3 equation 13: the kernel is turned once too often."""

    def backward(self, params, cache, dy):
        shape, window, views, weight = cache
        (dx, *_), _ = super().backward(params, (shape, window, views, weight[..., ::-1, ::-1]), dy)
        _, grads = super().backward(params, cache, dy)
        return (dx,), grads


class AveragesBiasGradient(Conv):
    def backward(self, params, cache, dy):
        dxs, grads = super().backward(params, cache, dy)
        return dxs, grads | {"bias": dy.mean(axis=(0, 2, 3))}


class AveragesGradientOverBatch(Conv):
    def backward(self, params, cache, dy):
        dxs, grads = super().backward(params, cache, dy)
        return dxs, grads | {"weight": grads["weight"] / len(dy)}


class ForgetsAParameter(Conv):
    def backward(self, params, cache, dy):
        dxs, grads = super().backward(params, cache, dy)
        return dxs, {"weight": grads["weight"]}


class ForgetsOverlap(AvgPool):
    """Each input gets its dy from the last window only, as if windows never overlapped."""

    def backward(self, params, cache, dy):
        shape, window, counted = cache
        dx = np.zeros(shape)
        for i, j in np.ndindex(dy.shape[2:]):
            rows = slice(i * window.stride[0], i * window.stride[0] + window.kernel[0])
            columns = slice(j * window.stride[1], j * window.stride[1] + window.kernel[1])
            dx[:, :, rows, columns] = (dy / counted)[:, :, i : i + 1, j : j + 1]
        return (dx,), {}


class RoutesToFirst(MaxPool):
    """The gradient goes to the first value of a window instead of the largest."""

    def backward(self, params, cache, dy):
        shape, window, switches = cache
        return super().backward(params, (shape, window, np.zeros_like(switches)), dy)


class ForgetsDerivative(ReLU):
    def backward(self, params, cache, dy):
        return (dy,), {}


class WindowTooSmall(LocalResponseNorm):
    def window(self, *inputs):
        return None


class WindowTooLarge(LocalResponseNorm):
    def window(self, *inputs):
        return replace_window(super().window(*inputs), kernel=5, padding=2)


class WindowMisplaced(LocalResponseNorm):
    def window(self, *inputs):
        return replace_window(super().window(*inputs), kernel=3, padding=0)


class EnlargesFromTheWrongSide(Upsample):
    """Output i is taken to see ceil(i / F) instead of floor(i / F)."""

    def window(self, *inputs):
        return replace_window(super().window(*inputs), padding=0)


class AlignsCorners(Upsample):
    """Bilinear as torch does with `align_corners=True`: another weight for nearly every value."""

    def module(self, *inputs):
        return nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True)


class TurnsItsKernel(Deconv):
    """Correlates where the transpose convolves: the kernel is the wrong way round in NumPy only."""

    def forward(self, params, *xs, rng=None):
        return super().forward(params | {"weight": params["weight"][..., ::-1, ::-1]}, *xs, rng=rng)

    def backward(self, params, cache, dy):
        dxs, grads = super().backward(params, cache, dy)
        return dxs, grads | {"weight": grads["weight"][..., ::-1, ::-1]}


def replace_window(window, **dims):
    return type(window)(**{**vars(window), **{name: (n, n) for name, n in dims.items()}})


class CallsItselfUncoupled(BatchNorm):
    couples_batch = False


class ConstantStatistics(BatchNorm):
    """The backward pass takes mean and variance for constants, in training too."""

    def backward(self, params, cache, dy):
        h, factor, mean, var, _ = cache
        return super().backward(params, (h, factor, mean, var, False), dy)


class BiasedRunningVariance(BatchNorm):
    def updated(self, params, cache):
        _, _, _, var, _ = cache
        running = super().updated(params, cache)
        keep = 1 - self.momentum
        return running | {"running_var": keep * params["running_var"] + self.momentum * var}


class ForgetsRunningMean(BatchNorm):
    def updated(self, params, cache):
        return {"running_var": super().updated(params, cache)["running_var"]}


class LeakyInTorch(ReLU):
    def module(self, *inputs):
        return nn.LeakyReLU(0.01)


class NotScaledInTraining(Dropout):
    """Kept values are not divided by 1 - p; its own gradient is right for that."""

    def forward(self, params, *xs, rng=None):
        y, mask = super().forward(params, *xs, rng=rng)
        return (y, mask) if rng is None else (y * (1 - self.probability), mask * (1 - self.probability))


class ForgetsTheMask(Dropout):
    def backward(self, params, cache, dy):
        return (dy,), {}


class DrawsEvenly(StochasticPool):
    """Any positive value of a window is as likely as any other."""

    def weights(self, x):
        return (x > 0).astype(float)

    def forward(self, params, *xs, rng=None):
        y, cache = super().forward(params, *xs, rng=rng)
        if rng is None:
            return y, cache
        (x,) = xs
        _, (weights, window, drawn) = super().forward(params, self.weights(x), rng=rng)
        return (slide(x, window) * drawn).sum(axis=(-1, -2)), (weights, window, drawn)


class DrawsNegatives(DrawsEvenly):
    """A negative value is as likely as a positive one of its size."""

    def weights(self, x):
        return np.abs(x)


class ForgetsTheDraw(StochasticPool):
    """The gradient is spread over the window, whatever was drawn."""

    def backward(self, params, cache, dy):
        x, window, share = cache
        return super().backward(params, (x, window, np.full_like(share, 0.25)), dy)


class TakesTheMeanDeviationForConstant(LocalContrastNorm):
    def backward(self, params, cache, dy):
        return LocalContrastNorm(self.size, least=1.0).backward(params, cache, dy)


class SeesOneWindow(LocalContrastNorm):
    """The deviation's own window is forgotten."""

    def window(self, *inputs):
        return replace_window(super().window(*inputs), kernel=self.size, padding=self.size // 2)


class CutsItsGradient(Activation):
    """Reference and torch make the same mistake, which only the forward pass can show."""

    op = "CUT"

    def forward(self, params, *xs, rng=None):
        return 2.0 * xs[0], None

    def backward(self, params, cache, dy):
        return (np.zeros_like(dy),), {}

    def footprint(self, run, *inputs):
        return Footprint()

    def module(self, *inputs):
        class Cut(nn.Module):
            def forward(self, x):
                return 2.0 * x.detach() + 0.0 * x

        return Cut()


class WeightsSummed(Subsample):
    """One weight for the whole layer where each map has its own."""

    def backward(self, params, cache, dy):
        dxs, grads = super().backward(params, cache, dy)
        return dxs, grads | {"weight": np.full_like(grads["weight"], grads["weight"].sum())}


class ForgetsABranch(Add):
    def backward(self, params, cache, dy):
        (first, *others), grads = super().backward(params, cache, dy)
        return (first, *(np.zeros_like(dx) for dx in others)), grads


CONV: dict[str, Any] = {"kernel_size": (3,), "out_channels": 4}
LRN: dict[str, Any] = {"size": 3, "alpha": 0.1, "region": "within"}
OVERLAPPING: dict[str, Any] = {"kernel_size": (3,), "stride": (2,)}
WRONG: list[tuple[Layer, str, set[str]]] = [
    (WrongSize(**OVERLAPPING), "7x5x2", {"shapes"}),
    (UnpaddedInTorch(**CONV), "5x6x2", {"shapes", "values", "gradients-autograd"}),
    (ForgetsBiasesInCost(**CONV), "5x6x2", {"parameters"}),
    (DeclaresBiasFixed(**CONV), "5x6x2", {"parameters"}),
    (BiasNotTrainedInTorch(**CONV), "5x6x2", {"parameters", "gradients-autograd"}),
    (OffByAPadding(**CONV), "5x6x2", {"values", "gradients-autograd", "receptive-field"}),
    (OffByRounding(**CONV), "5x6x2", {"values", "gradients-finite"}),
    (BackwardWithoutFlip(**CONV), "5x6x2", GRADIENTS),
    (AveragesBiasGradient(**CONV), "5x6x2", GRADIENTS),
    (AveragesGradientOverBatch(**CONV), "5x6x2", GRADIENTS),
    (ForgetsAParameter(**CONV), "5x6x2", GRADIENTS),
    (ForgetsOverlap(**OVERLAPPING), "7x5x2", GRADIENTS),
    (RoutesToFirst(**OVERLAPPING), "7x5x2", GRADIENTS),
    (ForgetsDerivative(), "4x3x2", GRADIENTS),
    (WindowTooSmall(**LRN), "5x6x2", {"receptive-field"}),
    (WindowTooLarge(**LRN), "5x6x2", {"receptive-field"}),
    (WindowMisplaced(**LRN), "5x6x2", {"receptive-field"}),
    (EnlargesFromTheWrongSide((2,)), "3x4x2", {"receptive-field"}),
    (AlignsCorners((2,), mode="bilinear"), "3x4x2", {"values", "gradients-autograd"}),
    (TurnsItsKernel((4,), 2, stride=(2,), padding=(1,)), "3x4x2", {"values", "gradients-autograd"}),
    (CallsItselfUncoupled(), "4x3x2", {"batch"}),
    (ConstantStatistics(), "4x3x2", GRADIENTS),
    (BiasedRunningVariance(), "4x3x2", {"buffers"}),
    (ForgetsRunningMean(), "4x3x2", {"buffers"}),
    (LeakyInTorch(), "4x3x2", {"values", "gradients-autograd"}),
    (NotScaledInTraining(), "4x3x2", {"values", "gradients-autograd"}),
    (ForgetsTheMask(), "4x3x2", GRADIENTS),
    (DrawsEvenly((2,)), "4x6x2", {"values", "gradients-autograd"}),
    (DrawsNegatives((2,)), "4x6x2", {"values", "gradients-autograd"}),
    (ForgetsTheDraw((2,)), "4x6x2", GRADIENTS),
    (TakesTheMeanDeviationForConstant(3), "6x5x2", GRADIENTS),
    (SeesOneWindow(3, least=0.5), "7x6x2", {"receptive-field"}),
    (CutsItsGradient(), "4x3x2", {"gradients-finite"}),
    (WeightsSummed((2,)), "4x6x3", GRADIENTS),
    (ForgetsABranch(), "4x3x2|4x3x2", GRADIENTS),
]


@pytest.mark.parametrize(("layer", "inputs", "caught_by"), WRONG, ids=lambda v: type(v).__name__)
def test_wrong_layer_fails_exactly_the_checks_meant_for_it(layer: Layer, inputs: str, caught_by: set[str]) -> None:
    findings = [check(layer, shapes_of(tuple(inputs.split("|")))) for check in layer_checks]
    assert {finding.check for finding in findings if not finding.ok} == caught_by


@pytest.mark.parametrize("check", layer_checks, ids=lambda check: check.name)
def test_every_check_catches_something(check: Any) -> None:
    assert any(check.name in caught_by for _, _, caught_by in WRONG)


def test_a_plain_loop_catches_wrong_connections_and_macs() -> None:
    class CountsNoPadding(Conv):
        def cost(self, *inputs):
            cost = super().cost(*inputs)
            inside = math.prod(n - 2 for n in inputs[0].spatial)
            return replace(cost, macs=cost.macs * inside // inputs[0].positions)

    (x,) = shapes_of(("5x6x2",))
    assert counts(CountsNoPadding(**CONV), x) == counts(Conv(**CONV), x)
    assert CountsNoPadding(**CONV).cost(x).macs != counts(Conv(**CONV), x)[1]


def test_an_error_that_is_no_number_is_a_failure() -> None:
    comparisons = [Comparison("good", 0.0, 1.0), Comparison("not a number", math.nan, 1.0), Comparison("so-so", 0.9, 1)]
    finding = Finding.worst("any", iter(comparisons))
    assert not finding.ok
    assert finding.detail == "not a number"


def test_a_reference_that_gives_nan_is_caught() -> None:
    class Divides(ReLU):
        def forward(self, params, *xs, rng=None):
            return np.full_like(xs[0], np.nan), xs[0] > 0

    findings = {check.name: check(Divides(), shapes_of(("4x3x2",))) for check in layer_checks}
    assert not findings["values"].ok
    assert not findings["batch"].ok


SMALL = "INPUT[6x6x2] -> CONV3-4 -> BN -> RELU -> ADD[CONV3-4 -> DROPOUT(0.5) | ID] -> POOL2 -> FC3"


def failures(network: Network) -> set[tuple[str, str]]:
    return {(row.node, row.check) for row in check_network(network) if not row.ok}


@pytest.mark.parametrize(
    "text",
    [
        SMALL,
        "INPUT[12x3] -> CONV3-4 -> TANH -> GAP -> FC2 -> BN -> SOFTMAX",
        "INPUT[8x8x3] -> CONCAT[CONV1-2 | CONV3-2 | POOL3(S=1, P=1)] -> LRN -> SUBSAMPLE2 -> FC84 -> RBF10",
        "INPUT[8x8x2] -> CONV3-3 -> PRELU",
        "INPUT[8x8x2] -> LCN3 -> CONV3-3 -> RELU -> STOPOOL2 -> FC3",
        "INPUT[8x6x2] -> FILTER(edge) -> LOCAL3-4 -> GROUPNORM(G=2) -> UPSAMPLE2 -> DECONV4-3(S=2, P=1) -> SPP(2, 1)",
    ],
)
def test_a_sound_network_passes(text: str) -> None:
    assert failures(Network.parse(text)) == set()


def test_rows_name_every_node_and_every_check() -> None:
    network = Network.parse(SMALL)
    rows = check_network(network)
    per_node = [*(check.name for check in layer_checks), "network-values", "network-gradients"]
    expected = [(node.name, check) for node in network.nodes for check in per_node]
    whole = [("network", "network-finite"), ("network", "native")]
    assert [(row.node, row.check) for row in rows] == [*expected, *whole]
    assert {row.token for row in rows if row.node == "conv1"} == {"CONV3-4"}
    training = [row for row in rows if row.check == "network-gradients" and row.node == "conv1"]
    assert "inference" in training[0].detail  # dropout draws other masks in torch, so training cannot be compared


def test_training_is_compared_where_nothing_is_random() -> None:
    network = Network.parse("INPUT[6x6x2] -> CONV3-4 -> BN -> FC3")
    wrong = replace_layer(network, "bn1", ConstantStatistics())
    assert ("bn1", "gradients-autograd") in failures(wrong)
    assert ("conv1", "network-gradients") in failures(wrong)
    assert ("network", "network-finite") in failures(wrong)


def test_a_wrong_layer_is_named_where_it_stands() -> None:
    network = Network.parse("INPUT[6x6x2] -> CONV3-4 -> RELU -> CONV3-4 -> FC3")
    found = failures(replace_layer(network, "conv2", AveragesBiasGradient(**CONV)))
    whole = {("network", "network-finite"), ("network", "native")}
    assert found == {("conv2", c) for c in (*GRADIENTS, "network-gradients")} | whole


def test_wrong_wiring_is_caught_though_every_layer_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    right = reference.backward

    def doubled(trace: reference.Trace, dy: np.ndarray, dsides: dict[str, np.ndarray]) -> Any:
        dx, grads = right(trace, dy, dsides)
        return dx, grads | {"conv1.weight": 2.0 * grads["conv1.weight"]}

    monkeypatch.setattr(reference, "backward", doubled)
    found = failures(Network.parse("INPUT[6x6x2] -> CONV3-4 -> RELU -> ADD[CONV3-4 | ID] -> FC3"))
    assert found == {("conv1", "network-gradients"), ("network", "network-finite"), ("network", "native")}


def test_a_side_output_whose_gradient_is_lost_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = reference.backward
    monkeypatch.setattr(reference, "backward", lambda trace, dy, dsides: right(trace, dy))
    found = failures(Network.parse("INPUT[6x6x2] -> CONV3-4 -> AUX[FC3] -> RELU -> FC3"))
    assert {("fc1", "network-gradients"), ("conv1", "network-gradients"), ("network", "network-finite")} <= found
    assert ("network", "native") in found


def replace_layer(network: Network, name: str, layer: Layer) -> Network:
    names = [node.name for node in network.nodes]
    return Network(tuple(Step(layer) if n == name else item for n, item in zip(names, network.chain, strict=True)))


def test_checks_leave_torch_as_they_found_it() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    check_network(Network.parse(SMALL))
    assert torch.equal(torch.rand(3), expected)
