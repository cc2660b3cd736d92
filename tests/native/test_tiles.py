"""Products by the processor's tiles: exactly what single precision gives for operands that were rounded.

What needs the instruction is skipped where a processor lacks it, or where Linux does not give leave to use it; that the
kernels are right is then shown by `test_c.py`, where C functions take the place of tiles.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_halves import rounded, step
from test_networks import batch_for, drawn, far
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from neocog import Network, ShapeError
from neocog.native import jit
from neocog.native.engine import NativeNetwork, aligned
from neocog.native.expressions import Index, Type
from neocog.native.jit import Compiled, Machine, machine
from neocog.native.kernel import TILE_ROWS, Function
from neocog.native.llvm import module
from neocog.native.program import Call, Program
from neocog.native.tiled_gather import TiledGather
from neocog.native.tiled_weights import TiledWeightGradient

needs_tiles = pytest.mark.skipif(not machine().tiles, reason="the processor has no tiles (AMX), or Linux keeps them")
W, S = Type("i32", TILE_ROWS), Type("f32", TILE_ROWS)


def product_of_tiles(rows: int) -> Function:
    """c += a b, with so many rows of a and c."""
    f = Function("product", ("a", "b", "c"))
    f.shape_tiles([rows, rows, TILE_ROWS])
    f.load_tile(0, S, "c", Index(), 2)
    f.load_tile(1, W, "a", Index(), 1)
    f.load_tile(2, W, "b", Index(), 1)
    f.multiply_tiles(0, 1, 2)
    f.store_tile(0, S, "c", Index(), 2)
    return f


@needs_tiles
@pytest.mark.parametrize("rows", [1, 5, 16])
def test_a_product_of_tiles_is_one_of_matrices(rows):
    rng = np.random.default_rng(rows)
    a, b, c = (aligned(TILE_ROWS * TILE_ROWS * n) for n in (1, 1, 2))
    numbers = [rng.integers(-9, 10, (TILE_ROWS, 2 * TILE_ROWS)).astype(np.float32) for _ in range(2)]  # sums are exact
    for memory, n in zip((a, b), numbers, strict=True):
        memory.view(np.uint16)[:] = (n.view(np.uint32) >> 16).ravel()
    c[:] = 7
    code = Compiled([product_of_tiles(rows)])
    code.call("product", [jit.ctypes.c_void_p(memory.ctypes.data) for memory in (a, b, c)])
    left, pairs = numbers[0][:rows], numbers[1].reshape(TILE_ROWS, TILE_ROWS, 2)
    expected = np.full((2 * TILE_ROWS, TILE_ROWS), 7.0)
    expected[: 2 * rows : 2] += left @ pairs.transpose(0, 2, 1).reshape(2 * TILE_ROWS, TILE_ROWS)
    np.testing.assert_array_equal(c.reshape(expected.shape), expected)


def test_a_function_sets_tiles_up_and_gives_them_back():
    text = module([product_of_tiles(3)])
    body = text[text.index("define") :]
    assert body.index("ldtilecfg") < body.index("tileloadd64") < body.index("tdpbf16ps") < body.index("tilerelease")
    assert "i64 128)" in body  # every second row of c


def test_without_leave_there_are_no_tiles(monkeypatch):
    monkeypatch.setattr(jit, "_may_use_tiles", lambda: False)
    assert not machine.__wrapped__().tiles


def forms(network: Network, on: Machine, pairs: bool = True) -> list[str]:
    program = Program(on, network, "cross-entropy", pairs=pairs)
    return [call.function.form for call in (*program.forward, *program.backward) if isinstance(call, Call)]


@pytest.mark.parametrize(
    ("text", "tiled"),
    [
        ("INPUT[16x16x32] -> CONV3-32 -> RELU -> CONV3-32 -> RELU -> FC10", True),
        ("INPUT[28x28x1] -> CONV5-6 -> RELU -> GAP", False),
        ("INPUT[8x8x32] -> CONV3-32(G=4) -> GAP -> FC2", False),
    ],
)
def test_sizes_decide_what_runs_by_tiles(text, tiled):
    network, on = Network.parse(text), Machine(16, 32, tiles=True)
    found = forms(network, on)
    assert {"tiled gather", "tiled weights"} <= set(found) if tiled else not any("tiled" in form for form in found)
    assert not any("tiled" in form for form in forms(network, on, pairs=False))
    assert not any("tiled" in form for form in forms(network, Machine(16, 32)))


@pytest.fixture(scope="module")
def always():
    """Tiles for whatever they can do, worth it or not."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (TiledGather, TiledWeightGradient):
            patch.setattr(kind, "worth", lambda self: True)
        yield


@st.composite
def convolutions(draw: st.DrawFn):
    """Height and width, then channels before, between and after two convolutions, and options of each."""
    size = draw(st.tuples(st.integers(5, 11), st.integers(5, 11)))
    channels = draw(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(2, 40)))
    options = [
        (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1)))
        for _ in range(2)
    ]
    return size, channels, options


