"""Steps that go through a network in pieces, worked out by hand and by counting."""

from __future__ import annotations

import pytest

from neocog import NeocogError, Network, zoo
from neocog.network import schedule
from neocog.plan.memory import run_of
from neocog.plan.recomputing import recomputing
from neocog.plan.timeline import training

CHAIN = Network.parse("INPUT[6x6x2] -> CONV1-2(BIAS=no) -> [TANH]*6 -> FC3")
VOLUME = 4 * 72


def beyond(network, cuts):
    """The moments of a step with plain gradient descent, above the bytes that outlast it."""
    made = training(network, network.shapes, run_of(1, "float32", training=True), 0, cuts)
    resting = made.moments[-1].bytes - 4 * 3  # the scores are the caller's
    return [(moment.phase, moment.layer, moment.bytes - resting) for moment in made.moments]


def test_of_a_piece_only_what_it_begins_with_is_kept():
    whole = {(phase, layer): bytes for phase, layer, bytes in beyond(CHAIN, ())}
    cut = {(phase, layer): bytes for phase, layer, bytes in beyond(CHAIN, (5,))}  # INPUT to tanh3, tanh4 to the end
    assert whole["forward", "tanh6"] - whole["forward", "tanh3"] == 3 * VOLUME
    assert cut["forward", "tanh6"] == whole["forward", "tanh6"] - 3 * VOLUME  # those of tanh1, tanh2 and tanh3
    assert [layer for phase, layer in cut if phase == "again"] == ["input", "conv1", "tanh1", "tanh2", "tanh3"]
    assert (
        cut["again", "tanh3"] == whole["forward", "tanh3"] + VOLUME + 4 * 219 + 4 * 3
    )  # gradients: its own, of FC's weights, of the scores
    assert cut["update", "fc1"] == whole["update", "fc1"]


def test_a_deep_chain_takes_memory_like_the_root_of_its_depth():
    def needs(depth):
        network = Network.parse(f"INPUT[32x32x8] -> [CONV3-8 -> TANH]*{depth} -> GAP -> FC3")
        found = recomputing(network, 16, "float32", "sgd")
        volume = 4 * 16 * 8 * 32 * 32
        return network.plan(batch=16, optimizer="sgd").memory["training_bytes"] / volume, (
            found.training.peak.bytes / volume,
            len(found.cuts),
        )

    (shallow, (less, few)), (deep, (least, more)) = needs(16), needs(64)
    assert deep > 3.3 * shallow
    assert least < 2.2 * less
    assert least < deep / 3
    assert 2 <= few < more


@pytest.mark.parametrize("name", ["resnet20", "googlenet-aux", "vgg11", "lenet5", "alexnet"])
def test_networks_are_cut_where_one_volume_crosses(name):
    network = zoo(name)
    turns = schedule(network, training=True)
    found = recomputing(network, 8, "float32", "momentum")
    for cut in found.cuts:
        before = {k for k, _ in turns[:cut]}
        crossing = {i for k, _ in turns[cut:] for i in network.nodes[k].inputs if i in before}
        assert crossing == {turns[cut - 1].position}
    assert found.training.peak.bytes <= network.plan(batch=8).memory["training_bytes"]


def test_where_nothing_is_gained_nothing_is_cut():
    network = Network.parse("INPUT[4x4x1] -> FC100 -> FC10")
    assert recomputing(network, 1, "float32", "sgd").cuts == ()


def test_what_is_not_known_is_refused():
    with pytest.raises(NeocogError, match="dtype is one of"):
        recomputing(CHAIN, 1, "float8", "sgd")
