"""What is made ready for prediction gives what the module gives, whatever stands beside what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neocog import Network, zoo
from neocog.data import Preprocessing
from neocog.initialise import initialise
from neocog.model import Model
from neocog.network import fused
from neocog.torch_engine import InferenceModule, build, inference
from neocog.torch_engine.device import precision
from neocog.torch_engine.trainer import TorchTrainer

TEXTS = [
    "INPUT[8x7x3] -> CONV3-5(BIAS=no) -> BN -> RELU -> CONV3-4 -> BN(AFFINE=no) -> POOL2(fit=floor) -> FC6 -> BN",
    "INPUT[8x8x1] -> BN -> CONV3-4 -> RELU -> BN -> CONV3-4 -> BN -> BN -> RELU -> RELU -> FC3",
    "INPUT[8x8x3] -> CONV3-8 -> BN -> RELU -> ADD[ CONV3-8 -> BN -> RELU -> CONV3-8 -> BN | ID ] -> RELU -> FC3",
    "INPUT[8x8x3] -> CONV3-8 -> ADD[ BN -> RELU -> CONV3-8 | BN -> CONV1-8 ] -> BN -> RELU -> GAP",
    "INPUT[8x8x3] -> CONV3-4 -> RELU -> CONCAT[ CONV1-3 -> BN -> RELU | POOL3(S=1, P=1) ] -> CONV3-3 -> FC3",
    "fit=ceil INPUT[9x8x4] -> CONV3-6(S=2, P=0, G=2) -> BN -> RELU -> CONV3-4(D=2, FLIP=yes) -> BN -> FC3",
    'INPUT[8x8x3] -> CONV3-4(TABLE="0 1; 1 2; 0 2; 0 1 2") -> BN -> RELU -> FC3',
    "INPUT[20x3] -> CONV5-8 -> BN -> RELU -> POOL2 -> CONV3-8 -> RELU -> FC4",
    "INPUT[6x6x4] -> DECONV3-5(S=2, P=1) -> BN -> RELU -> LOCAL3-4 -> RELU -> FC9 -> RELU -> DROPOUT -> FC3",
    "INPUT[8x8x3] -> CONV3-4 -> AUX[ BN -> FC3 ] -> BN -> RELU -> PRELU -> LRN -> FC3 -> SOFTMAX",
    "INPUT[9x7x2] -> LRN(n=7, k=1, alpha=0.2, beta=0.5) -> CONV3-4(S=2, P=0) -> LRN(n=3, alpha=0.1) -> FC3",
    "INPUT[7x9x3] -> CONV3-60(D=2, P=1, S=2) -> BN -> RELU -> CONV3x2-50(P=0) -> RELU -> FC3",  # few windows
    "INPUT[11x6] -> LRN(alpha=0.1) -> CONV3-4 -> LRN(n=9, alpha=0.3, beta=1) -> FC3",
    "INPUT[6x6x2] -> CONV3-4 -> RELU -> AUX[ FC3 ] -> CONV3-2 -> BN",
    "INPUT[1x1x7] -> FC9 -> RELU -> CONV1-4 -> BN -> RELU -> FC3",
]


def moved(network, seed=0):
    """Weights and running statistics that are nobody's start."""
    rng = np.random.default_rng(seed)
    return {
        name: (array * rng.uniform(0.5, 1.5, array.shape) + 0.1 * rng.random(array.shape)).astype(np.float32)
        for name, array in initialise(network, seed).items()
    }


def images(network, count, seed=0):
    shape = (count, network.input_shape.channels, *network.input_shape.spatial)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def assert_agrees(network, counts=(3, 1, 3), dtype="float32", seed=0):
    """With the plain module, batches of several sizes one after the other."""
    weights = moved(network, seed)
    plain = build(network, weights=weights).eval()
    made = InferenceModule(plain, dtype)
    for count in counts:
        x = torch.from_numpy(images(network, count, seed))
        with torch.inference_mode():
            expected = plain(x).double().numpy()
            with precision(dtype, torch.device("cpu")):
                found = made(x).double().numpy()
        assert found.shape == expected.shape
        off = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert off < (1e-5 if dtype == "float32" else 0.05)


