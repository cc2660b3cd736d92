"""Memory: explaining a large image takes no more than the plan says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURED = """
import gc, json, sys
import numpy as np
from neocog import Network
from neocog.explain import BY_NAME, Subject, integrated_gradients, smoothgrad
from neocog.explain.method import Asked
from neocog.initialise import initialise
from neocog.measure.resident import _forget_the_most, _resident, _settle
from neocog.torch_engine.allocator import return_freed_memory
from neocog.zoo import text

return_freed_memory()
integrated_gradients.MOST_STEPS, smoothgrad.COPIES = 8, 3  # more of them take longer and no more memory


def run(net, method):
    subject = Subject.from_arrays(net, initialise(net), memory_limit=net.plan(optimizer="sgd").memory["training_bytes"])
    shape = net.input_shape
    x = subject.tensor(np.random.default_rng(0).standard_normal((1, shape.channels, *shape.spatial), np.float32))
    subject.probabilities(x)  # what is asked before any map is made, to know the likeliest class
    BY_NAME[method].attribute(subject, x, Asked(subject.classes([3])))


run(Network.parse("INPUT[64x64x3] -> CONV3-16 -> BN -> RELU -> GAP -> FC10"), sys.argv[1])
net = Network.parse(text(sys.argv[2]).replace(*sys.argv[3:]))
_settle()
before = _resident("VmRSS")
_forget_the_most()
run(net, sys.argv[1])
planned = net.plan(optimizer="sgd").memory["training_bytes"]
print(json.dumps({"peak": _resident("VmHWM") - before, "planned": planned}))
"""


PASSING_FORWARD = ("score-cam", "occlusion", "ablation-cam")
"""Methods of so many passes that a smaller network is asked."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "net"),
    [(name, "resnet50") for name in ("gradient", "grad-cam", "integrated-gradients", "smoothgrad", "lrp")]
    + [(name, "resnet20") for name in PASSING_FORWARD],
)
def test_a_large_image_takes_no_more_than_planned(method, net):
    sizes = ("224x224", "1000x1000") if net == "resnet50" else ("32x32", "640x640")
    command = [sys.executable, "-c", MEASURED, method, net, *sizes]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["peak"] < found["planned"], found
