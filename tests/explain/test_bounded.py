"""Memory: explaining a large image takes no more than the plan says, from the model to the picture."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURED = """
import json, sys
from dataclasses import replace
import numpy as np
from neocog import Model, Network
from neocog.data import Preprocessing
from neocog.explain import BY_NAME, ask, deep_dream, evidence, integrated_gradients, inversion, maximise, shown
from neocog.explain import smoothgrad
from neocog.initialise import initialise
from neocog.measure.resident import _forget_the_most, _resident, _settle
from neocog.torch_engine.allocator import return_freed_memory
from neocog.zoo import text

return_freed_memory()
integrated_gradients.MOST_STEPS, smoothgrad.COPIES = 8, 3  # more of them take longer and no more memory
evidence.STEPS, evidence.RANDOM_MAPS = 2, 1
deep_dream.FRAMES = (0, 1, 2)
for view in (deep_dream, inversion, maximise):
    view.HOW = replace(view.HOW, steps=3)


def run(net, name):
    height, width, channels = net.input_shape.as_list()
    preprocessing = Preprocessing((height, width), (height, width), (0.5,) * channels, (0.25,) * channels)
    classes = tuple(map(str, range(net.shapes[-1].channels)))
    model = Model(net, initialise(net), preprocessing, classes, "cross-entropy")
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    method = BY_NAME[name]
    asked = {"memory_limit": net.plan(optimizer="sgd").memory["training_bytes"]}
    if getattr(method, "layer", "") == "reads":
        asked["layers"] = ("conv1",)  # of few maps: methods that pass forward for each are soon done
    if "count" in method.takes:
        asked["count"] = 2
    shown(ask(model, [image] if "image" in method.needs else (), **asked), method)


run(Network.parse("INPUT[64x64x3] -> CONV3-16 -> BN -> RELU -> GAP -> FC10"), sys.argv[1])
net = Network.parse(text("resnet50").replace("224x224", "1000x1000"))
_settle()
before = _resident("VmRSS")
_forget_the_most()
run(net, sys.argv[1])
planned = net.plan(optimizer="sgd").memory["training_bytes"]
print(json.dumps({"peak": _resident("VmHWM") - before, "planned": planned}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        *("gradient", "integrated-gradients", "smoothgrad-guided", "lrp", "guided-grad-cam", "score-cam"),
        *("ablation-cam", "deepdream", "inversion"),
    ],
)
def test_a_large_image_takes_no_more_than_planned(method):
    done = subprocess.run([sys.executable, "-c", MEASURED, method], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["peak"] < found["planned"], found
