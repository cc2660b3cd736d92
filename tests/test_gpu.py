"""The torch modules give the same numbers on a GPU as on the CPU; run where there is a GPU."""

import pytest
import torch
from tokens import layer_of, shapes_of

from neocog import zoo
from neocog.layers import LAYERS

pytestmark = pytest.mark.gpu

EXAMPLES = [example for layer in LAYERS for example in layer.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.token)
def test_a_layer_gives_the_same_values_and_gradients(example):
    shapes = shapes_of(example.inputs)
    module = layer_of(example.token).module(*shapes).double().eval()
    torch.manual_seed(0)
    xs = [torch.randn(2, shape.channels, *shape.spatial, dtype=torch.float64) for shape in shapes or ()]
    xs = xs or [torch.randn(2, 1, 4, 4, dtype=torch.float64)]
    results = []
    for device in ("cpu", "cuda"):
        moved = [x.to(device).requires_grad_() for x in xs]
        y = module.to(device)(*moved)
        y.square().sum().backward()
        results.append([y.detach().cpu(), *(x.grad.cpu() for x in moved)])
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["lenet5", "convnetjs-cifar10", "resnet20"])
def test_a_network_gives_the_same_scores(name):
    network = zoo(name)
    module = network.build().double().eval()
    shape = network.input_shape
    x = torch.randn(4, shape.channels, *shape.spatial, dtype=torch.float64)
    with torch.inference_mode():
        expected = module(x)
        torch.testing.assert_close(module.cuda()(x.cuda()).cpu(), expected, rtol=1e-8, atol=1e-8)