@needs_tiles
@settings(max_examples=12, derandomize=True, deadline=None)
@given(convolutions())
def test_any_convolution_multiplies_rounded_operands(always, drawn_sizes):
    (height, width), (before, between, after), options = drawn_sizes
    tokens = [f"CONV{k}-{n}(S={s}, D={d}, P={p})" for n, (k, s, d, p) in zip((between, after), options, strict=True)]
    network = Network.parse(f"fit=floor INPUT[{height}x{width}x{before}] -> {' -> '.join(tokens)} -> GAP")
    try:
        _ = network.shapes
    except ShapeError:
        assume(False)
    _, gradients, weights, x, labels = step(network)
    kernels = [torch.from_numpy(rounded(weights[f"conv{k}.weight"])) for k in (1, 2)]
    biases = [torch.from_numpy(weights[f"conv{k}.bias"]).double() for k in (1, 2)]
    settings_ = [{"stride": s, "dilation": d, "padding": p} for _, s, d, p in options]
    inputs = [torch.from_numpy(rounded(x))]
    inputs.append(functional.conv2d(inputs[0], kernels[0], biases[0], **settings_[0]).float().bfloat16().double())
    y = functional.conv2d(inputs[1], kernels[1], biases[1], **settings_[1])
    scores = y.mean((2, 3)).requires_grad_()
    functional.cross_entropy(scores, torch.from_numpy(labels)).backward()
    g = (scores.grad[:, :, None, None] / (y.shape[2] * y.shape[3])).expand(y.shape)
    expected = {"conv2.bias": g.sum((0, 2, 3))}
    g = torch.from_numpy(rounded(g))
    expected["conv2.weight"] = conv2d_weight(inputs[1], kernels[1].shape, g, **settings_[1])
    g = conv2d_input(inputs[1].shape, kernels[1], g, **settings_[1])
    expected["conv1.bias"] = g.sum((0, 2, 3))
    expected["conv1.weight"] = conv2d_weight(inputs[0], kernels[0].shape, torch.from_numpy(rounded(g)), **settings_[0])
    for name, gradient in expected.items():
        off = np.linalg.norm(gradients[name] - gradient.numpy())  # some operands round to the other neighbour
        assert off < 4e-3 * np.linalg.norm(gradient) + 1e-7, name


@needs_tiles
@pytest.mark.parametrize(
    "text",
    [
        "INPUT[12x12x33] -> CONV5-33 -> RELU -> POOL2 -> CONV3-40 -> POOL3 -> TANH -> FC16 -> RELU -> FC5",
        "INPUT[50x24] -> CONV5-32 -> RELU -> POOL2 -> CONV5-32 -> RELU -> POOL5 -> FC64 -> RELU -> FC10",
        "INPUT[8x8x32] -> CONV3-32 -> ADD[CONV3-32(BIAS=no) -> BN -> RELU | ID | CONV1-32] -> RELU -> FC10",
    ],
)
def test_networks_give_what_they_give_without_tiles(text):
    network = Network.parse(text)
    assert "tiled gather" in forms(network, machine())
    scores, gradients, *_ = step(network)
    other_scores, others, *_ = step(network, on=Machine(16, 32))
    assert far(scores, other_scores) < 1e-3
    for name, gradient in gradients.items():
        assert far(gradient, others[name]) < 0.02, name


@needs_tiles
def test_the_number_of_threads_changes_no_bit_of_what_tiles_give():
    text = "INPUT[8x8x20] -> CONV3-48 -> ADD[CONV3-48 -> BN | ID] -> RELU -> POOL2 -> FC32 -> RELU -> FC5"
    network = Network.parse(text)
    weights, (x, labels) = drawn(network, 3), batch_for(network, 150, 3)
    found = []
    for threads in (1, 2, 3, 5):
        compiled = NativeNetwork(network, threads, "nesterov", dtype="bfloat16")
        compiled.write_weights(weights)
        for _ in range(2):
            compiled.train(x, labels, 0.1, 0.9, 0.0)
        found.append(compiled.weights.copy())
        compiled.close()
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@needs_tiles
def test_what_the_scratch_held_before_changes_nothing():
    network = Network.parse("fit=floor INPUT[9x7x17] -> CONV3-19 -> RELU -> CONV3-21(S=2, P=0) -> RELU -> FC24 -> FC3")
    assert {"tiled gather", "tiled weights"} <= set(forms(network, machine()))
    weights, (x, labels) = drawn(network, 3), batch_for(network, 40, 3)
    found = []
    for before in (0.0, np.nan):
        compiled = NativeNetwork(network, 1, "sgd", dtype="bfloat16")
        compiled.write_weights(weights)
        compiled.memory.kept["scratch"][:] = before
        found.append(compiled.score(x))
        compiled.memory.kept["scratch"][:] = before
        compiled.train(x, labels, 1.0, 0.0, 0.0)
        found.append(compiled.weights.copy())
        compiled.close()
    assert np.isfinite(found[0]).all()
    for k in (0, 1):
        np.testing.assert_array_equal(found[k], found[k + 2])
