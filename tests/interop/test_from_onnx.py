"""ONNX files that neocog did not write: read into the notation with equal outputs, or refused with the place."""

from __future__ import annotations

import io
import json
import warnings

import numpy as np
import onnx
import pytest
import torch
from exports import varied
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator
from torch_models import Basic, LeNet, ResNet

from neocog import ModelFileError, NeocogError, Network, load, load_data, zoo
from neocog.cli import main
from neocog.export.onnx_file import graph_of, proto_of
from neocog.interop import from_onnx, onnx_graph
from neocog.reference import forward


def saved(proto: onnx.ModelProto, folder) -> str:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return str(path)


def outputs(network: Network, weights, x: np.ndarray) -> np.ndarray:
    """By the reference; a vector is (N, K)."""
    y = forward(network, weights, x.astype(np.float64)).output
    return y.reshape(len(y), -1) if network.shapes[-1].positions == 1 else y


# -- our own files, whose metadata nobody looks at -------------------------------------------------------------------


NETWORKS = [
    "lenet5-relu",
    "convnetjs-cifar10",
    "resnet20",
    "INPUT[9x12x3] -> CONV3x5-4(S=2x1, P=1x0, D=1x2) -> PRELU -> POOL3x2(S=2x3, P=1x0, fit=ceil) -> FC5 -> SOFTMAX",
    "INPUT[12x12x4] -> CONV3-8(G=2, BIAS=no) -> BN -> GELU -> CONCAT[AVGPOOL3(S=1, P=1, ZEROS=no) | ID] -> GAP -> FC3",
    "INPUT[10x9x2] -> CONV3-6 -> LRN(n=3, alpha=0.002, k=1) -> AVGPOOL2(fit=floor) -> SILU -> DROPOUT -> FC4 -> FC2",
    "INPUT[6x6x2] -> DECONV4-3(S=2, P=1) -> TANH -> UPSAMPLE2 -> UPSAMPLE2(MODE=bilinear) -> CONV1-2",
    "INPUT[20x3] -> CONV3-4 -> SCALEDTANH -> POOL2 -> AVGPOOL5 -> LRELU(0.2) -> FC3 -> SIGMOID",
    "INPUT[8x8x4] -> ADD[CONV3-8(S=2, P=1, fit=floor) | SHORTCUT(K=8)] -> RELU -> FLATTEN -> FC3",
]


