"""The kernel language as machine code: loops, variables, addresses and every operation, against NumPy."""

from __future__ import annotations

import ctypes
import math
from functools import partial

import numpy as np
import pytest

from neocog.native import elementary
from neocog.native.engine import aligned
from neocog.native.expressions import (
    F32,
    Access,
    Bound,
    Index,
    Type,
    bits,
    both,
    constant,
    convert,
    fma,
    largest,
    load,
    load_from,
    number,
    root,
    select,
    shuffle,
    smallest,
    splat,
    total,
)
from neocog.native.jit import Compiled, machine
from neocog.native.kernel import Function
from neocog.native.weight_gradient import transposed

LANES = machine().lanes
V = Type("f32", LANES)
RNG = np.random.default_rng(3)


def run(functions, name, arrays, numbers=()):
    arguments = [ctypes.c_void_p(a.ctypes.data) for a in arrays] + [ctypes.c_int64(n) for n in numbers]
    Compiled(functions).call(name, arguments)


def vectors(count, values=None):
    array = aligned(count * LANES)
    array[:] = RNG.standard_normal(count * LANES) if values is None else values
    return array


def applied(operation, *arrays):
    """What an operation on vectors gives, for each vector of the arrays."""
    f = Function("apply", [*(f"x{k}" for k in range(len(arrays))), "y"])
    with f.loop(len(arrays[0]) // LANES) as i:
        f.store("y", i, operation(f, *(f.let(load(V, f"x{k}", i)) for k in range(len(arrays)))))
    y = aligned(len(arrays[0]))
    run([f], "apply", [*arrays, y])
    return y


def test_a_variable_carries_its_value_through_nested_loops():
    f = Function("nested", ["x", "y"])
    outer = f.variable(constant(V, 0.0))
    with f.loop(3) as i:
        inner = f.variable(constant(V, 1.0))
        with f.loop(4) as j:
            f.set(inner, inner.value + load(V, "x", i * 4 + j))
        f.set(outer, outer.value + inner.value * inner.value)
    f.store("y", Index(), outer.value)
    x, y = vectors(12), aligned(LANES)
    run([f], "nested", [x, y])
    np.testing.assert_allclose(y, ((1 + x.reshape(3, 4, LANES).sum(1)) ** 2).sum(0), rtol=1e-5)


@pytest.mark.parametrize(("first", "last", "expected"), [(0, 3, 3), (2, 3, 1), (3, 3, 0), (5, 2, 0)])
def test_a_loop_whose_ends_are_numbers_may_not_run_at_all(first, last, expected):
    f = Function("count", ["y"], ["first", "last"])
    sum_ = f.variable(constant(F32, 0.0))
    with f.loop(f.number("last"), f.number("first")):
        f.set(sum_, sum_.value + constant(F32, 1.0))
    f.store("y", Index(), sum_.value)
    y = aligned(1)
    run([f], "count", [y], [first, last])
    assert y[0] == expected


def test_a_loop_may_end_at_the_nearer_of_two_places():
    f = Function("clip", ["y"], ["n"])
    with f.loop(Bound("min", (f.number("n"), Index(4))), Bound("max", (Index(1), f.number("n") - 3))) as i:
        f.store("y", i, constant(F32, 1.0))
    for n, expected in ((2, [0, 1, 0, 0, 0, 0]), (5, [0, 0, 1, 1, 0, 0]), (9, [0, 0, 0, 0, 0, 0])):
        y = aligned(6)
        run([f], "clip", [y], [n])
        np.testing.assert_array_equal(y, expected)


def test_a_function_calls_another_on_parts_of_its_buffers():
    inner = Function("double", ["a", "b"])
    inner.store("b", Index(), load(V, "a", Index()) + load(V, "a", Index()))
    outer = Function("outer", ["m"])
    outer.call(inner, {"a": Access("m", Index(LANES)), "b": Access("m", Index(3 * LANES))})
    m = vectors(4)
    expected = 2 * m[LANES : 2 * LANES]
    run([inner, outer], "outer", [m])
    np.testing.assert_array_equal(m[3 * LANES :], expected)


def test_arithmetic_lane_by_lane():
    a, b, c = vectors(3), vectors(3), vectors(3)
    np.testing.assert_array_equal(applied(lambda f, x, y: x - y, a, b), a - b)
    np.testing.assert_array_equal(applied(lambda f, x, y: x / y, a, b), a / b)
    np.testing.assert_array_equal(applied(lambda f, x, y: largest(x, y), a, b), np.maximum(a, b))
    np.testing.assert_array_equal(applied(lambda f, x, y: smallest(x, y), a, b), np.minimum(a, b))
    np.testing.assert_array_equal(applied(lambda f, x: root(x), a * a), np.sqrt(a * a))
    once = (a.astype(np.float64) * b + c).astype(np.float32)
    np.testing.assert_array_equal(applied(lambda f, x, y, z: fma(x, y, z), a, b, c), once)
    between = applied(lambda f, x, y, z: select(both(x > y, y > z), x, z), a, b, c)
    np.testing.assert_array_equal(between, np.where((a > b) & (b > c), a, c))


def test_a_number_that_is_none_stays_one_through_relu():
    x = vectors(1)
    x[0] = np.nan
    y = applied(lambda f, v: largest(constant(V, 0.0), v), x)
    assert np.isnan(y[0])
    np.testing.assert_array_equal(y[1:], np.maximum(x[1:], 0))


def test_kinds_convert_and_bits_are_read_as_another_kind():
    x = vectors(2, np.linspace(-9.5, 9.5, 2 * LANES))
    np.testing.assert_array_equal(applied(lambda f, v: convert(convert(v, "i32"), "f32"), x), np.trunc(x))
    doubled = applied(lambda f, v: bits(bits(v, "i32") + constant(Type("i32", LANES), 1 << 23), "f32"), x)
    np.testing.assert_array_equal(doubled, 2 * x)  # one more in the exponent
    bytes_ = applied(lambda f, v: convert(convert(convert(convert(v, "i32"), "i8"), "i32"), "f32"), x)
    np.testing.assert_array_equal(bytes_, np.trunc(x))


def test_lanes_are_spread_picked_and_added_up():
    x = vectors(2)
    f = Function("lanes", ["x", "y"])
    first, second = (f.let(load(V, "x", Index(k))) for k in range(2))
    f.store("y", Index(0), shuffle(first, second, [2 * LANES - 1 - k for k in range(LANES)]))
    f.store("y", Index(1), splat(load(F32, "x", Index(3)), LANES))
    f.store("y", Index(2), load_from(V, "x", Index(1)))
    f.store("y", Index(3 * LANES), total(first))
    y = aligned(4 * LANES)
    run([f], "lanes", [x, y])
    np.testing.assert_array_equal(y[:LANES], x[::-1][:LANES])
    np.testing.assert_array_equal(y[LANES : 2 * LANES], np.full(LANES, x[3]))
    np.testing.assert_array_equal(y[2 * LANES : 3 * LANES], x[1 : LANES + 1])
    np.testing.assert_allclose(y[3 * LANES], x[:LANES].sum(), rtol=1e-5)


def test_whole_numbers_are_moved_compared_bit_by_bit_and_made_of_loop_counters():
    W = Type("i32", LANES)
    f = Function("bits", ["x", "y"])
    x = RNG.integers(-(2**31), 2**31, 3 * LANES).astype(np.int32)
    with f.loop(3) as i:
        mixed = load(W, "x", i) ^ splat(number(i * 5 + 7), LANES)
        f.store("y", i, (mixed >> 3) * constant(W, 3))
    held, y = aligned(3 * LANES).view(np.int32), aligned(3 * LANES).view(np.uint32)
    held[:] = x
    run([f], "bits", [held, y])
    numbers = np.repeat(np.arange(3, dtype=np.uint32) * 5 + 7, LANES)
    np.testing.assert_array_equal(y, ((x.view(np.uint32) ^ numbers) >> 3) * np.uint32(3))


def test_a_square_of_vectors_is_transposed():
    x, y = vectors(LANES), aligned(LANES * LANES)
    f = Function("transpose", ["x", "y"])
    rows = transposed(f, [f.let(load(V, "x", Index(k))) for k in range(LANES)])
    for k, row in enumerate(rows):
        f.store("y", Index(k), row)
    run([f], "transpose", [x, y])
    np.testing.assert_array_equal(y.reshape(LANES, LANES), x.reshape(LANES, LANES).T)


@pytest.mark.parametrize(
    ("function", "exact", "points"),
    [
        (elementary.exp, np.exp, np.linspace(-87, 88, 1000)),
        (elementary.log, np.log, np.exp(np.linspace(-80, 80, 1000))),
        (elementary.log, np.log, np.linspace(0.5, 2, 1000)),
        (elementary.log1p, np.log1p, np.exp(np.linspace(-80, 80, 1000))),
        (elementary.log1p, np.log1p, np.linspace(0, 1, 1000)),
        (elementary.tanh, np.tanh, np.linspace(-10, 10, 1000)),
        (elementary.tanh, np.tanh, np.linspace(-0.7, 0.7, 1001)),
        (elementary.erf, np.vectorize(math.erf), np.linspace(-6, 6, 1001)),
        *(
            (partial(elementary.power, exponent=p), lambda x, p=p: x**p, np.exp(np.linspace(-4, 4, 1000)))
            for p in (-1, -0.75, -0.5, -0.25, 0, 0.3, -0.6)
        ),
        (elementary.sigmoid, lambda x: 1 / (1 + np.exp(-x)), np.linspace(-30, 30, 1000)),
    ],
)
def test_elementary_functions_are_right_to_the_last_digits(function, exact, points):
    x = aligned(-(-len(points) // LANES) * LANES)
    x[: len(points)] = points
    x[len(points) :] = points[0]
    expected = exact(x.astype(np.float64))
    np.testing.assert_allclose(applied(function, x), expected, rtol=3e-7, atol=1e-30)


def test_a_logarithm_shows_what_is_not_finite():
    x = vectors(1, 1.0)
    x[:2] = np.inf, np.nan
    y = applied(elementary.log, x)
    assert y[0] == np.inf
    assert np.isnan(y[1])
    assert not y[2:].any()


def test_whole_numbers_add_and_divide_exactly():
    i, j = Index(0, (("i", 1),)), Index(3, (("j", 2),))
    assert (i * 4 + j * 2 - 6) // 2 == Index(0, (("i", 2), ("j", 2)))
    assert i - i == Index()
    with pytest.raises(AssertionError):
        _ = (i * 4 + 1) // 2
