"""Every network of the zoo, built in torch and run once: what it becomes is what was planned."""

import pytest
import torch

from neocog import zoo
from neocog.zoo import names


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_zoo_network_builds_and_runs_as_planned(name):
    network = zoo(name)
    plan = network.plan()
    module = network.build().train()  # by the batch's statistics: before training, a thousand sums overflow without
    parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert parameters == plan.totals["parameters"]
    torch.manual_seed(0)
    image = torch.randn(1, network.input_shape.channels, *network.input_shape.spatial)
    with torch.no_grad():
        volumes = module.run(image)
    planned = [(1, row.output.channels, *row.output.spatial) for row in plan.rows]
    assert [tuple(volume.shape) for volume in volumes] == planned
    assert torch.isfinite(volumes[-1]).all()
