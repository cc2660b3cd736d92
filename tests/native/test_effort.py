"""What a kernel does, counted in its text, against counts by hand and by running."""

from __future__ import annotations

import pytest

from neocog import Network
from neocog.native.effort import ROW, Counter, Effort
from neocog.native.expressions import F32, Access, Bound, Index, Type, constant, fma, load, root
from neocog.native.jit import machine
from neocog.native.kernel import Function
from neocog.native.places import kind_of
from neocog.native.program import Program

VECTOR = Type("f32", 8)


def count(f: Function, *numbers: int, also: tuple[Function, ...] = ()) -> Effort:
    return Counter({g.name: g for g in (f, *also)}).effort(f, numbers)


def test_a_loop_counts_its_body_as_often_as_it_runs():
    f = Function("f", ["x", "y"])
    with f.loop(10) as i, f.loop(3):
        value = f.let(load(VECTOR, "x", i))
        f.store("y", i, fma(value, value, root(value) + constant(VECTOR, 1.0)))
    assert count(f) == Effort(products=30, other=30, slow=30, moves=60, turns=40, bytes=2 * 10 * 32)


def test_bounds_that_depend_on_outer_loops_are_followed():
    f = Function("f", ["y"])
    with f.loop(5) as i, f.loop(Bound("min", (i + 1, Index(3)))) as j:
        f.store("y", j, constant(F32, 0.0))
    assert count(f).moves == 1 + 2 + 3 + 3 + 3
    assert count(f).bytes == 3 * 4


def test_a_value_used_twice_is_counted_once():
    f = Function("f", ["y"])
    one = load(VECTOR, "y", Index()) * constant(VECTOR, 2.0)
    f.store("y", Index(), one + one)
    assert count(f) == Effort(other=2, moves=2, bytes=32)


def test_calls_count_what_they_do_with_their_numbers():
    inner = Function("inner", ["x"], ["n"])
    with inner.loop(inner.number("n")) as i:
        inner.store("x", i, constant(F32, 0.0))
    outer = Function("outer", ["x"])
    with outer.loop(4) as k:
        outer.call(inner, {"x": Access("x", Index())}, [k * 2])
    assert count(outer, also=(inner,)).moves == 0 + 2 + 4 + 6
    assert count(inner, 7).moves == 7


def test_few_values_far_apart_are_few_bytes():
    f = Function("f", ["x"])
    with f.loop(4) as i:
        f.store("x", i * 1000, constant(F32, 0.0))
    assert count(f).bytes == 4 * 4


def test_what_is_asked_for_takes_an_instruction_and_is_touched_when_it_is_read():
    f = Function("f", ["x"])
    with f.loop(4) as i:
        f.prefetch(ROW, "x", i)
    assert count(f) == Effort(moves=4, turns=4)


def test_tiles_move_row_by_row():
    f = Function("f", ["x", "y"])
    f.shape_tiles([16, 16, 16])
    with f.loop(4) as i:
        f.load_tile(1, ROW, "x", i, 3)
        f.multiply_tiles(0, 1, 2)
    f.store_tile(0, ROW, "y", Index(), 1)
    assert count(f) == Effort(moves=5 * 16, turns=4, tiles=4, bytes=(3 + 15 * 3 + 1 + 16) * 64)


@pytest.mark.parametrize("text", ["CONV3-8", "CONV3-8(P=0)", "CONV5-8(P=0)", "CONV1-40", "FC24"])
def test_a_layer_multiplies_as_often_as_its_plan_says_and_no_less(text):
    network = Network.parse(f"INPUT[9x7x5] -> {text} -> FC3")
    program = Program(machine(), network, "cross-entropy")
    forward = next(call for call in program.forward if kind_of(call) == "sums")
    macs = network.plan().rows[1].cost.macs
    products = Counter(program.functions).effort(forward.function).products
    assert macs <= products <= 1.5 * macs  # each for a whole vector of images; padding is multiplied too
