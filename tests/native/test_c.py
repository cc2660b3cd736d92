"""Kernels and whole steps printed as C: compiled and run under sanitizers, they do what the native engine does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import networks
from sanitized import Buffer, assert_same, main_for, needs_compiler, run, run_steps
from test_networks import batch_for, drawn, far
from test_tiles import needs_tiles

from neocog import Network, zoo
from neocog.losses import default_loss
from neocog.native import elementary
from neocog.native.c import affine, c_functions
from neocog.native.c_calls import PURPOSES, purpose
from neocog.native.c_driver import RATES
from neocog.native.c_network import c_program
from neocog.native.engine import NativeNetwork
from neocog.native.expressions import (
    F32,
    I8,
    I32,
    Access,
    Bound,
    Index,
    Type,
    bits,
    both,
    constant,
    convert,
    dot,
    floor,
    fma,
    gather,
    largest,
    load,
    load_from,
    neighbours,
    pair,
    root,
    select,
    shuffle,
    smallest,
    splat,
    total,
)
from neocog.native.jit import Machine, machine
from neocog.native.kernel import Function
from neocog.native.optimizers import OPTIMIZERS
from neocog.native.program import Program
from neocog.native.single import SinglePlan
from neocog.native.step_calls import step_calls

RESIDUAL = "ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID | CONV1-4] -> RELU"
NETS = {
    "clipped": (16, "INPUT[8x8x1] -> CONV3-3 -> RELU -> CONV5-4(P=0) -> RELU -> POOL2 -> FC20 -> TANH -> FC4", "hinge"),
    "strided": (
        8,
        "fit=floor INPUT[9x10x3] -> CONV3-20(S=2) -> LRELU(0.1) -> CONV3-18(D=2, P=2) -> TANH -> FC5",
        "nll",
    ),
    "grouped": (4, "INPUT[6x6x4] -> CONV3-8(G=2) -> POOL2 -> SCALEDTANH -> CONV3-33 -> RELU -> FC3", "sigmoid"),
    "residual": (
        4,
        f"INPUT[6x6x2] -> CONV3-4 -> {RESIDUAL} -> POOL3(S=1) -> AVGPOOL2 -> L2POOL2(S=1) -> FC3",
        "squared",
    ),
    "wide": (4, "INPUT[31x30x1] -> CONV3-2 -> BN -> RELU -> CONV3-2(S=2, P=1, fit=floor) -> BN -> FC3", "hinge"),
    "shortcut": (4, "INPUT[6x6x2] -> CONV3-4 -> SHORTCUT(K=7) -> SIGMOID -> FC3", "cross-entropy"),
    "table": (4, 'INPUT[6x6x2] -> SUBSAMPLE2 -> CONV3-3(TABLE="0; 1; 0 1") -> TANH -> FC84 -> RBF4', "map"),
    "chance": (8, "INPUT[6x6x3] -> CONV3-4 -> DROPOUT(0.4) -> STOPOOL2 -> LRN -> FC3", "cross-entropy"),
    "alone": (4, "INPUT[6x6x4] -> CONV3-4 -> GELU -> GROUPNORM(G=2) -> LCN3 -> PRELU -> FC3 -> SOFTMAX", "nll"),
    "rare": (4, "INPUT[6x5x2] -> DECONV3-3(S=2) -> AUX(0.3)[GAP -> FC3] -> LOCAL3-2 -> SILU -> FC3", "hinge"),
    "sizes": (4, "INPUT[6x5x2] -> FILTER(gaussian) -> CONV3-3 -> UPSAMPLE2 -> SPP(1,2) -> FC3", "squared"),
    "tiles": (
        16,
        "INPUT[8x6x35] -> CONV3-33 -> RELU -> CONV3-40(D=2) -> RELU -> POOL2 -> CONV2-24(P=0) -> FC20 -> RELU -> FC3",
        "cross-entropy",
    ),
    "filtered": (8, "INPUT[9x12x16] -> CONV3-19 -> RELU -> CONV3-17 -> RELU -> POOL3 -> FC3", "cross-entropy"),
    "pairs": (8, "INPUT[4x4x8] -> CONV3-9 -> RELU -> CONV3-8 -> RELU -> FC3", "cross-entropy"),
}
"""The number of lanes that each is made for, and its loss."""
OPTIMIZER = {"table": "adamw", "clipped": "nesterov"}


def functions_of(net: str) -> dict[str, Function]:
    lanes, text, loss = NETS[net]
    on = Machine(lanes, registers=16, tiles=net == "tiles")
    program = Program(on, Network.parse(text), loss, pairs=net in ("pairs", "tiles"))
    step_calls(program, OPTIMIZER.get(net, "momentum"))
    return program.functions


LONG = ("strided", "rare", "clipped")
"""Those whose C takes longest to compile, and whose kinds of kernels others have too."""


@needs_compiler
@pytest.mark.parametrize(
    "net",
    [pytest.param(net, marks=[needs_tiles] * (net == "tiles") + [pytest.mark.slow] * (net in LONG)) for net in NETS],
)
def test_every_kernel_of_a_network_gives_the_same_numbers_as_c(net, tmp_path):
    assert_same(tmp_path, functions_of(net))


def test_these_networks_have_kernels_of_every_kind():
    functions = [function for net in NETS for function in functions_of(net).values()]
    assert {purpose(function) for function in functions} >= set(PURPOSES.values())
    assert all(purpose(function) for function in functions)
    gathers = {"gather", "clipped gather", "filtered gather", "tiled gather"}
    forms = {*gathers, "lanes hold images", "lanes hold channels", "tiled weights"}
    assert {function.form for function in functions} == {"", *forms}


@needs_compiler
@pytest.mark.parametrize("net", ["clipped", "grouped"])
def test_every_kernel_of_the_plan_for_one_image_gives_the_same_numbers_as_c(net, tmp_path):
    lanes, text, loss = NETS[net]
    network, on = Network.parse(text), Machine(lanes, registers=16)
    plan = SinglePlan(on, network, Program(on, network, loss).regions)
    assert_same(tmp_path, plan.functions | {"single": plan.function()})


# -- every operation ---------------------------------------------------------------------------------------------------

LANES = 8
V, W = Type("f32", LANES), Type("i32", LANES)


def operations() -> dict[str, Function]:
    """One function for each operation, of one, two or three vectors."""
    made = {
        "subtract": lambda f, x, y: x - y,
        "divide": lambda f, x, y: x / y,
        "associate": lambda f, x, y: x - (y - (x + y)) * (x - y),
        "greatest": lambda f, x, y: largest(x, smallest(y, constant(V, 0.25))),
        "between": lambda f, x, y: select(both(x > y, constant(V, -0.0) > y), x, y),
        "fuse": lambda f, x, y: fma(x, y, constant(V, 1 / 3)),
        "round_down": lambda f, x, y: floor(x * constant(V, 1e3)),
        "truncate": lambda f, x, y: convert(convert(x * constant(V, 9.5), "i32"), "f32"),
        "narrow": lambda f, x, y: convert(convert(convert(convert(x, "i32"), "i8"), "i32"), "f32"),
        "double_it": lambda f, x, y: bits(bits(x, "i32") + constant(W, 1 << 23), "f32"),
        "wrap_around": lambda f, x, y: convert(bits(x, "i32") * constant(W, 2**31 - 1) - bits(y, "i32"), "f32"),
        "halve": lambda f, x, y: convert(bits(x, "i32") / constant(W, 1 << 23), "f32"),
        "mask": lambda f, x, y: convert(convert(x > y, "i32"), "f32"),
        "compare_bytes": lambda f, x, y: select(convert(bits(x, "i32"), "i8") > convert(bits(y, "i32"), "i8"), x, y),
        "choose_whole": lambda f, x, y: convert(select(x > y, bits(x, "i32"), constant(W, 7)), "f32"),
        "reverse": lambda f, x, y: shuffle(x, y, [2 * LANES - 1 - k for k in range(LANES)]),
        "add_up": lambda f, x, y: splat(total(x * y), LANES),
        "square_root": lambda f, x, y: root(x * x + y * y),
        "multiply_pairs": lambda f, x, y: dot(pair(x, y), pair(y, x), x),
        "pair_up": lambda f, x, y: bits(shuffle(neighbours(x), neighbours(y), range(LANES)), "f32"),
        "infinite": lambda f, x, y: largest(x, constant(V, -np.inf)),
        "exponential": lambda f, x, y: elementary.exp(f, x),
        "logarithm": lambda f, x, y: elementary.log(f, x * x + constant(V, 0.5)),
        "hyperbolic": lambda f, x, y: elementary.tanh(f, x),
    }
    return {name: _applied(name, operation) for name, operation in made.items()}


def _applied(name, operation) -> Function:
    f = Function(name, ("x", "y", "z"))
    with f.loop(3) as i:
        f.store("z", i, operation(f, f.let(load(V, "x", i)), load(V, "y", i)))
    return f


def single_numbers() -> Function:
    """Operations on numbers that are no vectors, and buffers that are read as several types."""
    f = Function("single_numbers", ("x", "small", "whole", "z"))
    a, b = f.let(load(F32, "x", Index(0))), f.let(load(F32, "x", Index(1)))
    values = [
        *(a + b, a - b, a * b, a / b, fma(a, b, a), floor(a), largest(a, b), smallest(a, b)),
        select(both(a > b, b > constant(F32, 0.0)), a, b),
        bits(bits(a, "i32") + constant(I32, 1 << 22), "f32"),
        convert(convert(load(I8, "small", Index(3)), "i32") * load(I32, "whole", Index(2)), "f32"),
        convert(convert(a > b, "i32"), "f32"),
    ]
    for k, value in enumerate(values):
        f.store("z", Index(k), value)
    f.store("z", Index(2), load(V, "x", Index(1)) + load_from(V, "x", Index(3)))
    f.store("small", Index(1), convert(convert(load(V, "x", Index(2)), "i32"), "i8"))
    larger = load(V, "x", Index(0)) > load(V, "x", Index(1))
    chosen = select(larger, *(load(Type("i8", LANES), "small", Index(k)) for k in (0, 2)))
    f.store("small", Index(3), chosen)
    return f


def scattered() -> Function:
    """Numbers that begin at places which are known only when they are read."""
    f = Function("scattered", ("x", "among", "z"))
    places = both(bits(load(V, "x", Index(0)), "i32"), constant(W, 15))
    f.store("z", Index(0), gather("among", places) + splat(load(I32, "among", Index(4)), LANES))
    return f


def loops() -> dict[str, Function]:
    """Loops inside loops, loops whose ends are numbers or the nearer of two, and a function that calls another."""
    inner = Function("inner", ("a", "b"))
    inner.store("b", Index(), load(V, "a", Index()) + load(V, "a", Index()))
    outer = Function("outer", ("m",))
    with outer.loop(2) as i:
        outer.call(inner, {"a": Access("m", i * LANES), "b": Access("m", i * (2 * LANES) + 3 * LANES)})
    nested = Function("nested", ("x", "y"), ("first", "last"))
    sum_ = nested.variable(constant(V, 0.0))
    with nested.loop(nested.number("last"), nested.number("first")) as i:
        product = nested.variable(constant(V, 1.0))
        nested.prefetch(V, "x", i * 4 - 2)
        near = Bound("min", (Index(4), nested.number("last") + 1, i * -1 + 5))
        with nested.loop(near, Bound("max", (Index(1) - i, Index()))) as j:
            nested.set(product, product.value * load(V, "x", i * 4 + j - 2))
        nested.set(sum_, sum_.value + product.value)
    nested.store("y", Index(), sum_.value)
    return {f.name: f for f in (inner, outer, nested)}


@needs_compiler
def test_every_operation_and_statement_gives_the_same_numbers_as_c(tmp_path):
    assert_same(tmp_path, operations() | {f.name: f for f in (single_numbers(), scattered())} | loops())


@needs_compiler
def test_a_function_that_reads_beyond_its_buffer_is_caught(tmp_path):
    f = Function("beyond", ("x", "y"))
    f.store("y", Index(), load(V, "x", Index(2)))
    short, long_ = (Buffer(np.random.default_rng(0), 0, LANES * 4 * count, {"f32"}) for count in (2, 3))
    text = "#define _POSIX_C_SOURCE 200809L\n" + c_functions([f]) + main_for({"beyond": f})
    run(tmp_path, text, long_.given() + long_.given())
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        run(tmp_path, text, short.given() + long_.given())


def test_a_function_reads_as_a_person_would_write_it():
    f = Function("scale", ("x", "w", "y"))
    factor = f.let(splat(load(F32, "w", Index(2)), 4))
    with f.loop(8) as i, f.loop(3) as j:
        f.store("y", i * 3 + j, load(Type("f32", 4), "x", i * 5 + j - 1) * factor)
    assert c_functions([f]).endswith(
        """
