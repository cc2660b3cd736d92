"""Runs that start from weights in a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from neocog import ModelFileError, NeocogError, Network, train
from neocog.data import Preprocessing, Splits
from neocog.initialise import initialise
from neocog.interop.weights import export_weights
from neocog.model import Model
from neocog.training.start import start_from
from neocog.zoo import text as zoo_text

TEXT = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> BN -> RELU -> POOL2 -> FC{}"


@pytest.fixture(scope="module")
def parent(digits, tmp_path_factory):
    """A model of all ten digits, and its file."""
    folder = tmp_path_factory.mktemp("parent") / "run"
    quick = {"epochs": 2, "batch_size": 32, "progress": "none", "device": "cpu"}
    return train(Network.parse(TEXT.format(10)), digits, out=folder, **quick), folder / "model.safetensors"


def two_classes(digits):
    """Other images, other classes: darker digits, low and high."""
    return Splits(
        *(
            replace(part, images=part.images // 2, labels=(part.labels > 4).astype(np.int64), classes=("low", "high"))
            for part in digits
        )
    )


def tuned(network, data, path, folder, **settings):
    quick = {"epochs": 1, "batch_size": 32, "progress": "none", "device": "cpu", "out": folder}
    return train(network, data, start=path, **{**quick, **settings})


def test_all_arrays_are_taken_where_all_agree(parent, digits, tmp_path):
    model, path = parent
    start = start_from(str(path), model.network)
    assert start.afresh == ()
    for name, array in model.weights.items():
        np.testing.assert_array_equal(start.weights[name], array)
    again = tuned(model.network, digits, path, tmp_path / "run", lr=1e-9, schedule="constant", engine="torch")
    np.testing.assert_allclose(again.weights["conv1.weight"], model.weights["conv1.weight"], atol=1e-6)
    assert again.record["settings"]["start"] == str(path)


def test_another_head_starts_afresh_and_a_frozen_trunk_stays_with_its_statistics(parent, digits, tmp_path, capsys):
    model, path = parent
    rates, data = "*=0, fc1=1", two_classes(digits)
    found = tuned(Network.parse(TEXT.format(2)), data, path, tmp_path / "run", rates=rates, progress="lines", epochs=5)
    assert "from model.safetensors, afresh fc1.weight, fc1.bias, torch on cpu" in capsys.readouterr().err
    for name, array in model.weights.items():
        if not name.startswith("fc1"):
            np.testing.assert_array_equal(found.weights[name], array)
    assert found.weights["fc1.weight"].shape[0] == 2
    assert found.record["test_accuracy"] > 0.6


def test_images_are_normalised_as_the_weights_expect(parent, digits, tmp_path):
    model, path = parent
    found = tuned(Network.parse(TEXT.format(2)), two_classes(digits), path, tmp_path / "run")
    assert found.preprocessing.mean == model.preprocessing.mean
    assert Preprocessing.learn(two_classes(digits).train, found.network.input_shape).mean != found.preprocessing.mean


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TEXT.format(10).replace("CONV3-4", "CONV3-5"), "no conv1.weight of (5, 1, 3, 3) but (4, 1, 3, 3)"),
        (TEXT.format(10).replace("-> FC10", "-> FC20 -> RELU -> FC10"), "no fc1.weight of (20, 196) but (10, 196)"),
        ("INPUT[28x28x1] -> FC30 -> FC10", "4 of the 4 arrays are not there, and not the output layer's alone"),
    ],
)
def test_weights_of_another_network_are_refused_by_the_arrays(text, says, parent, digits, tmp_path):
    with pytest.raises(NeocogError) as refused:
        tuned(Network.parse(text), digits, parent[1], tmp_path / "run")
    assert str(refused.value).startswith("model.safetensors: ")
    assert says in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_file_without_weights_is_refused(content, small, digits, tmp_path):
    path = tmp_path / "odd.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"odd\.safetensors"):
        tuned(small, digits, path, tmp_path / "run")


def test_whitening_is_for_a_start_of_ones_own(parent, digits, tmp_path):
    with pytest.raises(NeocogError, match="whiten is for a run that starts afresh"):
        tuned(parent[0].network, digits, parent[1], tmp_path / "run", whiten=True)


def small_resnet(classes):
    return Network.parse(
        zoo_text("resnet18").replace("INPUT[224x224x3]", "INPUT[32x32x3]").replace("1000", str(classes))
    )


def test_weights_of_another_library_start_a_network_of_the_zoo_with_another_head(tmp_path):
    network, path = small_resnet(1000), tmp_path / "weights.safetensors"
    preprocessing = Preprocessing((32, 32), (32, 32), (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    model = Model(network, initialise(network, 5), preprocessing, tuple(map(str, range(1000))), "cross-entropy")
    save_file(export_weights(model, "torchvision"), path)
    start = start_from(str(path), small_resnet(7))
    assert start.afresh == ("fc1.weight", "fc1.bias")
    np.testing.assert_array_equal(start.weights["conv1.weight"], model.weights["conv1.weight"])
    assert start.preprocessing.mean == (0.485, 0.456, 0.406)
    with pytest.raises(ModelFileError, match="weights"):
        start_from(str(path), Network.parse(zoo_text("resnet34").replace("224x224", "32x32")))
