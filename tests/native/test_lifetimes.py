"""Memory by lifetime: rooms overlap only where they are not needed at the same time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from test_networks import WIDE, assert_agrees

from neocog import NeocogError, Network, zoo
from neocog.initialise import initialise
from neocog.layer import Shape
from neocog.native import engine, trainer
from neocog.native.expressions import Access, Index
from neocog.native.footprint import Footprint, footprints
from neocog.native.jit import Machine
from neocog.native.layout import Arena, Margins
from neocog.native.lifetimes import Layout, Use
from neocog.native.optimizers import OPTIMIZERS
from neocog.native.places import kind_of
from neocog.native.program import Program
from neocog.native.weighted import WeightedPart

ON = Machine(lanes=16, registers=32)


def at(vectors):
    return Access("arena", Index(vectors * ON.lanes))


def laid_out(sizes, uses):
    arena = Arena()
    starts = [arena.take(size) for size in sizes]
    made = [Use(tuple(at(starts[k]) for k in rooms), segment) for rooms, segment in uses]
    layout = Layout(arena, ON.lanes, made)
    return layout, [layout.placed(at(start)) for start in starts]


def test_a_room_is_lent_again_once_its_last_reader_has_run():
    layout, (a, b, c) = laid_out([5, 3, 4], [([0], 0), ([0, 1], 0), ([1, 2], 0)])
    assert (layout.arena, layout.kept) == (5 + 3, 0)
    assert a == c == at(0)
    assert b == at(5)


def test_what_is_needed_after_a_meeting_is_kept_by_its_block():
    layout, (a, b, c) = laid_out([5, 3, 4], [([0, 1], 0), ([0, 2], 1)])
    assert (layout.arena, layout.kept) == (4, 5)
    assert (a.buffer, b.buffer, c.buffer) == ("kept", "arena", "arena")
    assert b.at == c.at


def test_rooms_with_margins_share_with_their_like_alone():
    arena = Arena()
    small, large = Shape((4, 4), 2), Shape((64, 64), 8)
    around = Margins(1, 1, 1, 1)
    a, b, c = arena.volume(small, around), arena.dense(small), arena.volume(small, around)
    layout = Layout(arena, ON.lanes, [Use((at(volume.offset),), 0) for volume in (a, b, c)])
    assert layout.arena == 2 * 6 * 6 + 2 * 4 * 4
    assert layout.placed(at(a.offset)) == layout.placed(at(c.offset))
    assert (a.cleared, arena.volume(large, around).cleared) == (False, True)
    assert Arena(short=True).volume(small, around).cleared


def test_neighbouring_gaps_become_one():
    layout, places = laid_out([2, 2, 2, 4], [([0, 1, 2], 0), ([2, 0], 0), ([2], 0), ([2, 3], 0)])
    assert layout.arena == 6
    assert places[3] == at(0)


def spans(program, uses):
    """Of each room: its buffer, its first and last place there, and the numbers of the calls that use it."""
    layout, lanes = program.training_layout, ON.lanes
    sizes = {room.start: room.size for room in program.arena.rooms}
    found = {}
    for time, places in enumerate(uses):
        for place in places:
            if place.buffer == "arena":
                start = max(s for s in sizes if s * lanes <= place.at.constant)
                moved = layout.placed(at(start))
                first = moved.at.constant // lanes
                times = found.setdefault(start, (moved.buffer, first, first + sizes[start], []))[3]
                times.append(time)
    return found.values()


@pytest.mark.parametrize("network", [Network.parse(WIDE), zoo("lenet5")], ids=["wide", "lenet5"])
def test_no_two_rooms_of_a_program_overlap_while_both_are_needed(network):
    program = Program(ON, network, "cross-entropy")
    uses = []
    for calls, meetings, _ in program.segments:
        uses += [call.places for call in calls]
        uses += [tuple(meeting.buffers.values()) for meeting in meetings]
    shared = 0
    for (buffer, start, end, times), (other, first, last, moments) in combinations(spans(program, uses), 2):
        if buffer == other and start < last and first < end:
            assert max(times) < min(moments) or max(moments) < min(times)
            shared += 1
    assert shared > 10


def test_a_block_keeps_a_residual_network_s_sums_and_what_it_normalises_but_for_every_second_sum():
    network = Network.parse(WIDE)
    program = Program(ON, network, "cross-entropy")
    volumes = sum(shape.elements for shape in network.shapes)
    assert program.training_layout.kept < 0.55 * volumes


def parts(text):
    """Those of a network's stages with weights."""
    program = Program(ON, Network.parse(text), "cross-entropy")
    return [part for part in program.parts if isinstance(part, WeightedPart)]


def test_a_gradient_takes_the_place_of_values_that_nobody_reads_any_more():
    first, second, third, last = parts("INPUT[8x8x2] -> CONV3-4 -> RELU -> CONV3-5 -> CONV3-6 -> CONV1-7 -> FC3")[:4]
    assert [part.g is part.y for part in (first, second, third, last)] == [True, True, False, True]  # third: no zeros


@pytest.mark.parametrize(
    "text",
    [
        "CONV3-4 -> RELU -> CONV1-5 -> FC3",  # too few zeros around what was read by a 1x1 window
        "CONV1-4 -> RELU -> GELU -> FC3",  # its way back reads what it read
        "CONV1-4 -> RELU -> L2POOL2 -> FC3",
        "CONV1-4 -> BN -> FC3",
        "CONV1-4 -> POOL3(S=1) -> FC3",  # nobody needs the values on the way back
        "CONV3-4 -> RELU -> POOL2 -> CONV3-5 -> FC3",  # the gradient is larger
    ],
)
def test_else_it_has_memory_of_its_own(text):
    first, *_ = parts(f"INPUT[8x8x2] -> CONV3-2 -> {text}")[1:]
    assert first.g is not first.y


