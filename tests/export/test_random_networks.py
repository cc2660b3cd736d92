"""Networks drawn at random from everything that the native engine covers give the module's scores as ONNX and as C."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from exports import varied
from hypothesis import HealthCheck, given, settings
from random_networks import networks

from neocog import Model, Network
from neocog.data import Preprocessing
from neocog.export.c_file import write_c
from neocog.export.onnx_file import graph_of, proto_of
from neocog.losses import default_loss
from neocog.runtimes.compiled import compiled_c


def model_of(network: Network) -> Model:
    size, channels = network.input_shape.spatial, network.input_shape.channels
    image = (size[0], size[-1])
    preprocessing = Preprocessing(image, image, (0.5,) * channels, (0.25,) * channels)
    classes = tuple(map(str, range(network.shapes[-1].channels)))
    return Model(network, varied(network), preprocessing, classes, default_loss(network).name)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
def test_a_random_network_gives_the_modules_scores(network):
    model, shape = model_of(network), network.input_shape
    x = np.random.default_rng(0).standard_normal((3, shape.channels, *shape.spatial)).astype(np.float32)
    wanted = model.scores(x)
    session = onnxruntime.InferenceSession(proto_of(graph_of(network, model.weights), network).SerializeToString())
    found = {"onnx": session.run(None, {"x": x})[0]}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "net.c"
        write_c(model, source, source.with_suffix(".h"), inside=False)
        if compiled := compiled_c(model, source):
            found["c"] = compiled.scores(x)
    for scores in found.values():
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4 * max(np.abs(wanted).max(), 1e-6))
