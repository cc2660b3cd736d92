"""A check says before it starts how much memory it needs, and what it is doing while it runs."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest

from neocog import Network
from neocog.check import check_network, needed_bytes

MIB = 2**20


def test_a_check_holds_a_networks_weights_seven_times_in_float64():
    one, two = (needed_bytes(Network.parse(f"INPUT[1x1x1000] -> FC{k}(BIAS=no)").plan()) for k in (1000, 2000))
    assert two - one == 7 * 8 * (1000 * 1000 + 1000)  # and its 1000 outputs


def test_volumes_and_windows_grow_with_the_batch_and_weights_do_not():
    network = Network.parse("INPUT[8x8x3] -> CONV3-4 -> RELU")
    needs = [needed_bytes(network.plan(batch=batch)) for batch in (1, 2, 3)]
    an_image = 8 * (7 * (8 * 8 * (3 + 4 + 4)) + 2.5 * (27 * 8 * 8))
    assert [b - a for a, b in pairwise(needs)] == [an_image, an_image]


PEAK = """
import re, sys
import torch, neocog.torch_engine
from neocog import Network
from neocog.check import check_network, needed_bytes
from neocog.check.memory import LIBRARIES
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
check_network(Network.parse("INPUT[8x8x3] -> CONV3-20 -> BN -> RELU -> FC2"))  # all libraries are there now
network, before = Network.parse(sys.argv[1]), peak()
check_network(network, batch=4)
print(needed_bytes(network.plan(batch=4)) - LIBRARIES, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak")
@pytest.mark.parametrize(
    "text",
    ["INPUT[16x16x16] -> FC1024 -> FC10", "INPUT[48x48x32] -> CONV7-4 -> GAP", "INPUT[64x64x16] -> [BN -> RELU]*8"],
)
def test_what_is_needed_is_about_the_measured_peak(text):
    ran = subprocess.run([sys.executable, "-c", PEAK, text], capture_output=True, text=True, timeout=300, check=True)
    needed, measured = map(int, ran.stdout.split())
    assert measured - 64 * MIB < needed < 2 * measured


def test_the_watcher_hears_of_the_network_and_of_each_different_layer():
    heard = []
    network = Network.parse("INPUT[6x6x2] -> [CONV3-2 -> RELU]*3 -> FC3")
    check_network(network, watch=lambda *what: heard.append(what))
    assert [what for what, _, _ in heard] == ["the whole network", "input", "conv1", "relu1", "fc1"]
    assert [(done, of) for _, done, of in heard] == [(k, 5) for k in range(5)]