void scale(const f32x4 *restrict x, const float *restrict w, f32x4 *restrict y) {
    f32x4 v1 = splat_f32x4(w[2]);
    for (int64_t i2 = 0; i2 < 8; i2++) {
        for (int64_t i3 = 0; i3 < 3; i3++) {
            y[i2 * 3 + i3] = x[i2 * 5 + i3 - 1] * v1;
        }
    }
}
"""
    )


def test_whole_numbers_are_written_as_sums():
    i, j = Index(0, (("i", 1),)), Index(0, (("j", 1),))
    expected = {"0": Index(), "-3": Index(-3), "-i + 4": Index(4) - i, "i * 6 - j * 2 - 1": i * 6 - j * 2 - 1}
    assert {affine(index): index for index in expected.values()} == expected


# -- whole networks ----------------------------------------------------------------------------------------------------

SETTINGS = 0.05, 0.9, 0.01


def assert_steps_agree(
    folder,
    network: Network,
    count: int,
    on: Machine,
    *,
    seed: int = 0,
    optimizer: str = "nesterov",
    dtype: str = "float32",
) -> None:
    """Scores, losses, hits and weights of two steps are those of the native engine."""
    x, labels = batch_for(network, count, seed)
    loss = default_loss(network).name
    engine = NativeNetwork(network, 1, optimizer, loss, dtype, on=on)
    engine.write_weights(drawn(network, seed))
    program = Program(on, network, loss, pairs=dtype == "bfloat16")
    weights = engine.weights[: program.parameters].copy()
    expected = [engine.score(x).ravel()]
    for _ in range(2):
        mean, hits = engine.train(x, labels, *SETTINGS)
        expected.append(np.array([mean * count, hits]))
    expected.append(engine.weights[: program.parameters])
    found = run_steps(folder, c_program(program, optimizer), weights, x, labels, SETTINGS, 2)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", ["lenet5-relu", "lenet5"])
def test_whole_steps_of_lenet_in_c_are_those_of_the_engine(name, tmp_path):
    assert_steps_agree(tmp_path, zoo(name), 5 * machine().lanes // 2 + 1, machine())


@needs_compiler
@pytest.mark.parametrize(
    "optimizer", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("sgd", "momentum"))) for name in OPTIMIZERS]
)
def test_a_batch_in_several_groups_of_blocks_makes_the_same_steps(optimizer, tmp_path):
    text = "INPUT[6x6x2] -> CONV3-9(FLIP=yes) -> RELU -> POOL2 -> FC4"
    assert_steps_agree(tmp_path, Network.parse(text), 4 * 19 - 2, Machine(4, 16), optimizer=optimizer)


@needs_compiler
def test_blocks_that_wait_for_each_other_make_the_same_steps(tmp_path):
    network = Network.parse(f"INPUT[6x6x2] -> CONV3-4 -> {RESIDUAL} -> GAP -> FC3")
    assert_steps_agree(tmp_path, network, 4 * 11 - 1, Machine(4, 16))


@pytest.mark.slow
@needs_compiler
def test_steps_with_tiles_are_those_without(tmp_path):
    _, text, loss = NETS["tiles"]
    network, (x, labels) = Network.parse(text), batch_for(Network.parse(text), 21, 0)
    engine = NativeNetwork(network, 1, "sgd", loss, "bfloat16", on=Machine(16, 32))
    engine.write_weights(drawn(network, 0))
    program = Program(Machine(16, 32, tiles=True), network, loss, pairs=True)
    weights = engine.weights[: program.parameters].copy()
    scores = engine.score(x).ravel()
    loss, _ = engine.train(x, labels, 1.0, 0.0, 0.0)
    found = run_steps(tmp_path, c_program(program, "sgd"), weights, x, labels, (1.0, 0.0, 0.0), 1)
    parts = np.split(found, [len(scores), len(scores) + 2])  # a few numbers round to the other neighbour
    assert far(parts[0], scores) < 5e-3
    assert far(parts[1][0], loss * len(x)) < 5e-3
    assert far(parts[2] - weights, engine.weights[: program.parameters] - weights) < 5e-3


@needs_compiler
def test_steps_on_pairs_of_bfloat16_are_the_same(tmp_path):
    assert_steps_agree(tmp_path, Network.parse(NETS["pairs"][1]), 9, Machine(4, 16), dtype="bfloat16")


def test_every_optimizer_is_given_its_numbers():
    assert set(RATES) == set(OPTIMIZERS)


@pytest.mark.slow
@needs_compiler
@settings(max_examples=25, derandomize=True, deadline=None)
@given(networks(), st.integers(1, 20), st.integers(0, 3))
def test_any_network_that_is_covered_runs_clean_in_c(tmp_path_factory, network, count, seed):
    drawing = Program(Machine(4, 16), network, default_loss(network).name).drawing
    assume(not drawing)  # what is drawn is for the caller to give
    assert_steps_agree(tmp_path_factory.mktemp("step"), network, count, Machine(4, 16), seed=seed)


def test_the_file_says_what_lies_where_and_what_was_chosen():
    text = c_program(Program(Machine(8, 16), Network.parse(NETS["clipped"][1]), "hinge"))
    assert "// INPUT[8x8x1] -> CONV3-3 -> RELU -> CONV5-4(P=0)" in text
    assert "// y: conv1.y" in text
    assert "// w: conv2.weight" in text
    assert "clipped gather; " in text
