"""3x3 convolutions in fewer products: what they come to, and that networks train with them as with torch's own."""

from __future__ import annotations

import sys
from copy import deepcopy
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neocog import Network
from neocog.initialise import initialise
from neocog.layers import conv
from neocog.torch_engine import winograd
from neocog.torch_engine.device import threads
from neocog.torch_engine.faster import faster
from neocog.torch_engine.inference import InferenceModule
from neocog.torch_engine.module import build
from neocog.torch_engine.team import openmp
from neocog.torch_engine.trainer import TorchTrainer
from neocog.torch_engine.winograd import FilteredConv2d, WeightGradient, backwards, forwards, parts, weight_gradient

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="torch's threads are GNU OpenMP's on Linux alone")


def test_torch_lends_its_threads():
    assert openmp() is not None


B = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]], dtype=torch.float64)
A = torch.tensor([[1.0, 0], [1, 1], [1, -1], [0, 1]], dtype=torch.float64)
G = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=torch.float64)
SIZES = [
    (64, 64, 7, 9, 3),
    (32, 96, 6, 6, 2),
    (96, 32, 2, 1, 2),
    (128, 64, 13, 14, 5),
    (32, 32, 1, 1, 1),
    (64, 32, 15, 40, 1),
]
"""Channels in and out, height, width, images."""
TYPES = [torch.bfloat16, torch.float32]
LAST_ROUNDING = {torch.bfloat16: 2**-8, torch.float32: 2e-6}


def rounded(x, kind):
    return x.float().to(kind).double()


def made(c, k, h, w, n, kind):
    generator = torch.Generator().manual_seed(c + h)
    x, dy = (torch.randn(n, m, h, w, generator=generator).to(kind) for m in (c, k))
    weight, bias = torch.randn(k, c, 3, 3, generator=generator) / (9 * c) ** 0.5, torch.randn(k, generator=generator)
    return [t.to(memory_format=torch.channels_last) for t in (x, dy, weight)] + [bias]