@pytest.mark.parametrize("text", NETWORKS)
def test_a_network_comes_back_as_the_same_text_with_the_same_outputs(text, tmp_path):
    network = zoo(text) if "INPUT" not in text else Network.parse(text)
    weights = varied(network)
    found, arrays = from_onnx(saved(proto_of(graph_of(network, weights), network), tmp_path))
    shape = network.input_shape
    x = np.random.default_rng(0).standard_normal((2, shape.channels, *shape.spatial))
    wanted = outputs(network, weights, x)
    np.testing.assert_allclose(outputs(found, arrays, x), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert found.plan().totals["parameters"] == network.plan().totals["parameters"]
    assert [node.layer.op for node in found.nodes if node.layer.op != "DROPOUT"] == [
        node.layer.op for node in network.nodes if node.layer.op not in ("DROPOUT", "FLATTEN")
    ]


# -- what torch writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "size"),
    [(LeNet, (1, 28, 28)), (lambda: ResNet(Basic, (1, 1, 1, 1)), (3, 32, 32))],
    ids=["LeNet", "ResNet"],
)
def test_a_module_that_torch_exported_gives_its_outputs(make, size, tmp_path):
    torch.manual_seed(0)
    module, x = make().eval(), torch.randn(2, *size)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), content, dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"])
    path = tmp_path / "torch.onnx"
    path.write_bytes(content.getvalue())
    network, weights = from_onnx(path)
    with torch.no_grad():
        wanted = module(x).numpy()
    np.testing.assert_allclose(outputs(network, weights, x.numpy()), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


# -- ONNX's own test cases -------------------------------------------------------------------------------------------


OPERATORS = {
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization"),
    *("Relu", "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "Softmax", "Gelu", "Clip", "LRN", "InstanceNormalization"),
    *("GroupNormalization", "Gemm", "Flatten", "Reshape", "Concat", "Sum", "Identity", "Dropout", "Resize", "Pad"),
    *("ReduceMean", "ReduceMax", "Upsample", "Slice", "HardSwish", "Elu"),
}
LEAST = 20
"""Of the cases at least so many are networks with one volume as input."""


def cases():
    """ONNX's test cases of one operator each, all inputs but the first as arrays of the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    for case in found:
        (node, *others) = case.model.graph.node
        inputs, results = case.data_sets[0]
        if others or node.op_type not in OPERATORS or not all(isinstance(one, np.ndarray) for one in inputs):
            continue
        x = inputs[0]
        if x.ndim < 2 or x.dtype != np.float32 or not isinstance(results[0], np.ndarray):
            continue
        graph = onnx.GraphProto()
        graph.CopyFrom(case.model.graph)
        for value, array in zip(graph.input[1:], inputs[1:], strict=True):
            graph.initializer.append(numpy_helper.from_array(array, value.name))
        del graph.input[1:], graph.output[1:]
        proto = helper.make_model(graph, opset_imports=case.model.opset_import)
        yield case.name, proto, x, results[0]


def test_onnx_s_own_cases_give_the_values_that_it_lists_or_are_refused(tmp_path):
    right = 0
    for name, proto, x, wanted in cases():
        try:
            network, weights = from_onnx(saved(proto, tmp_path))
        except NeocogError:
            continue
        found = outputs(network, weights, x)
        np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-3, atol=1e-5, err_msg=name)
        right += 1
    assert right >= LEAST


# -- as a model ------------------------------------------------------------------------------------------------------


def test_the_command_makes_a_model_of_somebodys_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network = zoo("lenet5-relu")
    weights = varied(network)
    path = saved(proto_of(graph_of(network, weights), network), tmp_path)
    assert main(["import", path, "--data", "mnist", "-o", "m.safetensors", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["network"], len(said["arrays"])) == (str(network), 10)
    model = load("m.safetensors")
    assert model.classes == load_data("mnist").test.classes
    np.testing.assert_array_equal(model.weights["conv2.weight"], weights["conv2.weight"])
    for words, says in [
        ([], "nothing here says how images become numbers"),
        (["w.pth"], "holds all that it needs, so there is no WEIGHTS"),
        (["--data", "mnist", "--layout", "timm"], "so there is no --layout"),
    ]:
        assert main(["import", path, *words, "-o", "n.safetensors"]) == 2
        assert says in capsys.readouterr().err
    assert main(["import", "lenet5", "-o", "n.safetensors"]) == 2
    assert "the weights of the network are needed" in capsys.readouterr().err


# -- what strangers send ---------------------------------------------------------------------------------------------


def small(*nodes, inputs=("x",), arrays=(), opset=17) -> onnx.ModelProto:
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 8, 8]) for name in inputs]
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays]
    graph = helper.make_graph(list(nodes), "g", taken, [given], initializer=stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def node(type_, inputs="x", output="y", **told):
    return helper.make_node(type_, inputs.split(), output.split(), **told)


KERNEL = ("w", np.ones((4, 3, 3, 3)))
REFUSED = {
    "no layer": (small(node("HardSwish")), "HardSwish is no layer of the notation"),
    "two inputs": (small(node("Add", "x z"), inputs=("x", "z")), "a graph of 2 inputs"),
    "uneven padding": (small(node("Conv", "x w", pads=[2, 0, 0, 0]), arrays=[KERNEL]), "pads one side more"),
    "a mean that is dilated": (
        small(node("AveragePool", kernel_shape=[2, 2], dilations=[2, 2]), opset=19),
        "AVGPOOL has no dilation",
    ),
    "channels last": (small(node("Relu", "x", "r"), node("Transpose", "r", perm=[0, 2, 3, 1])), "channels before"),
    "two outputs of one": (
        small(node("MaxPool", "x", "m k", kernel_shape=[2, 2]), node("Cast", "k", to=1)),
        "MaxPool's output k is no layer",
    ),
    "a mirrored border": (small(node("Pad", "x", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"), opset=10), "zeros,"),
    "computed weights": (small(node("Conv", "x x")), "is not a parameter"),
    "a cast to whole numbers": (small(node("Cast", "x", "z", to=7), node("Cast", "z", to=1)), "cast is no layer"),
    "a slope for all": (small(node("PRelu", "x s"), arrays=[("s", [0.1])]), "a slope for each channel"),
    "3-D": (small(node("Unsqueeze", "x a", "z"), node("MaxPool", "z", kernel_shape=[1, 1, 1]), opset=11), "sound"),
    "an unknown domain": (small(helper.make_node("Relu", ["x"], ["y"], domain="com.stranger")), "not sound"),
    "a subgraph": (
        small(
            node("If", then_branch=helper.make_graph([], "t", [], []), else_branch=helper.make_graph([], "e", [], []))
        ),
        "functions and subgraphs",
    ),
    "nothing of the input": (small(node("Constant", "", value_float=1.0)), "does not depend on its input"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_network_is_refused_with_its_place(name, tmp_path):
    proto, says = REFUSED[name]
    with pytest.raises(NeocogError, match=says):
        from_onnx(saved(proto, tmp_path))


# -- arrays in other files -------------------------------------------------------------------------------------------


def with_arrays_in(location: str, folder, **told: int) -> str:
    """A file whose kernel is said to lie in another."""
    proto = small(node("Conv", "x w"), arrays=[KERNEL])
    (tensor,) = proto.graph.initializer
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **told}.items():
        tensor.external_data.add(key=key, value=str(value))
    tensor.ClearField("raw_data")
    return saved(proto, folder)


def test_arrays_in_a_file_beside_it_are_read(tmp_path):
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    (tmp_path / "arrays.bin").write_bytes(b"head" + kernel.tobytes())
    _, weights = from_onnx(with_arrays_in("arrays.bin", tmp_path, offset=4))
    np.testing.assert_array_equal(weights["conv1.weight"], kernel)


@pytest.mark.parametrize("place", ["/etc/passwd", "../arrays.bin", "..", "", "a/arrays.bin", "a\\arrays.bin"])
def test_arrays_elsewhere_are_not_looked_for(tmp_path, place):
    with pytest.raises(ModelFileError, match="where those lie beside it, under a plain name"):
        from_onnx(with_arrays_in(place, tmp_path))


def test_another_file_that_is_none_or_too_short_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="this file is not there"):
        from_onnx(with_arrays_in("gone.bin", tmp_path))
    (tmp_path / "arrays.bin").write_bytes(bytes(4 * 107))
    with pytest.raises(ModelFileError, match="smaller than the array"):
        from_onnx(with_arrays_in("arrays.bin", tmp_path))
    (tmp_path / "link.bin").symlink_to(tmp_path / "arrays.bin")
    with pytest.raises(ModelFileError, match="not a regular file"):
        from_onnx(with_arrays_in("link.bin", tmp_path))


def test_damaged_files_are_refused(tmp_path):
    content = small(node("Conv", "x w"), arrays=[KERNEL]).SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(NeocogError):
            from_onnx(path)


def test_changed_bytes_never_end_in_another_error(tmp_path):
    content = bytearray(small(node("Conv", "x w", pads=[1] * 4), arrays=[KERNEL]).SerializeToString())
    rng, path, refused = np.random.default_rng(0), tmp_path / "odd.onnx", 0
    for _ in range(150):
        odd = bytearray(content)
        for at in rng.integers(0, min(len(odd), 300), 3):
            odd[at] = rng.integers(0, 256)
        path.write_bytes(odd)
        try:
            from_onnx(path)
        except NeocogError:
            refused += 1
    assert 0 < refused < 150


def test_parts_are_counted_before_they_are_parsed(tmp_path, monkeypatch):
    many = small(*[node("Relu", f"v{k}" if k else "x", f"v{k + 1}") for k in range(50)])
    monkeypatch.setattr(onnx_graph, "PARTS", 40)
    with pytest.raises(ModelFileError, match="more than 40 parts"):
        from_onnx(saved(many, tmp_path))
    monkeypatch.setattr(onnx_graph, "PARTS", 1000)
    monkeypatch.setattr(onnx_graph, "BESIDE", 100)
    with pytest.raises(ModelFileError, match="at most 100 bytes beside its arrays"):
        from_onnx(saved(many, tmp_path))


def test_a_size_that_the_file_leaves_open_is_asked_for(tmp_path):
    proto = small(node("Relu"))
    proto.graph.input[0].type.tensor_type.shape.dim[2].ClearField("dim_value")
    path = saved(proto, tmp_path)
    with pytest.raises(NeocogError, match="does not say the size of an image"):
        from_onnx(path)
    assert str(from_onnx(path, "8x9x3").network) == "INPUT[8x9x3] -> RELU"


def test_equal_arrays_that_are_stored_once_become_each_layers_own(tmp_path):
    twice = [node("Conv", "x v", "a", pads=[1] * 4), node("Conv", "a v", pads=[1] * 4)]
    network, weights = from_onnx(saved(small(*twice, arrays=[("v", np.ones((3, 3, 3, 3)))]), tmp_path))
    assert str(network) == "INPUT[8x8x3] -> [CONV3-3(BIAS=no)]*2"
    assert list(weights) == ["conv1.weight", "conv2.weight"]


def agrees(proto: onnx.ModelProto, folder, text: str, x_shape: tuple[int, ...]) -> None:
    """A file is that network, with the outputs that ONNX's own evaluator gives."""
    network, weights = from_onnx(saved(proto, folder))
    assert str(network) == text
    x = np.random.default_rng(1).standard_normal(x_shape).astype(np.float32)
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": x})
    x = x if network.input_shape.channels == x_shape[1] else np.moveaxis(x, -1, 1)
    np.testing.assert_allclose(outputs(network, weights, x), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(0.5, 1.5, shape).astype(np.float32)


def test_numbers_for_each_channel_behind_weights_are_part_of_them(tmp_path):
    nodes = [
        node("Conv", "x w", "c"),
        node("Mul", "s c", "m"),
        node("Sub", "m t", "d"),
        node("BatchNormalization", "d g b u v", "n"),
        node("Div", "n s", "e"),
        node("Add", "e t"),
    ]
    arrays = [("w", drawn(4, 3, 3, 3)), ("s", drawn(4, 1, 1)), ("t", drawn(1, 4, 1, 1))]
    arrays += [(name, drawn(4)) for name in "gbuv"]
    agrees(small(*nodes, arrays=arrays), tmp_path, "INPUT[8x8x3] -> CONV3-4(P=0) -> BN", (2, 3, 8, 8))


def test_a_product_of_vectors_may_be_scaled(tmp_path):
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w b", alpha=0.5, beta=2.0)]
    proto = small(*nodes, arrays=[("w", drawn(192, 5)), ("b", drawn(1))])
    agrees(proto, tmp_path, "INPUT[8x8x3] -> FC5", (2, 3, 8, 8))


def test_groups_laid_in_rows_are_group_normalization(tmp_path):
    constants = [
        node("Constant", "", name, value_ints=list(of)) for name, of in (("r", (0, 3, -1)), ("k", (0, 6, 6, 6)))
    ]
    nodes = [
        *constants,
        node("Conv", "x w", "c"),
        node("Reshape", "c r", "rows"),
        node("InstanceNormalization", "rows one zero", "i", epsilon=1e-3),
        node("Reshape", "i k", "n"),
        node("Mul", "n s", "m"),
        node("Add", "m t"),
    ]
    arrays = [
        ("w", drawn(6, 3, 3, 3)),
        ("one", np.ones(3)),
        ("zero", np.zeros(3)),
        ("s", drawn(6, 1, 1)),
        ("t", drawn(6, 1, 1)),
    ]
    text = "INPUT[8x8x3] -> CONV3-6(P=0, BIAS=no) -> GROUPNORM(G=3, eps=0.001)"
    agrees(small(*nodes, arrays=arrays), tmp_path, text, (2, 3, 8, 8))
    del nodes[-2:]
    nodes[-1].output[0] = "y"
    text = text.replace("eps=0.001", "eps=0.001, AFFINE=no")
    agrees(small(*nodes, arrays=arrays[:3]), tmp_path, text, (2, 3, 8, 8))


def test_an_input_and_a_vector_with_channels_last_are_turned(tmp_path):
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w", "c"),
        node("Transpose", "c", "last", perm=[0, 2, 3, 1]),
        node("Flatten", "last", "f"),
        node("MatMul", "f v"),
    ]
    proto = small(*nodes, arrays=[("w", drawn(4, 8, 3, 2)), ("v", drawn(28, 5))])
    agrees(proto, tmp_path, "INPUT[3x8x8] -> CONV3x2-4(P=0, BIAS=no) -> FC5(BIAS=no)", (2, 3, 8, 8))


def test_weights_may_be_made_of_other_arrays(tmp_path):
    nodes = [
        node("Constant", "", "n", value_ints=[4, 3, 1, 1]),
        node("Reshape", "w n", "kernel"),
        node("Mul", "kernel two", "twice"),
        node("ConstantOfShape", "four", "bias", value=numpy_helper.from_array(np.float32([0.5]))),
        node("Conv", "x twice bias"),
    ]
    proto = small(*nodes, arrays=[("w", drawn(12)), ("two", np.float32([2]))])
    proto.graph.initializer.append(numpy_helper.from_array(np.int64([4]), "four"))
    agrees(proto, tmp_path, "INPUT[8x8x3] -> CONV1-4", (2, 3, 8, 8))


def test_sizes_that_a_file_computes_are_known(tmp_path):
    """`x.view(x.size(0), -1)`, as exporters wrote it before opset 13."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Shape", "c", "size"),
        node("Gather", "size zero", "n"),
        node("Unsqueeze", "n", "first", axes=[0]),
        node("Concat", "first rest", "both", axis=0),
        node("Reshape", "c both", "f"),
        node("Gemm", "f v"),
    ]
    proto = small(*nodes, arrays=[("w", drawn(4, 3, 3, 3)), ("v", drawn(144, 5))], opset=11)
    for name, value in (("zero", 0), ("rest", [-1])):
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
    agrees(proto, tmp_path, "INPUT[8x8x3] -> CONV3-4(P=0, BIAS=no) -> FC5(BIAS=no)", (2, 3, 8, 8))


def test_a_small_file_makes_no_large_arrays(tmp_path):
    proto = small(node("ConstantOfShape", "n", "w"), node("Conv", "x w"))
    proto.graph.initializer.append(numpy_helper.from_array(np.int64([2**20, 3, 200, 200]), "n"))
    with pytest.raises(ModelFileError, match="an array of one value has at most"):
        from_onnx(saved(proto, tmp_path))


def test_a_dilated_maximum_is_a_pool_with_d(tmp_path):
    proto = small(node("MaxPool", kernel_shape=[3, 3], dilations=[2, 2], pads=[2] * 4))
    agrees(proto, tmp_path, "INPUT[8x8x3] -> POOL3(S=1, P=2, D=2)", (1, 3, 8, 8))


def test_a_bias_added_by_itself_is_the_layers(tmp_path):
    arrays = [("w", np.ones((192, 5))), ("b", np.arange(5))]
    proto = small(node("Flatten", "x", "f"), node("MatMul", "f w", "m"), node("Add", "b m", "y"), arrays=arrays)
    network, weights = from_onnx(saved(proto, tmp_path))
    assert str(network) == "INPUT[8x8x3] -> FC5"
    assert weights["fc1.weight"].shape == (5, 192)
    np.testing.assert_array_equal(weights["fc1.bias"], np.arange(5))
