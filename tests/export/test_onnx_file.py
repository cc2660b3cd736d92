"""ONNX files: what is written gives the model's answers, and a file that is anything else is refused."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from exports import digits

from neocog import ModelFileError, NeocogError, Network, load_data
from neocog.export import onnx_file
from neocog.export.onnx_file import onnx_bytes, read_onnx, write_onnx
from neocog.files import canonical
from neocog.predict import evaluate, predict
from neocog.runtimes import open_model

SIZES = {
    "as they are": (28, 28),
    "repeated": (56, 60),
    "on a ground": (32, 33),
    "made smaller": (14, 14),
}
NET = "INPUT[{}x{}x1] -> CONV3-3 -> RELU -> GAP -> FC10"


@pytest.fixture
def file(residual, tmp_path):
    path = tmp_path / "model.onnx"
    write_onnx(residual, path)
    return path


@pytest.mark.parametrize("inside", [True, False])
def test_an_export_gives_the_models_answers(residual, tmp_path, inside):
    path = tmp_path / "model.onnx"
    write_onnx(residual, path, inside=inside)
    export, data = open_model(path), digits(60)
    np.testing.assert_allclose(export.answers(data.images), residual.answers(data.images), rtol=0, atol=1e-4)
    assert export.golden_error() < 1e-4
    assert evaluate(export, data).as_json()["confusion"] == evaluate(residual, data).as_json()["confusion"]
    assert predict(export, data.images[0])[0].best == predict(residual, data.images[0])[0].best
    assert (export.classes, export.preprocessing, export.loss) == (
        residual.classes,
        residual.preprocessing,
        residual.loss,
    )
    assert str(export.network) == str(residual.network)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_preprocessing_inside_is_preprocessing(make, tmp_path, size):
    model, path = make(NET.format(*size)), tmp_path / "model.onnx"
    write_onnx(model, path)
    images = digits(20).images
    np.testing.assert_allclose(open_model(path).answers(images), model.answers(images), rtol=0, atol=1e-4)


def test_the_checker_of_onnx_passes_and_anyone_can_run_it(file, residual):
    onnx.checker.check_model(onnx.load(file, load_external_data=False), full_check=True)
    session = onnxruntime.InferenceSession(file.read_bytes())
    (images,), (scores,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["N", 28, 28, 1])
    assert (scores.name, scores.shape) == ("scores", ["N", 10])
    some = digits(5).images
    np.testing.assert_allclose(session.run(None, {"images": some})[0], residual.answers(some), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_trained_lenet_5_reads_all_test_digits_as_the_model_does(trained, tmp_path):
    path, data = tmp_path / "lenet5.onnx", load_data("mnist").test
    write_onnx(trained, path)
    onnx.checker.check_model(str(path), full_check=True)
    (scores,) = onnxruntime.InferenceSession(path.read_bytes()).run(None, {"images": data.images})
    wanted = trained.answers(data.images)
    assert (scores.argmin(1) == wanted.argmin(1)).all()  # the nearest drawing
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert evaluate(open_model(path), data).top1 == evaluate(trained, data).top1 > 0.95


def test_writing_twice_gives_the_same_file(residual):
    assert onnx_bytes(residual, inside=True) == onnx_bytes(residual, inside=True)


def test_an_export_with_preprocessing_inside_has_no_views(file):
    with pytest.raises(NeocogError, match="takes images as they are"):
        evaluate(open_model(file), digits(5), "shift=1")


def test_two_gigabytes_are_refused(residual, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    with pytest.raises(NeocogError, match="less than 2 GB"):
        onnx_bytes(residual, inside=True)


# -- what strangers send -------------------------------------------------------------------------------------------


def changed(file, change):
    """The file after a change to its message."""
    proto = onnx.ModelProto.FromString(file.read_bytes())
    change(proto)
    file.write_bytes(proto.SerializeToString())
    return file


def no_metadata(proto):
    del proto.metadata_props[:]


def two_descriptions(proto):
    proto.metadata_props.add(key="neocog", value=proto.metadata_props[0].value)


def another_network(proto):
    proto.metadata_props[0].value = proto.metadata_props[0].value.replace("CONV1-3", "CONV1-4")


def another_class(proto):
    proto.metadata_props[0].value = proto.metadata_props[0].value.replace('"0"', '"9"', 1)


def external(proto):
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def another_weight(proto):
    tensor = proto.graph.initializer[0]
    tensor.raw_data = b"\0" * len(tensor.raw_data)


def not_a_number(proto):
    tensor = next(t for t in proto.graph.initializer if t.name == "fc1.bias")
    tensor.raw_data = np.full(10, np.nan, np.float32).tobytes()


def another_shape(proto):
    proto.graph.initializer[0].dims[0] = 2**40


def another_constant(proto):
    tensor = next(t for t in proto.graph.initializer if "/" in t.name)
    tensor.raw_data = b"\1" * len(tensor.raw_data)


def one_array_less(proto):
    del proto.graph.initializer[0]


def another_operator(proto):
    proto.graph.node[0].op_type = "Identity"


def a_subgraph(proto):
    graph = onnx.GraphProto.FromString(proto.graph.SerializeToString())
    proto.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)


def a_function(proto):
    proto.functions.add(name="f", domain="x")


def foreign_domain(proto):
    proto.opset_import.add(domain="com.microsoft", version=1)


def many_operators(proto):
    for _ in range(10_000):
        proto.graph.node.add()


def much_attribute(proto):
    proto.graph.node[0].attribute.add(name="x", type=onnx.AttributeProto.INTS).ints.extend([1] * 10**6)


def sparse(proto):
    proto.graph.sparse_initializer.add()


CHANGES = {
    no_metadata: "was not written by neocog",
    two_descriptions: "was not written by neocog",
    another_network: "does not fit|not those of its network|not that of the network",
    another_class: "checksum differs",
    external: "does not lie in the file",
    another_weight: "checksum differs",
    not_a_number: "checksum differs",
    another_shape: "does not lie in the file",
    another_constant: "is not what the network's text gives",
    one_array_less: "not those of its network",
    another_operator: "not that of the network",
    a_subgraph: "not that of the network|more in this file",
    a_function: "not that of the network",
    foreign_domain: "not that of the network",
    many_operators: "and its network has fewer",
    much_attribute: "more in this file than its network needs",
    sparse: "not that of the network",
}


@pytest.mark.parametrize(("change", "says"), CHANGES.items(), ids=lambda c: getattr(c, "__name__", ""))
def test_a_file_that_is_not_what_was_written_is_refused(file, change, says):
    with pytest.raises(ModelFileError, match=says):
        read_onnx(changed(file, change))


@pytest.mark.parametrize("length", [0, 1, 20, 500, 3000])
def test_a_file_that_is_cut_off_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=str(file)):
        read_onnx(file)


def test_random_damage_never_gets_through(file):
    rng, whole, refused = np.random.default_rng(0), file.read_bytes(), 0
    wanted = read_onnx(file)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(damaged))
        try:
            found = read_onnx(file)
        except ModelFileError:
            refused += 1
        else:
            assert found.model.document() == wanted.model.document()
    assert refused


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("missing.onnx", "pipe.onnx", "."):
        with pytest.raises(ModelFileError):
            read_onnx(tmp_path / name)


def test_stored_examples_that_do_not_fit_are_refused(residual, tmp_path, monkeypatch):
    images, outputs = residual.golden
    path = tmp_path / "model.onnx"
    write_onnx(replace(residual, golden=(images[:2], outputs)), path)
    with pytest.raises(ModelFileError, match="stored examples are damaged"):
        read_onnx(path)


BOMBS = {
    "many bins": "INPUT[9x9x1] -> SPP(5000000) -> FC1(BIAS=no)",
    "a large window": "INPUT[9001x9001x1] -> LCN9 -> GAP",
    "windows of a local layer": "INPUT[301x301x1] -> LOCAL301-1(P=0, BIAS=no)",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_small_file_of_a_large_network_is_refused_before_memory_is_taken(file, text):
    network = Network.parse(text)
    proto = onnx.ModelProto.FromString(file.read_bytes())
    document = json.loads(proto.metadata_props[0].value)
    size = network.input_shape.spatial
    document["preprocessing"] |= {"size": size, "source": size, "mean": [0.5] * network.input_shape.channels}
    document |= {"network": str(network), "classes": ["a"] * network.shapes[-1].channels}
    document.pop("golden")
    proto.metadata_props[0].value = canonical(document)
    file.write_bytes(proto.SerializeToString())
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            read_onnx(file)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
