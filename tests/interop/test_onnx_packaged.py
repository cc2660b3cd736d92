"""The files that the onnx package brings for testing backends: read with the answers listed, or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from neocog import NeocogError
from neocog.interop import from_onnx
from neocog.torch_engine import build

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
CONVERTED = sorted(
    path.parent
    for kind in ("pytorch-converted", "pytorch-operator", "simple")
    for path in DATA.glob(f"{kind}/*/model.onnx")
)


def array(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def scores(path: Path, x: np.ndarray) -> np.ndarray:
    network, weights = from_onnx(path)
    with torch.no_grad():
        return build(network, weights=weights).eval()(torch.tensor(x)).numpy()


def test_modules_that_torch_converted_give_the_values_listed_or_are_refused():
    right = 0
    for folder in CONVERTED:
        try:
            found = scores(folder / "model.onnx", array(folder / "test_data_set_0" / "input_0.pb"))
        except NeocogError:
            continue
        wanted = array(folder / "test_data_set_0" / "output_0.pb")
        np.testing.assert_allclose(found.reshape(wanted.shape), wanted, rtol=1e-3, atol=1e-5, err_msg=folder.name)
        right += 1
    assert right >= 30


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "squeezenet", "vgg19", "zfnet512"],
)
def test_published_networks_give_the_values_listed(name):
    """As those tests make their images, from 0 to 1 in order, and with weights of one value."""
    path = DATA / "light" / f"light_{name}.onnx"
    graph = onnx.load(path).graph
    held = {array.name for array in graph.initializer}  # which old files list among their inputs, in any order
    (images,) = (one for one in graph.input if one.name not in held)
    size = [one.dim_value for one in images.type.tensor_type.shape.dim]
    x = (np.arange(np.prod(size)).reshape(size) / np.prod(size)).astype(np.float32)
    wanted = array(path.with_name(f"{path.stem}_output_0.pb"))
    np.testing.assert_allclose(scores(path, x).reshape(wanted.shape), wanted, rtol=1e-3, atol=1e-7)


def test_a_network_that_is_no_chain_of_layers_is_refused_at_the_first_that_is_none():
    with pytest.raises(NeocogError, match=r"\(Reshape\).*\n.*transpose|\(Reshape\): reshape is read where"):
        from_onnx(DATA / "light" / "light_shufflenet.onnx")