def test_weights_for_the_rest_of_the_way_back_lie_where_those_lay_that_were_read_before():
    body = "[CONV3-32 -> BN -> RELU]*5"
    apart, together = (
        Program(ON, Network.parse(f"INPUT[8x8x16] -> {text} -> FC3"), "cross-entropy", pairs=True)
        for text in (body.replace(" -> BN", ""), body)
    )
    late = [segment.packs for segment in together.segments if segment.packs]
    assert not [pack for segment in apart.segments for pack in segment.packs]
    assert [len(packs) for packs in late] == [1] * 4  # the last is read before threads meet
    assert {packs[0].buffers["packed"].at.constant for packs in late} == {0}
    assert together.packed < 0.75 * apart.packed


def test_without_products_of_pairs_no_more_is_packed_at_once_than_is_read_between_two_meetings():
    body = "[CONV3-320 -> BN -> RELU]*4"
    program = Program(ON, Network.parse(f"INPUT[8x8x16] -> {body} -> GAP -> FC3"), "cross-entropy")
    assert program.packed <= 1.1 * 9 * 320 * 320


def test_weights_are_read_where_they_lie_if_they_are_many_and_on_the_way_back_through_windows_of_one_position():
    text = "INPUT[20x20x16] -> CONV1-128 -> CONV5-128 -> RELU -> CONV1-16 -> FC300 -> RELU -> FC100"
    program = Program(ON, Network.parse(text), "cross-entropy")
    ways = (program.forward, "sums"), (program.backward, "inputs")
    forward, back = ([call for call in way if kind_of(call) == kind] for way, kind in ways)
    assert [call.function.form for call in forward] == [*["gather"] * 3, "streamed gather", "gather"]
    assert [call.buffers["w"].buffer for call in forward] == [*["weights"] * 4, "packed"]
    assert [call.buffers["w"].buffer for call in back] == ["weights", "weights", "weights", "packed"]
    assert program.packed == 300 * 100 + 25 * 128 * 132  # whole tiles of twelve
    assert program.regions[0].padded == 144  # rows of 128 numbers would be in each other's way


def test_a_large_volume_that_takes_little_work_is_made_again_rather_than_kept():
    first, second, *_ = parts("INPUT[40x40x1] -> CONV1-16 -> RELU -> CONV3-16 -> RELU -> DROPOUT -> CONV3-16 -> FC3")
    dropout = first.program.parts[3]
    assert (first.light, second.light, dropout.light) == (True, False, True)
    assert first.g is first.again
    kept = first.program.training_layout.arena
    assert kept < 4.2 * first.y.channels * first.y.plane  # and not what all five volumes take


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        *((name, batch) for name in ("resnet20", "resnet56", "preact-resnet110") for batch in (64, 128)),
        *(("nin", 32), ("all-cnn-c", 64), ("vgg11-bn", 16)),
    ],
)
def test_training_takes_less_than_with_torch(name, batch):
    plan = zoo(name).plan(batch=batch, optimizer="momentum")
    assert of_training(plan).total < plan.memory["training_bytes"]


def of_training(plan):
    """Of a plan with momentum, on two threads."""
    made = Program(ON, plan.network, "cross-entropy")
    return Footprint.of(made, batch=plan.batch, threads=2, optimizer=OPTIMIZERS["momentum"], training=True)


def test_alexnet_takes_less_than_with_torchs_own_response_normalization():
    plan = zoo("alexnet").plan(batch=16, optimizer="momentum")
    norms = [row.output for row in plan.rows if row.node.layer.op == "LRN"]
    kept = sum(4 * 16 * (3 * x.elements + 4 * x.positions) for x in norms)  # padded energies, two steps of the power
    assert plan.memory["training_bytes"] < of_training(plan).total < plan.memory["training_bytes"] + kept


def test_purposes_are_what_the_engine_allocates():
    network = zoo("lenet5-relu")
    plan = network.plan(batch=64, optimizer="adamw")
    found = footprints(plan, threads=1)
    made = trainer.NativeTrainer(network, initialise(network), loss="cross-entropy", optimizer="adamw", threads=1)
    made.step(np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, np.int64), 0.1)
    memory = made._network.memory
    assert found["training"].optimizer == 2 * memory.kept["velocity"].nbytes
    assert found["training"].arenas == memory.rooms["training"].nbytes
    assert found["training"].packed == memory.kept["packed"].nbytes
    assert found["inference"].optimizer == found["inference"].kept == found["inference"].gradients == 0
    assert found["inference"].total < found["training"].total


def test_what_does_not_fit_is_refused_with_the_figures(monkeypatch):
    network = zoo("lenet5-relu")
    made = trainer.NativeTrainer(network, initialise(network), loss="cross-entropy", threads=1)
    monkeypatch.setattr(engine, "available_memory", lambda: 1000)
    with pytest.raises(NeocogError, match="more memory for such mini-batches than there is"):
        made.step(np.zeros((32, 1, 28, 28), np.float32), np.zeros(32, np.int64), 0.1)


@pytest.mark.parametrize(("size", "loads"), [(52, 1), (53, 2)])  # 3 x 52 x 52 numbers are less than 8192
def test_large_images_are_brought_into_lanes_once_more_rather_than_kept(size, loads):
    network = Network.parse(f"INPUT[{size}x{size}x3] -> CONV3-4(S=2, fit=floor) -> RELU -> FC3")
    program = Program(ON, network, "cross-entropy")
    calls = [call for segment in program.segments for call in segment.calls]
    assert len([call for call in calls if kind_of(call) == "load"]) == loads
    assert_agrees(network, 18, threads=2)
    assert_agrees(network, 3, on=ON)
