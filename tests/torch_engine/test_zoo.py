"""Every network of the zoo, built in torch and run once: what it becomes is what was planned."""

import pytest
import torch
from numpy.testing import assert_allclose

from neocog import reference, zoo
from neocog.initialise import initialise
from neocog.torch_engine import NetworkModule, build
from neocog.zoo import names

MOST_DRAWN = 30_000_000
"""Weights of larger networks take seconds to draw; their shapes follow from the same declarations."""


@pytest.mark.parametrize("name", names())
def test_plan_initial_weights_and_module_have_equally_many_parameters(name):
    network = zoo(name)
    totals = network.plan().totals
    with torch.device("meta"):  # modules with shapes and no values
        module = NetworkModule(network)
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert trainable == totals["parameters"]
    if totals["parameters"] <= MOST_DRAWN:
        drawn = initialise(network)
        owned = module.state_dict()
        assert {own: tuple(owned[own].shape) for own in drawn} == {own: array.shape for own, array in drawn.items()}
        assert sum(array.size for array in drawn.values()) == totals["parameters"] + totals["fixed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_zoo_network_builds_and_runs_as_planned(name):
    network = zoo(name)
    plan = network.plan()
    module = network.build().train()  # by the batch's statistics: before training, a thousand sums overflow without
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert parameters == plan.totals["parameters"]
    torch.manual_seed(0)
    images = torch.randn(2, network.input_shape.channels, *network.input_shape.spatial)  # BN needs two values
    with torch.no_grad():
        volumes = module.run(images)
    planned = [(2, row.output.channels, *row.output.spatial) for row in plan.rows]
    assert [tuple(volume.shape) for volume in volumes] == planned
    assert torch.isfinite(volumes[-1]).all()


@pytest.mark.parametrize(
    "name",
    [
        *("lenet1", "lenet4", "lenet5", "lenet5-relu", "neocognitron", "convnetjs-mnist", "convnetjs-cifar10"),
        *("resnet20", "resnet20-b", "all-cnn-a", "nin", "dilated-context"),
    ],
)
def test_small_zoo_networks_give_in_torch_what_the_reference_gives(name):
    network = zoo(name)
    weights = initialise(network, seed=1)
    torch.manual_seed(0)
    image = torch.randn(1, network.input_shape.channels, *network.input_shape.spatial, dtype=torch.float64)
    module = build(network, weights=weights).double().eval()
    with torch.no_grad():
        scores = module(image).numpy()
    expected = reference.forward(network, weights, image.numpy()).output
    assert_allclose(scores, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())