def tiles(x, before, size):
    """Squares two places apart, with zeros around the volume."""
    ends = [(2 * -(-n // 2) + size - 2 - n - before) for n in (x.shape[3], x.shape[2])]
    return F.pad(x.double(), (before, ends[0], before, ends[1])).unfold(2, size, 2).unfold(3, size, 2)


def convolved(x, weight):
    """By the equation, with what is multiplied rounded to the type of x."""
    v, u = rounded(B @ tiles(x, 1, 4) @ B.T, x.dtype), rounded(G @ weight.double() @ G.T, x.dtype)
    y = A.T @ torch.einsum("ncijpq,kcpq->nkijpq", v, u) @ A
    n, k, rows, columns = y.shape[:4]
    return y.permute(0, 1, 2, 4, 3, 5).reshape(n, k, 2 * rows, 2 * columns)[:, :, : x.shape[2], : x.shape[3]]


def outputs(sizes, x, weight, bias=None, **settings):
    convolve = forwards(*sizes[:4], parts(x.dtype))
    return convolve(x, convolve.transformed(weight), convolve.ending(bias, **settings))


def input_gradient(sizes, dy, weight):
    convolve = backwards(*sizes[:4], parts(dy.dtype))
    return convolve(dy, convolve.transformed(weight), convolve.ending())


def of_weights(sizes, x, dy):
    return weight_gradient(len(x), *sizes[:4], parts(x.dtype))(x, dy)


def far(got, expected):
    return float((got.double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_are_those_of_the_equation_on_rounded_transforms(sizes, kind):
    x, _, weight, bias = made(*sizes, kind)
    y = outputs(sizes, x, weight, bias)
    expected = convolved(x, weight) + bias.view(-1, 1, 1)
    assert y.dtype is kind
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert far(y, expected) < LAST_ROUNDING[kind]
    assert torch.equal(outputs(sizes, x, weight, bias, relu=True), y.relu())
    assert far(expected, F.conv2d(x.double(), weight.double(), bias.double(), padding=1)) < 6 * LAST_ROUNDING[kind]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_gradients_are_the_transposes(sizes, kind):
    x, dy, weight, _ = made(*sizes, kind)
    turned = weight.flip(2, 3).transpose(0, 1)
    assert far(input_gradient(sizes, dy, weight), convolved(dy, turned)) < LAST_ROUNDING[kind]
    v, d = rounded(B @ tiles(x, 1, 4) @ B.T, kind), rounded(A @ tiles(dy, 0, 2) @ A.T, kind)
    expected = G.T @ torch.einsum("ncijpq,nkijpq->kcpq", v, d) @ G
    got = of_weights(sizes, x, dy)
    assert got.shape == weight.shape
    assert got.stride() == weight.stride()
    assert far(got, expected) < 1e-4
    real = torch.nn.grad.conv2d_weight(x.double(), weight.shape, dy.double(), padding=1)
    assert far(got, real) < 8 * LAST_ROUNDING[kind]


@pytest.mark.parametrize(("kind", "most"), [(torch.bfloat16, 2.5), (torch.float32, 3.0)], ids=str)
def test_errors_are_those_of_torchs_convolution_or_a_little_more(kind, most):
    """He's weights and normal inputs, errors in norm: in bfloat16 what is multiplied is rounded once more."""
    sizes = (64, 64, 12, 12, 4)
    x, dy, weight, _ = made(*sizes, kind)
    half = weight.to(kind)
    ours = outputs(sizes, x, weight), input_gradient(sizes, dy, weight), of_weights(sizes, x, dy)
    settings = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False])
    theirs = F.conv2d(x, half, padding=1), *torch.ops.aten.convolution_backward(dy, x, half, *settings)[:2]
    exact = (
        F.conv2d(x.double(), weight.double(), padding=1),
        *(torch.ops.aten.convolution_backward(dy.double(), x.double(), weight.double(), *settings)[:2]),
    )
    ratios = [float((a - c).norm() / (b - c).norm()) for a, b, c in zip(ours, theirs, exact, strict=True)]
    assert max(ratios) < most, ratios


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("sizes", [(64, 96, 20, 12, 5), (32, 256, 6, 6, 1)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(sizes, kind):
    x, dy, weight, bias = made(*sizes, kind)
    found = []
    for count in (1, 2, 3, 5):
        with threads(count):
            results = outputs(sizes, x, weight, bias), input_gradient(sizes, dy, weight)
            found.append([*results, of_weights(sizes, x, dy)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("width", range(1, 10))
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_gradient_is_over_each_tile_once_and_no_more_than_what_is_held(monkeypatch, width, kind, count):
    for rows_held, images in product(range(1, 15), range(1, 5)):
        held = rows_held * 64 * 64 * -(-width // 2) // parts(kind)
        monkeypatch.setattr(conv, "HELD_BYTES", (held, held))
        gradient = weight_gradient(images, 32, 96, 12, width, parts(kind))
        tasks, joining = gradient._tasks(images, count)
        assert tasks[:, :, 4].max() <= gradient.shape.sets
        seen = np.zeros((images, 6, gradient.shape.panels), int)
        for n, m, top, bottom, sets, k0, k1, _, begins, goes_on in tasks.reshape(-1, 10):
            seen[n:m, top:bottom, k0:k1] += 1
            assert sets == (m - n) * (bottom - top) * gradient.shape.sets_in_row
            assert (begins + goes_on == 1) == (sets > 0)
        assert (seen == 1).all()
        apart = {(task[0, 7], *task[0, 5:7]) for task in tasks}
        assert len(apart) == len(tasks)  # nobody else adds to what a task adds to
        assert {part for part, *_ in apart} == set(range(joining[0, 2]))
        assert tasks[:, 0, 8].all()
        assert not tasks[:, 1:, 8].any()


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_gradient_held_in_parts_is_the_same_sum(monkeypatch, kind):
    sizes = (32, 32, 12, 12, 7)
    x, dy, _, _ = made(*sizes, kind)
    whole = weight_gradient(7, *sizes[:4], parts(kind))
    monkeypatch.setattr(conv, "HELD_BYTES", (1, 1))  # one row of tiles at a time
    by_rows = weight_gradient(7, *sizes[:4], parts(kind))
    assert [made._tasks(7, 2)[1][0, 2] for made in (whole, by_rows)] == [1, 42]
    assert far(by_rows(x, dy), whole(x, dy).double()) < 1e-5
    monkeypatch.setattr(conv, "SUMS_BYTES", 1)
    assert far(WeightGradient(by_rows.shape)(x, dy), whole(x, dy).double()) < 1e-5


# -- in networks -------------------------------------------------------------------------------------------------

NET = Network.parse(
    "INPUT[12x8x3] -> CONV3-32 -> RELU -> CONV3-64 -> BN -> RELU -> POOL2 -> CONV3-32(BIAS=no) -> RELU -> GAP -> FC4"
)
RNG = np.random.default_rng(5)
X, LABELS = RNG.standard_normal((8, 3, 12, 8)).astype(np.float32), RNG.integers(0, 4, 8)


@pytest.fixture
def possible(monkeypatch):
    """As on a processor that gains by it: the kernels run on any."""
    monkeypatch.setattr(winograd, "possible", lambda dtype: True)


def trainer(**settings):
    given = {"loss": "cross-entropy", "device": "cpu", "dtype": "bfloat16", "batch_size": 8} | settings
    return TorchTrainer(NET, initialise(NET, 1), **given)


def types(made):
    return [type(made.module.get_submodule(name)) for name in ("conv1", "conv2", "conv3")]


def test_a_network_trains_as_with_torchs_own_convolutions(possible, monkeypatch):
    ours, single = trainer(), trainer(dtype="float32")
    monkeypatch.setattr(winograd, "possible", lambda dtype: False)
    theirs, exact = trainer(), trainer(dtype="float32")
    assert types(ours) == types(single) == [nn.Conv2d, FilteredConv2d, FilteredConv2d]  # the first has three channels
    assert types(theirs) == types(exact) == [nn.Conv2d] * 3
    all_of_them = ours, single, theirs, exact
    losses = np.array([[made.step(X, LABELS, lr=0.05)[0] for _ in range(20)] for made in all_of_them])
    assert losses[0, -1] < 0.7 * losses[0, 0]
    far_off = abs(losses - losses[3]).max(axis=1)
    assert far_off[0] < 3 * max(far_off[2], 0.01)
    assert far_off[1] < 1e-3
    assert ours.weights().keys() == theirs.weights().keys()


@pytest.mark.parametrize(
    "settings", [{"cuts": (4,)}, {"accumulate": 2}, {"ema": 0.9}, {"dtype": "float32", "ema": 0.9}], ids=str
)
def test_with_other_ways_to_make_a_step(possible, settings):
    made = trainer(**settings)
    losses = [made.step(X, LABELS, lr=0.05)[0] for _ in range(10)]
    assert losses[-1] < losses[0]
    scores = made.scores(X)
    again = trainer(**settings)
    again.restore(made.state())
    assert np.array_equal(again.scores(X), scores)
    assert again.step(X, LABELS, lr=0.05) == made.step(X, LABELS, lr=0.05)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "text", [str(NET), "INPUT[10x8x32] -> CONV3-32(BIAS=no) -> BN -> RELU -> CONV3-64 -> GAP"], ids=["net", "norm"]
)
def test_predictions_are_those_of_torchs_own_convolutions(possible, monkeypatch, text, dtype):
    network = Network.parse(text)
    module = build(network, seed=3).eval()
    x = torch.randn(
        5, network.input_shape.channels, *network.input_shape.spatial, generator=torch.Generator().manual_seed(2)
    )
    single = dtype == "float32"
    exact, found = deepcopy(module).double()(x.double()).detach(), {}
    for which in (True, False):
        monkeypatch.setattr(winograd, "possible", lambda dtype, which=which: which)
        predicting = InferenceModule(module, dtype)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=not single):
            found[which] = [predicting(x[:n]).double() for n in (5, 2)]
            other = predicting(x[:, :, 1:, 2:]).double()  # not the planned size
        assert far(found[which][1], found[which][0][:2]) <= (1e-6 if single else 0)  # oneDNN's order of sums may change
        assert far(other, module(x[:, :, 1:, 2:]).double().detach()) < (1e-5 if single else 0.05)
    errors = {which: float((y[0] - exact).norm() / exact.norm()) for which, y in found.items()}
    assert 0 < errors[True] < 2.5 * errors[False]


def test_frozen_layers_keep_their_weights(possible):
    made = trainer(factors={"conv2.weight": 0.0, "conv2.bias": 0.0})
    before = made.weights()
    made.step(X, LABELS, lr=0.05)
    after = made.weights()
    assert np.array_equal(before["conv2.weight"], after["conv2.weight"])
    assert not np.array_equal(before["conv3.weight"], after["conv3.weight"])


@pytest.mark.parametrize(
    "text",
    [
        "INPUT[8x8x32] -> CONV3-32(S=2, fit=floor)",
        "INPUT[8x8x32] -> CONV3-32(D=2)",
        "INPUT[8x8x32] -> CONV3-32(P=0)",
        "INPUT[8x8x64] -> CONV3-64(G=2)",
        "INPUT[8x8x32] -> CONV5-32",
        "INPUT[8x8x32] -> CONV3-32(FLIP=yes)",
        "INPUT[8x8x48] -> CONV3-32",
        "INPUT[8x8x32] -> CONV3-40",
        "INPUT[64x32] -> CONV3-32",
        "INPUT[7x7x32] -> CONV3-32",  # 16 x 16 products instead of 9 x 49, more than half
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_convolutions_stay_as_they_are(possible, text, dtype):
    assert not replaced(text, dtype)


def replaced(text, dtype):
    network = Network.parse(text)
    node = network.nodes[-1]
    module = build(network).get_submodule(node.name)
    return faster(module, node.layer, network.input_shapes(node), dtype) is not module


def test_products_saved_are_worth_more_in_single_precision(possible):
    net = "INPUT[13x13x32] -> CONV3-32"  # 784 products for 1,521
    assert replaced(net, "float32")
    assert not replaced(net, "bfloat16")