@pytest.mark.parametrize("way", ["packed", "plain", "product"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("text", TEXTS)
def test_scores_are_the_modules(text, dtype, way, monkeypatch):
    if way == "plain":  # as on a GPU
        monkeypatch.setattr(inference, "_packs", lambda *_: False)
    if way == "product":  # as with many weights
        monkeypatch.setattr(inference, "UNCACHED", 0)
    assert_agrees(Network.parse(text), dtype=dtype)


@pytest.mark.parametrize("name", ["lenet5-relu", "resnet20", "resnet20-b", "nin", "all-cnn-c"])
def test_scores_of_the_zoos_families_are_the_modules(name):
    assert_agrees(zoo(name), counts=(2,))


FORMS = (
    *("CONV3-6 -> BN -> RELU", "CONV1-6 -> RELU", "BN -> RELU -> CONV3-6", "RELU", "BN", "TANH", "CONV3-6(G=2)"),
    *("ADD[ CONV3-6 -> BN | ID ] -> RELU", "ADD[ BN | RELU ]", "CONCAT[ CONV3-2 -> BN -> RELU | CONV1-4 ]"),
)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.sampled_from(["INPUT[5x6x2]", "INPUT[7x3]"]),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=5),
    st.sampled_from(["FC3", "FC3 -> BN", "GAP", "FC4 -> BN -> RELU -> FC2"]),
    st.integers(0, 9),
)
def test_scores_of_any_network_are_the_modules(source, forms, end, seed):
    assert_agrees(Network.parse(" -> ".join([source, "CONV3-6", *forms, end])), counts=(2,), seed=seed)


def inside(text):
    network = Network.parse(text)
    return {network.nodes[k].name: network.nodes[host].name for k, host in fused(network).items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("INPUT[4x4x1] -> CONV3-2 -> BN -> RELU -> FC2 -> RELU", {"bn1": "conv1", "relu1": "conv1", "relu2": "fc1"}),
        ("INPUT[4x4x1] -> CONV3-2 -> RELU -> BN -> FC2", {"relu1": "conv1"}),  # another function comes between
        ("INPUT[4x4x1] -> BN -> CONV3-2 -> FC2", {}),  # zeros around the edge are not normalised
        ("INPUT[4x4x1] -> CONV3-2 -> ADD[ BN | ID ] -> FC2", {}),  # another layer reads the sums
        ("INPUT[4x4x1] -> CONV3-2 -> BN -> ADD[ RELU | ID ] -> FC2", {"bn1": "conv1"}),
        ("INPUT[4x4x1] -> CONV3-2 -> AUX[ FC2 ] -> BN -> FC2", {"bn1": "conv1"}),  # which does not run then
        ("INPUT[4x4x1] -> CONV3-2 -> BN -> BN -> RELU -> FC2", {"bn1": "conv1"}),
    ],
)
def test_what_runs_in_another_layers_pass(text, found):
    assert inside(text) == found


def test_a_convolution_with_its_normalization_is_worked_out_by_hand():
    module = build(Network.parse("INPUT[1x1x1] -> CONV1-1 -> BN(eps=1) -> FC1")).eval()
    with torch.no_grad():
        for value, own in (
            (3, module.conv1.weight),
            (1, module.conv1.bias),
            (4, module.bn1.weight),
            (5, module.bn1.bias),
        ):
            own.fill_(value)
        module.bn1.running_mean.fill_(2)
        module.bn1.running_var.fill_(3)
    weight, bias = inference.folded(module.conv1.weight, module.conv1.bias, module.bn1)
    assert (weight.item(), bias.item()) == (3 * 4 / 2, (1 - 2) * 4 / 2 + 5)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_scores_after_steps_are_of_the_weights_since(ema):
    network = Network.parse(TEXTS[0])
    trainer = TorchTrainer(network, moved(network), loss="cross-entropy", device="cpu", ema=ema)
    x, labels = images(network, 4), np.arange(4) % 3
    for _ in range(3):
        trainer.step(x, labels, 0.05)
        expected = build(network, weights=trainer.weights()).eval()(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(trainer.scores(x), expected, rtol=1e-4, atol=1e-5)


def test_predicting_between_steps_changes_no_bit_of_training():
    network = Network.parse(TEXTS[8].replace("FC9", "FC9 -> BN"))
    x, labels = images(network, 4), np.arange(4) % 3

    def trained(looking):
        trainer = TorchTrainer(network, moved(network), loss="cross-entropy", device="cpu")
        for _ in range(3):
            trainer.step(x, labels, 0.05)
            if looking:
                trainer.scores(x)
        return trainer

    looked, alone = trained(True), trained(False)
    np.testing.assert_array_equal(looked.scores(x), alone.scores(x))


def test_a_model_shares_the_weights_that_it_can():
    network = Network.parse("INPUT[6x6x1] -> CONV3-3 -> RELU -> FC4")
    weights = moved(network)
    model = Model(network, weights, Preprocessing((6, 6), (6, 6), 1, (0.0,), (1.0,)), tuple("abcd"), "cross-entropy")
    x = images(network, 2)
    expected = model.module()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model.scores(x), expected, rtol=1e-5, atol=1e-6)
    assert InferenceModule.of(network, weights).fc1.weight.data_ptr() == weights["fc1.weight"].ctypes.data
