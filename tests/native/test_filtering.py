"""The kernels of Winograd's filtering touch what is theirs, and are the same as C and as machine code."""

from __future__ import annotations

import numpy as np
import pytest
from sanitized import NUMBERS, Touched, assert_same, needs_compiler

from neocog.native.winograd import TILES, TURNING_BYTES, Edge, Filtering, edges
from neocog.native.winograd_gradient import Gradient

SIZES = [
    *[(32, 64, 6, 8, 2), (64, 96, 5, 3, 2), (96, 32, 1, 2, 2), (32, 32, 1, 1, 2)],
    *[(32, 64, 6, 8, 1), (64, 96, 5, 3, 1), (96, 32, 1, 2, 1)],
]
"""Inputs, outputs, height, width and numbers in a word."""
IMAGES = 2


def named(functions):
    return {function.name: function for function in functions}


def for_a_task(monkeypatch, **numbers):
    for name, number in numbers.items():
        monkeypatch.setitem(NUMBERS, name, number)


def touched(functions, name):
    """The last byte of each buffer that a function touches, and none before the first."""
    found = Touched(functions[name], functions).bytes
    assert all(low == 0 for low, _ in found.values()), found
    return {buffer: high for buffer, (_, high) in found.items()}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_convolution_reads_and_writes_its_volumes_and_nothing_else(sizes, monkeypatch):
    shape = Filtering(*sizes)
    assert shape.rows * shape.columns * IMAGES <= shape.most  # so that one task can be all of it
    sets = -(-IMAGES * shape.rows * shape.columns // TILES)
    for_a_task(monkeypatch, n0=0, n1=IMAGES, top=0, bottom=shape.rows, sets=sets, k0=0, k1=shape.groups)
    volume = IMAGES * shape.height * shape.width
    found = touched(named(shape.convolution()), "convolve")
    assert found.pop("own") <= shape.own_bytes
    assert found.pop("u") in range(shape.weight_bytes - 64, shape.weight_bytes + 1)  # the last step may be a gap
    size = 4 // shape.parts
    ends = 4 * (shape.outputs + 16)
    assert found == {"x": size * volume * shape.inputs, "y": size * volume * shape.outputs, "ends": ends}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_weights_are_read_whole_and_written_where_they_are_read(sizes, monkeypatch):
    shape = Filtering(*sizes)
    for_a_task(monkeypatch, k0=0, k1=shape.groups, c0=0, c1=shape.inputs // 32)
    for function in (shape.weights(), shape.turned_weights()):
        found = touched({function.name: function}, function.name)
        assert found["w"] == 4 * 9 * shape.inputs * shape.outputs
        assert found["u"] in range(shape.weight_bytes - 64, shape.weight_bytes + 1)
        assert found.get("own", TURNING_BYTES) == TURNING_BYTES


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_gradient_stays_within_its_volumes_and_what_is_held(sizes, monkeypatch):
    shape, apart = Gradient.of_rows(IMAGES * -(-sizes[2] // 2), *sizes), 3
    sets = IMAGES * shape.rows * shape.sets_in_row
    assert sets <= shape.sets
    for_a_task(monkeypatch, n0=0, n1=IMAGES, top=0, bottom=shape.rows, sets=sets, k0=0, k1=shape.panels)
    for_a_task(monkeypatch, part=apart - 1, begins=1, goes_on=1, parts=apart)
    found = Touched(named(functions := shape.gradient())["add_tiles"], named(functions)).bytes
    volume = 4 // shape.parts * IMAGES * shape.height * shape.width
    assert {found[name] for name in ("x", "dy")} == {(0, volume * shape.inputs), (0, volume * shape.outputs)}
    assert found["own"][0] == 0
    assert found["own"][1] <= shape.own_bytes
    gap = 64  # the last step may be one
    assert found["sums"][1] in range(apart * shape.sum_bytes - gap, apart * shape.sum_bytes + 1)
    for_a_task(monkeypatch, k1=shape.groups)
    kernels = shape.kernels()
    found = touched({kernels.name: kernels}, kernels.name)
    assert found["dw"] == 4 * 9 * shape.inputs * shape.outputs
    assert found["sums"] in range(apart * shape.sum_bytes - gap, apart * shape.sum_bytes + 1)


@needs_compiler
@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_kernels_are_the_same_in_c_without_a_word_from_sanitizers(tmp_path, monkeypatch, parts):
    shape, gradient = Filtering(32, 64, 5, 3, parts), Gradient.of_rows(6, 32, 64, 5, 3, parts)
    for_a_task(monkeypatch, n0=0, n1=2, top=0, bottom=3, sets=2, k0=0, k1=1, c0=0, c1=1, p=3, k=0)
    for_a_task(monkeypatch, part=1, begins=1, goes_on=1, parts=2)
    functions = [*shape.convolution(), shape.weights(), shape.turned_weights()]
    functions += [*gradient.gradient(), gradient.kernels()]
    volumes = {"x", "dy", "u", "v", "d", "to", "y", "own"}
    assert_same(tmp_path, named(functions), halves=frozenset(volumes if parts == 2 else ()))


def test_slots_are_channels_the_even_ones_of_32_first():
    halves, whole = (Filtering(96, 96, 4, 4, parts).channel for parts in (2, 1))
    assert [halves(slot) for slot in (0, 1, 15, 16, 31, 32, 48)] == [0, 2, 30, 1, 31, 32, 33]
    assert sorted(map(halves, range(96))) == [*map(whole, range(96))] == list(range(96))


@pytest.mark.parametrize("size", range(1, 10))
def test_edges_cover_an_axis_and_no_more(size):
    for before, count in ((1, 4), (0, 2)):
        tiles = [(k, edge.there) for edge in edges(size, before, count) for k in range(edge.first, edge.last)]
        assert [k for k, _ in tiles] == list(range(-(-size // 2)))
        seen = np.zeros(size, int)
        for k, there in tiles:
            seen[[2 * k - before + r for r in there]] += 1
        assert seen.min() >= 1
    assert edges(1, 1, 4) == [Edge(0, 1, (1,))]
