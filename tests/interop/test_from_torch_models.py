"""Models in plain torch.nn, as people write them: read into the texts of the zoo, with equal outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_models import (
    VGG16,
    Basic,
    Bottleneck,
    DenseNet,
    Inception,
    LeNet,
    PreActivation,
    ResNet,
    TextCNN,
    agreement,
    alexnet_one,
    all_cnn_c,
    googlenet,
)

from neocog import Network, zoo


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("lenet5-relu", LeNet),
        ("alexnet-one", alexnet_one),
        ("vgg16", VGG16),
        ("all-cnn-c", all_cnn_c),
        ("resnet18", lambda: ResNet(Basic, (2, 2, 2, 2))),
        pytest.param("resnet50", lambda: ResNet(Bottleneck, (3, 4, 6, 3)), marks=pytest.mark.slow),
        pytest.param("googlenet", googlenet, marks=pytest.mark.slow),
        pytest.param("preact-resnet110", lambda: PreActivation(18), marks=pytest.mark.slow),
    ],
)
def test_a_published_network_in_plain_torch_is_the_one_in_the_zoo(name, make):
    with torch.device("meta"):  # the structure is all there is to read: no weights exist
        module = make()
    published = zoo(name)
    network = Network.from_torch(module, published.input_shape)
    assert network == published
    assert str(network) == str(published)
    assert network.plan().totals["parameters"] == sum(p.numel() for p in module.parameters())


@pytest.mark.slow
def test_densenet_121_is_one_line_with_the_published_number_of_parameters():
    """Huang et al., CVPR 2017, table 1; 7,978,856 parameters as in the published weights."""
    with torch.device("meta"):
        module = DenseNet((6, 12, 24, 16), growth=32)
    network = Network.from_torch(module, "224x224x3")
    assert network.plan().totals["parameters"] == 7_978_856
    dense = "[CONCAT[ID | BN -> RELU -> CONV1-128(BIAS=no) -> BN -> RELU -> CONV3-32(BIAS=no)]]"
    assert [f"{dense}*{count} -> BN -> RELU" in str(network) for count in (6, 12, 24, 16)] == [True] * 4


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (LeNet, "28x28x1"),
        (all_cnn_c, "32x32x3"),
        (TextCNN, "50x300"),
        (lambda: PreActivation(2), "32x32x3"),
        (lambda: ResNet(Basic, (1, 2)), "64x48x3"),
        (lambda: ResNet(Bottleneck, (1, 2)), "48x64x3"),
        (lambda: DenseNet((2, 3), growth=8), "64x64x3"),
        (lambda: nn.Sequential(nn.LocalResponseNorm(5), Inception(6, 4, 5, 6, 2, 3, 4), nn.MaxPool2d(3, 2)), "13x14x6"),
    ],
    ids=["lenet", "all-cnn", "text-cnn", "pre-activation", "basic", "bottleneck", "densenet", "inception"],
)
def test_the_imported_network_gives_what_the_module_gives(make, shape):
    assert agreement(make(), shape) < 1e-5


def test_a_text_cnn_reads_its_widths_side_by_side():
    network = Network.from_torch(TextCNN(), "50x300")
    assert str(network) == (
        "INPUT[50x300] -> CONCAT[CONV3-100(P=0) -> RELU -> POOL48 | CONV4-100(P=0) -> RELU -> POOL47"
        " | CONV5-100(P=0) -> RELU -> POOL46] -> DROPOUT(0.5) -> FC2"
    )
