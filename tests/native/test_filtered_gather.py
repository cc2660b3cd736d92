"""Gathers through 3x3 windows in fewer products: what plain ones compute, whatever the sizes."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from test_halves import rounded, step
from test_networks import assert_agrees, assert_same_bits, far

from neocog import Network
from neocog.native import filtered_gather as room
from neocog.native.filtered_gather import FilteredGather
from neocog.native.gather import Gather, Source
from neocog.native.jit import Machine, machine
from neocog.native.program import Program
from neocog.reference import forward

NETS = {
    "even": "INPUT[8x8x3] -> CONV3-5 -> RELU -> CONV3-7 -> FC4",
    "odd": "INPUT[7x9x2] -> CONV3-5 -> TANH -> CONV3-6(P=0) -> FC4",
    "narrow": "INPUT[21x15x1] -> CONV3-3 -> RELU -> CONV3-4 -> FC4",
    "pooled": "INPUT[12x10x3] -> CONV3-6 -> RELU -> POOL2 -> CONV3-6(BIAS=no) -> RELU -> GAP -> FC4",
    "groups": "INPUT[18x17x4] -> CONV3-6(G=2) -> RELU -> CONV3-6(G=3) -> FC4",
    "residual": "INPUT[9x8x3] -> CONV3-4 -> BN -> RELU -> ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID] -> RELU"
    " -> GAP -> FC4",
    "read twice": "INPUT[16x16x4] -> CONV3-4 -> CONCAT[CONV3-3 -> RELU | CONV3-5] -> FC4",
}
GATHER = Gather(Source(16, 16, 18, 324), 16, 16, 64, 64, 1, 1, (-1, 0, 1), (-1, 0, 1))


@pytest.fixture
def always(monkeypatch):
    """Have every gather filtered that can be."""
    monkeypatch.setattr(room, "WORTH", float("inf"))


def forms(network, **how):
    program = Program(machine(), network, "cross-entropy", **how)
    calls = [call for segment in program.segments for call in segment.calls]
    return [call.function.form for call in calls if call.function.form]


@pytest.mark.parametrize(("net", "lanes"), [*zip(NETS, cycle([16, 4, 8]), strict=False), ("odd", 16), ("residual", 8)])
def test_scores_and_gradients_are_the_reference_s(net, lanes, always):
    network = Network.parse(NETS[net])
    assert "filtered gather" in forms(network)
    assert_agrees(network, 21, threads=2, on=Machine(lanes, registers=16))


@pytest.mark.parametrize("own", [1, 1 << 14, 1 << 30])
def test_however_many_tiles_are_in_hand(own, always, monkeypatch):
    monkeypatch.setattr(room, "OWN_BYTES", own)
    monkeypatch.setattr(room, "FEWEST", 1)
    assert_agrees(Network.parse("INPUT[7x13x3] -> CONV3-5 -> RELU -> CONV3-6 -> FC4"), 18)


def test_the_number_of_threads_changes_no_bit(always):
    assert_same_bits(Network.parse(NETS["residual"]), (2, 3))


INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]], float)
KERNELS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], float)
PRODUCTS = np.array([[1, 1, 1, 0], [0, 1, -1, 1]], float)


def by_equation(x, w):
    """The paper's equation for padded x (N, C, H, W), with operands that are rounded once transformed."""
    outputs, (height, width) = len(w), (size - 2 for size in x.shape[2:])
    x = np.pad(x, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)))
    y = np.zeros((len(x), outputs, height + height % 2, width + width % 2))
    kernels = rounded(KERNELS @ w @ KERNELS.T)
    for i in range(0, height, 2):
        for j in range(0, width, 2):
            tiles = rounded(INPUTS @ x[:, :, i : i + 4, j : j + 4] @ INPUTS.T)
            y[:, :, i : i + 2, j : j + 2] = PRODUCTS @ np.einsum("ncuv,kcuv->nkuv", tiles, kernels) @ PRODUCTS.T
    return y[:, :, :height, :width]


@pytest.mark.parametrize(("sizes", "lanes"), [("6x8x4", 4), ("5x7x3", 8), ("5x7x3", 16)])
def test_in_bfloat16_operands_are_rounded_once_transformed(sizes, lanes, always):
    network = Network.parse(f"INPUT[{sizes}] -> CONV3-32(P=0) -> FC4")
    scores, _, weights, x, _ = step(network, on=Machine(lanes, registers=16))
    y = by_equation(x.astype(float), weights["conv1.weight"].astype(float))
    y += weights["conv1.bias"].reshape(-1, 1, 1)
    last = weights["fc1.weight"].reshape(4, -1)  # too few outputs for rounding to be worth it
    assert far(scores, y.reshape(len(x), -1) @ last.T + weights["fc1.bias"]) < 2e-4


@pytest.mark.parametrize("net", ["odd", "pooled", "residual"])
def test_in_bfloat16_it_is_near_the_reference(net, always):
    network = Network.parse(NETS[net])
    scores, gradients, weights, x, _ = step(network)
    assert far(scores, forward(network, weights, x).output) < 0.03
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_many_channels_are_worth_it_and_few_are_not():
    assert FilteredGather(GATHER, pairs=False).worth()
    assert FilteredGather(GATHER, pairs=True).worth()
    few, many = (replace(GATHER, channels_in=inputs, channels_out=outputs) for inputs, outputs in ((3, 4), (256, 257)))
    assert not FilteredGather(few, pairs=False).worth()
    assert not FilteredGather(many, pairs=False).worth()  # too many weights


@pytest.mark.parametrize(
    "text",
    [
        "CONV5-64",
        "CONV3-64(S=2, P=1, fit=floor)",
        "CONV3-64(D=2)",
        "CONV1x3-64",
        "CONV1-64",
    ],
)
def test_other_windows_are_gathered_plainly(text):
    assert "filtered gather" not in forms(Network.parse(f"INPUT[16x16x64] -> {text} -> GAP -> FC4"))
