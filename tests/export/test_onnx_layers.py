"""Every layer as ONNX operators: sound by ONNX's own checker, and of the values that the torch module gives."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exports import LAYER_EXAMPLES, network_of, varied

from neocog import NeocogError, Network, zoo
from neocog.export import onnx_layers
from neocog.export.onnx_file import graph_of, proto_of
from neocog.layers import LAYERS
from neocog.torch_engine import build

SMALL = ("lenet1", "lenet5", "lenet5-relu", "convnetjs-mnist", "convnetjs-cifar10", "resnet20")


def session_of(network: Network, weights: dict[str, np.ndarray]) -> onnxruntime.InferenceSession:
    proto = proto_of(graph_of(network, weights), network)
    onnx.checker.check_model(proto, full_check=True)
    assert all(not tensor.external_data for tensor in proto.graph.initializer)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def assert_agrees(network: Network, count: int = 3) -> None:
    weights, shape = varied(network), network.input_shape
    session = session_of(network, weights)
    module = build(network, weights=weights).eval()
    for images in (count, 1):  # a batch of any size
        x = np.random.default_rng(images).standard_normal((images, shape.channels, *shape.spatial)).astype(np.float32)
        with torch.no_grad():
            wanted = module(torch.from_numpy(x)).numpy()
        (found,) = session.run(["scores"], {"x": x})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_every_layer_has_a_translation():
    assert set(onnx_layers.TRANSLATIONS) == {layer.op for layer in LAYERS}


@pytest.mark.parametrize("example", LAYER_EXAMPLES, ids=lambda e: f"{e.token} {' '.join(e.inputs)}")
def test_a_layer_gives_the_modules_values(example):
    assert_agrees(network_of(example))


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_the_zoo_gives_the_modules_scores(name):
    assert_agrees(zoo(name), count=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["alexnet", "googlenet", "resnet50", "inception-v3", "vgg16", "spp-net", "nin", "zfnet"]
)
def test_a_large_network_of_the_zoo_gives_the_modules_scores(name):
    assert_agrees(zoo(name), count=1)


@pytest.mark.parametrize(
    "text",
    [
        "INPUT[5x5x2] -> FC6 -> RELU -> DROPOUT -> FC4 -> PRELU -> BN -> SOFTMAX",
        "INPUT[5x5x2] -> CONV3-4 -> FLATTEN -> FC3 -> ADD[FC3 | ID] -> CONCAT[ID | FC2]",
        "INPUT[6x6x2] -> CONV3-4 -> CONCAT[GAP | SPP(2)] -> FC3 -> GROUPNORM(G=1) -> TANH",
        "INPUT[6x6x3] -> CONV3-4 -> ADD[ID | CONV1-4 | CONV3-4] -> AUX(0.3)[GAP -> FC3] -> FC3 -> DROPOUT",
        "INPUT[12x3] -> CONV3-4 -> LRN(n=3) -> POOL2 -> FC3 -> SILU",
    ],
)
def test_vectors_and_volumes_meet_as_in_the_module(text):
    assert_agrees(Network.parse(text))


def test_operators_bear_their_layers_names():
    network = zoo("lenet5-relu")
    graph = graph_of(network, varied(network))
    names = {operator.name for operator in graph.operators}
    assert {node.name for node in network.nodes[1:]} <= names
    assert set(graph.weights) == set(varied(network))


def test_a_layer_without_a_translation_is_named(monkeypatch):
    monkeypatch.delitem(onnx_layers.TRANSLATIONS, "LCN")
    network = Network.parse("INPUT[5x5x2] -> CONV3-4 -> LCN3 -> FC2")
    with pytest.raises(NeocogError, match="lcn1: LCN has no translation into ONNX"):
        graph_of(network, varied(network))
